"""Attention of one block, forward and backward, with the normaliser in hand.

Because the backward pass is given the normaliser of all of a query's keys and the output over all of them, a block's
gradients are right also where the block holds a part of the keys: p = exp(score - normaliser) are the probabilities of
the whole, and d score = p (d p - sum(d out * out)) (FlashAttention-2, arXiv 2307.08691, section 3.1.2).

Shapes: R query heads for each of the G key heads, m queries, n keys, D numbers a head.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

_SCORES_ALIVE = 2**23
"""Scores that the explicit kernel forms at once: 32 MiB in float32."""


class Part(NamedTuple):
    """Attention over some of the keys."""

    out: Tensor
    """[R, G, m, D]."""
    normaliser: Tensor
    """[R, G, m] float32, log of the sum of exp(score)."""


class Kernel(Protocol):
    """query [R, G, m, D], key and value [R, G, n, D], mask None or additive [m, n] -> attention."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, is_causal: bool) -> Part:
        """Attend."""

    def backward(
        self, by_out: Tensor, query: Tensor, key: Tensor, value: Tensor, whole: Part, mask: Tensor | None,
        is_causal: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """Give d loss / d query, key and value; `whole` is these queries' attention over all their keys."""


@dataclass(frozen=True, slots=True)
class FlashOnCpu:
    """PyTorch's fused kernel of scaled_dot_product_attention on a CPU."""

    scale: float

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, is_causal: bool) -> Part:
        """See `Kernel.forward`."""
        flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        return Part(*flash(query, key, value, 0.0, is_causal, attn_mask=mask, scale=self.scale))

    def backward(
        self, by_out: Tensor, query: Tensor, key: Tensor, value: Tensor, whole: Part, mask: Tensor | None,
        is_causal: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """See `Kernel.backward`."""
        flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
        gradients: tuple[Tensor, Tensor, Tensor] = flash(
            by_out, query, key, value, whole.out, whole.normaliser.contiguous(), 0.0, is_causal,
            attn_mask=mask, scale=self.scale,
        )  # fmt: skip
        return gradients


@dataclass(frozen=True, slots=True)
class Explicit:
    """Scores formed and forgotten, some rows at a time: for what the fused kernel does not know."""

    scale: float
    cap: float | None = None
    """Scores are cap * tanh(score / cap), as Gemma-2 has it; None: as they are."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, is_causal: bool) -> Part:
        """See `Kernel.forward`."""
        outs, normalisers = [], []
        for start, stop in self._rows(query, key):
            scores = self._scores(query[..., start:stop, :], key, mask, is_causal, start)
            normaliser = torch.logsumexp(scores, dim=-1)
            normalisers.append(normaliser)
            outs.append(torch.exp(scores - normaliser[..., None]).to(value.dtype) @ value)
        return Part(torch.cat(outs, -2), torch.cat(normalisers, -1))

    def backward(
        self, by_out: Tensor, query: Tensor, key: Tensor, value: Tensor, whole: Part, mask: Tensor | None,
        is_causal: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """See `Kernel.backward`."""
        by_query, by_key, by_value = torch.empty_like(query), torch.zeros_like(key), torch.zeros_like(value)
        for start, stop in self._rows(query, key):
            rows, slope = query[..., start:stop, :], by_out[..., start:stop, :]
            scores = self._scores(rows, key, mask, is_causal, start)
            probabilities = torch.exp(scores - whole.normaliser[..., start:stop, None])
            by_value = by_value + probabilities.to(slope.dtype).mT @ slope
            of_row = (slope.float() * whole.out[..., start:stop, :].float()).sum(-1, keepdim=True)
            by_scores = probabilities * ((slope @ value.mT).float() - of_row)
            if self.cap is not None:  # where a mask forbids, the probability is 0 and the slope of the cap anything
                by_scores *= 1.0 - (scores / self.cap).clamp(-1.0, 1.0).square_()
            by_scores = (by_scores * self.scale).to(query.dtype)
            by_query[..., start:stop, :] = by_scores @ key
            by_key = by_key + by_scores.mT @ rows
        return by_query, by_key, by_value

    def _rows(self, query: Tensor, key: Tensor) -> list[tuple[int, int]]:
        heads, count = query.shape[0] * query.shape[1], query.shape[2]
        size = max(1, _SCORES_ALIVE // (heads * key.shape[2]))
        return [(start, min(start + size, count)) for start in range(0, count, size)]

    def _scores(self, rows: Tensor, key: Tensor, mask: Tensor | None, is_causal: bool, start: int) -> Tensor:
        """[R, G, rows, n] float32."""
        scores = (rows @ key.mT).float() * self.scale
        if self.cap is not None:
            scores = (scores / self.cap).tanh_().mul_(self.cap)
        if mask is not None:
            scores = scores + mask[start : start + rows.shape[-2]]
        if is_causal:
            ahead = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu_(1 + start)
            scores.masked_fill_(ahead, -math.inf)
        return scores
