"""d loss / d hidden states, weight and bias of the head, formed while a slice's logits are there.

With z the tempered logits of a row, p its probabilities and g the loss's derivatives by the log-probabilities of the
tokens that the row predicts: d loss / d z = sum_l g_l (one-hot(target_l) - p). And d H / d z = -p (log p + H).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from prorl_trainer.engines.head_slices import Logits, Slope, SlopeOfLoss, of_tokens
from prorl_trainer.engines.loss_tokens import RowTokens

_ROWS_AT_ONCE = 8192
"""Of the vocabulary, in a lower precision: a product in it is added to float32 part by part."""
_TOKENS_AT_ONCE = 8192
"""Of a slice, whose rows may predict many each: rows of the hidden size are formed for so many."""


class SliceValues(NamedTuple):
    """Of the l tokens of a slice."""

    logprobs: Tensor
    entropies: Tensor
    loss: Tensor
    """Scalar."""


class HeadGradients:
    """Summed over slices; the weight's in float32, whatever its precision."""

    def __init__(self, hidden: Tensor, weight: Tensor, bias: Tensor | None, gradient_sum: Tensor | None) -> None:
        """Add the weight's to `gradient_sum`, if there is one."""
        self._hidden, self._weight, self._bias = hidden, weight, bias
        self._is_summed = gradient_sum is not None
        self._by_hidden = torch.zeros_like(hidden)
        self._weight_sum = gradient_sum
        self._by_bias = None if bias is None else torch.zeros(bias.shape, dtype=torch.float32, device=bias.device)

    @property
    def _by_weight(self) -> Tensor:
        """[V, H] float32, made when it is first needed: a pack without loss tokens may wait long before it is."""
        if self._weight_sum is None:
            self._weight_sum = torch.zeros(self._weight.shape, dtype=torch.float32, device=self._weight.device)
        return self._weight_sum

    def add(self, start: int, stop: int, tokens: RowTokens, logits: Logits, slope_of: SlopeOfLoss) -> SliceValues:
        """Add a slice's share; return the values of its tokens."""
        of_rows = logits.of_rows(start, stop)
        probabilities, normaliser = logits.probabilities(of_rows)
        logprobs = of_tokens(of_rows, normaliser, tokens)
        means = torch.mm(probabilities, self._weight) if self._can_fold(logits) else None
        expected = self._expected(of_rows, probabilities, means, start, stop, logits.gain)
        entropies = normaliser - expected
        slope = slope_of(logprobs, entropies[tokens.rows], tokens.names)
        if means is not None and slope.by_entropies is None:
            self._add_folded(start, stop, tokens, probabilities, means, slope.by_logprobs * logits.gain)
        else:
            log_probabilities = None if slope.by_entropies is None else of_rows - normaliser[:, None]
            by_raw = _by_raw(slope, tokens, probabilities, log_probabilities, entropies, logits.gain)
            self._add_whole(start, stop, by_raw if logits.cap is None else by_raw.mul_(logits.slope_of_cap(of_rows)))
        return SliceValues(logprobs, entropies[tokens.rows], slope.loss)

    def scaled(self, factor: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return all of them times d objective / d loss. May be called once.

        What was summed elsewhere is there already: then the factor must be 1. Any other makes the gradient of all that
        lies below no number, so that the optimizer step is not taken; a loss that is not finite comes with such a one.
        """
        if self._is_summed:
            factor = torch.where(factor == 1.0, 1.0, torch.nan)
        by_bias = None if self._by_bias is None else self._by_bias.mul_(factor)
        by_weight = None if self._is_summed else self._by_weight.mul_(factor)
        return self._by_hidden.mul_(factor), by_weight, by_bias

    def _can_fold(self, logits: Logits) -> bool:
        """Tell whether p is multiplied as it is: in bfloat16 the difference to the one-hot would be lost."""
        return self._weight.dtype == torch.float32 and logits.cap is None

    def _expected(
        self, logits: Tensor, probabilities: Tensor, means: Tensor | None, start: int, stop: int, gain: float
    ) -> Tensor:
        """sum p z [u]. Where z is linear in the weights it is the hidden state's product with their mean."""
        expected: Tensor
        if means is None:
            expected = torch.linalg.vecdot(probabilities, logits)
            return expected
        expected = (self._hidden[start:stop] * means).sum(-1)
        return expected.add_(0.0 if self._bias is None else probabilities @ self._bias).mul_(gain)

    def _add_folded(
        self, start: int, stop: int, tokens: RowTokens, probabilities: Tensor, means: Tensor, by_logprobs: Tensor
    ) -> None:
        """Add the share of p by its products, and that of the one-hots entry by entry: no pass over [u, V] is needed.

        Args:
            means: p weight, [u, H].
            by_logprobs: g x gain, [l].
        """
        hidden, of_rows = self._hidden[start:stop], _sum_by_row(by_logprobs, tokens.rows, stop - start)[:, None]
        by_hidden = torch.mul(means, -of_rows, out=self._by_hidden[start:stop])
        self._by_weight.addmm_(probabilities.t(), hidden * of_rows, alpha=-1.0)
        parts = (torch.split(column, _TOKENS_AT_ONCE) for column in (tokens.rows, tokens.targets, by_logprobs[:, None]))
        for rows, targets, of_each in zip(*parts, strict=True):
            by_hidden.index_add_(0, rows, of_each * self._weight[targets])
            self._by_weight.index_add_(0, targets, of_each * hidden[rows])
        if self._by_bias is not None:
            self._by_bias.addmv_(probabilities.t(), of_rows[:, 0], alpha=-1.0)
            self._by_bias.index_add_(0, tokens.targets, by_logprobs)

    def _add_whole(self, start: int, stop: int, by_raw: Tensor) -> None:
        """Add the share of d loss / d output of the head, [u, V] float32."""
        if self._by_bias is not None:
            self._by_bias += by_raw.sum(0)
        by_raw = by_raw.to(self._weight.dtype)
        torch.mm(by_raw, self._weight, out=self._by_hidden[start:stop])
        if by_raw.dtype == torch.float32:
            self._by_weight.addmm_(by_raw.t(), self._hidden[start:stop])
            return
        parts = torch.split(self._by_weight, _ROWS_AT_ONCE), torch.split(by_raw, _ROWS_AT_ONCE, dim=1)
        for by_weight, by_raw_part in zip(*parts, strict=True):
            by_weight.add_(torch.mm(by_raw_part.t(), self._hidden[start:stop]))


def _by_raw(
    slope: Slope, tokens: RowTokens, probabilities: Tensor, log_probabilities: Tensor | None, entropies: Tensor,
    gain: float,
) -> Tensor:  # fmt: skip
    """d loss / d output of the head [u, V], but for the cap, in the place of `probabilities`.

    Args:
        log_probabilities: [u, V], overwritten; None: the loss has no term of the entropy.
        entropies: [u].
        gain: See `Logits`.
    """
    by_logprobs = slope.by_logprobs * gain
    weights = -_sum_by_row(by_logprobs, tokens.rows, len(probabilities))[:, None]
    if slope.by_entropies is not None and log_probabilities is not None:
        by_entropies = _sum_by_row(slope.by_entropies * gain, tokens.rows, len(probabilities))[:, None]
        weights = log_probabilities.add_(entropies[:, None]).mul_(-by_entropies).add_(weights)
    by_raw = probabilities.mul_(weights)
    return by_raw.index_put_((tokens.rows, tokens.targets), by_logprobs, accumulate=True)


def _sum_by_row(of_tokens: Tensor, rows: Tensor, count: int) -> Tensor:
    return of_tokens.new_zeros(count).index_add_(0, rows, of_tokens)
