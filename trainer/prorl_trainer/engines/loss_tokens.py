"""The loss tokens of a pack, in the order of the positions that predict them.

One position may predict several: the prompt's last one the first token of each of its completions, and one that
completions share the next token of each. The head runs once for each position.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from prorl_trainer.algorithm.types import IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class LossTokens:
    """L loss tokens, predicted from U <= L positions."""

    predict_from: Tensor
    """[U] int64, ascending, each once."""
    order: Tensor
    """[L] int64: which loss token of the pack the l-th one here is."""
    rows: Tensor
    """[L] int64, ascending: which entry of `predict_from` predicts it."""
    targets: Tensor
    """[L] int64: the token itself."""
    ends: tuple[int, ...]
    """U + 1 numbers: entry u predicts the tokens ends[u] to ends[u + 1]."""

    def between(self, start: int, stop: int) -> RowTokens:
        """Return the tokens that some of the positions predict."""
        chosen = slice(self.ends[start], self.ends[stop])
        return RowTokens(names=self.order[chosen], rows=self.rows[chosen] - start, targets=self.targets[chosen])


@dataclass(frozen=True, slots=True, kw_only=True)
class RowTokens:
    """The l loss tokens of u rows that follow one another."""

    names: Tensor
    """[l] int64: which loss tokens of the pack they are."""
    rows: Tensor
    """[l] int64, of 0 to u - 1."""
    targets: Tensor
    """[l] int64."""


def by_position(predict_from: IntArray, targets: IntArray, device: torch.device) -> LossTokens:
    """Sort a pack's loss tokens by the position that predicts them; both [L]."""
    positions, rows, counts = np.unique(predict_from, return_inverse=True, return_counts=True)
    order = np.argsort(rows, kind="stable")

    def tensor(values: IntArray) -> Tensor:
        return torch.from_numpy(values).to(device)

    return LossTokens(
        predict_from=tensor(positions),
        order=tensor(order),
        rows=tensor(rows[order]),
        targets=tensor(targets[order]),
        ends=(0, *np.cumsum(counts).tolist()),
    )
