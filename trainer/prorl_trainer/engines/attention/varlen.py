"""Attention of a pack on a GPU in half precision: one call of PyTorch's variable-length kernel a layer.

Each prompt and each completion is a sequence of queries. A completion's keys are its prompt's, as far as its window
reaches, and its own: they are gathered, so that the kernel sees whole sequences whose last positions ask.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prorl_trainer.algorithm.types import Pack
from prorl_trainer.engines.attention.blocks import Span, spans_of
from prorl_trainer.engines.attention.segments import Scores

WIDEST_HEAD = 256
"""Of the kernel."""

VarlenKernel = Callable[..., Any]
"""As `torch.nn.attention.varlen.varlen_attn`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VarlenLayout:
    """Sequences of queries and of keys of one pack, for layers of one kind, on one device."""

    keys: Tensor | None
    """[K] int64, positions, a prefix's in front, whose keys the sequences are made of; None: all, in order."""
    query_ends: Tensor
    """[sequences + 1] int32, from 0."""
    key_ends: Tensor
    """[sequences + 1] int32, from 0."""
    longest_query: int
    longest_key: int
    window: int | None

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scores: Scores) -> Tensor:
        """[1, heads, T, D] queries, [1, key heads, S + T, D] keys and values -> [1, T, heads, D]."""
        from torch.nn.attention.varlen import varlen_attn

        return self.attend_by(varlen_attn, query, key, value, scores)

    def attend_by(self, kernel: VarlenKernel, query: Tensor, key: Tensor, value: Tensor, scores: Scores) -> Tensor:
        """See `attend`."""
        assert scores.cap is None, "such families are not planned this way"
        assert scores.sinks is None
        q, k, v = (part[0].transpose(0, 1) for part in (query, key, value))
        if self.keys is not None:
            k, v = k.index_select(0, self.keys), v.index_select(0, self.keys)
        out: Tensor = kernel(
            q.contiguous(), k.contiguous(), v.contiguous(), self.query_ends, self.key_ends, self.longest_query,
            self.longest_key, scale=scores.scale,
            # The kernel counts what lies before a position, and aligns the last query with the last key.
            window_size=(-1 if self.window is None else self.window - 1, 0),
            enable_gqa=query.shape[1] != key.shape[1],
        )  # fmt: skip
        return out[None]


def lay_out_varlen(pack: Pack, window: int | None, device: torch.device) -> VarlenLayout:
    """Plan a pack's attention."""
    queries: list[int] = []
    keys: list[tuple[Span, ...]] = []
    for group in spans_of(pack):
        if len(group.completions) < 2:
            queries.append(group.whole.length)
            keys.append((group.whole,))
            continue
        queries.append(group.prompt.length)
        keys.append((group.prompt,))
        seen = group.prompt.start if window is None else max(group.prompt.start, group.prompt.stop - (window - 1))
        for completion in group.completions:
            queries.append(completion.length)
            keys.append((Span(seen, group.prompt.stop), completion))
    queries[0] -= pack.prefix_length  # the last query is aligned with the last key
    lengths = [sum(span.length for span in spans) for spans in keys]
    gathered = np.concatenate([np.arange(span.start, span.stop) for spans in keys for span in spans])
    is_all = len(gathered) == pack.prefix_length + pack.num_positions
    return VarlenLayout(
        keys=None if is_all else torch.from_numpy(gathered).to(device),
        query_ends=_ends(queries, device),
        key_ends=_ends(lengths, device),
        longest_query=max(queries),
        longest_key=max(lengths),
        window=window,
    )


def _ends(lengths: list[int], device: torch.device) -> Tensor:
    return torch.tensor([0, *np.cumsum(lengths).tolist()], dtype=torch.int32, device=device)
