"""Logits of one slice of rows after the other, in two buffers that serve all slices.

A small model with a large vocabulary spends most of its step in the head, and there as much on passes through memory as
on products. So factors go into the hidden states, not into the logits, and each pass that is left is one fused
operation of PyTorch: its softmax is several times as fast as its exponential.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from prorl_api.logit_slices import logits_alive
from prorl_trainer.engines.loss_tokens import RowTokens


class Slope(NamedTuple):
    """The loss of a slice of l loss tokens, and its derivatives."""

    loss: Tensor
    """Scalar."""
    by_logprobs: Tensor
    """[l]."""
    by_entropies: Tensor | None
    """[l]; None: the loss does not depend on them."""


SlopeOfLoss = Callable[[Tensor, Tensor, Tensor], Slope]
"""(logprobs [l], entropies [l], which of the pack's loss tokens they are [l]) -> their loss and derivatives."""


class HeadOutput(NamedTuple):
    """What is known of each loss token, and the loss."""

    logprobs: Tensor
    """[L] float32, in nats; carries no gradient."""
    entropies: Tensor
    """[L] float32, in nats; carries no gradient."""
    loss: Tensor
    """Scalar float32, with gradient; 0 where no loss was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogitTreatment:
    """What a model does to the head's output before it is a logit: cap * tanh(scale * output / cap)."""

    scale: float = 1.0
    cap: float | None = None
    """None: no cap."""


class Logits:
    """z = treatment(hidden weight^T + bias) / temperature of a slice of u rows, and what follows from it, in float32.

    What is returned may lie in a buffer that the next slice overwrites.
    """

    def __init__(
        self, hidden: Tensor, weight: Tensor, bias: Tensor | None, treatment: LogitTreatment, temperature: float, *,
        in_float32: bool,
    ) -> None:  # fmt: skip
        """Take hidden [U, H], weight [V, H], bias [V]."""
        self.cap, self._after_cap = treatment.cap, 1.0 if treatment.cap is None else treatment.cap / temperature
        self.gain = treatment.scale / temperature
        """d z / d output of the head, but for the cap."""
        self._factor = treatment.scale / (treatment.cap or temperature)
        self._by_accumulator = in_float32 and weight.dtype != torch.float32 and weight.is_cuda
        # Off a GPU no product of bfloat16 matrices is to be had in float32: the weights are converted, once a pack.
        self._weight = weight.float() if in_float32 and not self._by_accumulator else weight
        self._hidden, self._bias = hidden, bias
        self._rows = max(1, logits_alive(on_gpu=weight.is_cuda) // len(weight))
        longest = max((stop - start for start, stop in self.bounds()), default=0)
        shape = (longest, len(weight))
        self._logits, self._table = (torch.empty(shape, device=hidden.device, dtype=torch.float32) for _ in range(2))

    def bounds(self) -> list[tuple[int, int]]:
        """Return first row of each slice, and the row after its last one: of about the same size each.

        A slice of a few rows would read the whole weight for them.
        """
        count = len(self._hidden)
        num_slices = -(-count // self._rows)
        edges = [count * index // num_slices for index in range(num_slices + 1)] if count else []
        return list(itertools.pairwise(edges))

    def log_probabilities(self, start: int, stop: int, tokens: RowTokens) -> Tensor:
        """[l] of the tokens.

        By the very operations of a pass with gradients: a policy and a copy of it agree to the last bit, and their KL
        is 0. Where no advantage pulls, Adam would make whole steps of what rounding left between them.
        """
        logits = self.of_rows(start, stop)
        _, normaliser = self.probabilities(logits)
        return of_tokens(logits, normaliser, tokens)

    def of_rows(self, start: int, stop: int) -> Tensor:
        """z [u, V]."""
        logits = self._logits[: stop - start]
        self._multiply(self._hidden[start:stop], logits)
        return logits if self.cap is None else logits.tanh_().mul_(self._after_cap)

    def probabilities(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """softmax(z) [u, V] and log sum exp(z) [u], which is max z - log max p."""
        probabilities = torch.softmax(logits, -1, out=self._table[: len(logits)])
        return probabilities, logits.amax(-1) - probabilities.amax(-1).log_()

    def slope_of_cap(self, logits: Tensor) -> Tensor:
        """1 - tanh^2 [u, V], in the place of z."""
        return logits.div_(self._after_cap).square_().neg_().add_(1.0)

    def _multiply(self, hidden: Tensor, out: Tensor) -> None:
        """(hidden weight^T + bias) x factor. Where the factor can go into float32 hidden states it does."""
        if self._weight.dtype == torch.float32:
            hidden = hidden.float()
            torch.mm(hidden if self._factor == 1.0 else hidden * self._factor, self._weight.t(), out=out)
            if self._bias is not None:
                out.add_(self._bias.float() * self._factor)
            return
        if self._by_accumulator:
            torch.mm(hidden, self._weight.t(), out_dtype=torch.float32, out=out)
        else:
            out.copy_(torch.mm(hidden, self._weight.t()))
        if self._bias is not None:
            out.add_(self._bias)
        if self._factor != 1.0:
            out.mul_(self._factor)


def of_tokens(logits: Tensor, normaliser: Tensor, tokens: RowTokens) -> Tensor:
    """Log-probabilities [l] from logits [u, V] and their log sum exp [u]."""
    return logits[tokens.rows, tokens.targets] - normaliser[tokens.rows]
