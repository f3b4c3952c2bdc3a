"""Attention of a pack, block by block, as one differentiable operation: memory grows with its positions.

A query's parts over several blocks are put together by their normalisers, as are attention sinks, which are a key with
a score of its own and no value. Nothing of a block outlives it: the backward pass computes its scores again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from prorl_trainer.algorithm.types import Pack
from prorl_trainer.engines.attention.blocks import CALL_COST, Block, Kind, first_parts, plan_blocks
from prorl_trainer.engines.attention.kernels import Explicit, FlashOnCpu, Kernel, Part

KEPT_MASK_ENTRIES = 2**22
"""Of a pack's small masks kept from layer to layer; others are made again, at a thirtieth of their block's cost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What a layer does to its scores."""

    scale: float
    cap: float | None = None
    sinks: Tensor | None = None
    """[heads]: the score of a key that takes probability and gives nothing (gpt-oss)."""


@dataclass(slots=True, kw_only=True)
class SegmentLayout:
    """The blocks of one pack, for layers of one kind, on one device."""

    blocks: tuple[Block, ...]
    first: list[bool]
    columns: tuple[Tensor, Tensor, Tensor]
    """`Pack.seen`, [S + T] int64."""
    window: int | None
    kept: dict[int, Tensor] = field(default_factory=dict)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scores: Scores) -> Tensor:
        """[1, heads, T, D] queries, [1, key heads, S + T, D] keys, and values -> [1, T, heads, D of the values]."""
        width, value_width = query.shape[-1], value.shape[-1]
        if width != value_width:  # the fused kernel wants one width; what is added is zero and changes nothing
            widest = max(width, value_width)
            query, key, value = (pad(part, (0, widest - part.shape[-1])) for part in (query, key, value))
        on_cpu = query.device.type == "cpu" and scores.cap is None
        kernel = FlashOnCpu(scores.scale) if on_cpu else Explicit(scores.scale, scores.cap)
        out: Tensor = _Attend.apply(query, key, value, scores.sinks, self, kernel)  # type: ignore[no-untyped-call]
        return out[..., :value_width]

    def mask(self, index: int, dtype: torch.dtype) -> Tensor | None:
        """[m, n], to add to a block's scores; None where no mask is needed."""
        block = self.blocks[index]
        if block.kind is not Kind.MASKED:
            return None
        found = self.kept.get(index)
        if found is not None:
            return found
        allowed = allowed_pairs(block, self.columns, self.window)
        mask = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill_(~allowed, -math.inf)
        if sum(kept.numel() for kept in self.kept.values()) + mask.numel() <= KEPT_MASK_ENTRIES:
            self.kept[index] = mask
        return mask


def lay_out(pack: Pack, window: int | None, device: torch.device, call_cost: int = CALL_COST) -> SegmentLayout:
    """Plan a pack's attention; see `plan_blocks`."""
    blocks = plan_blocks(pack, window, call_cost)
    group, branch, position = (torch.from_numpy(column).to(device) for column in pack.seen)
    return SegmentLayout(
        blocks=blocks,
        first=first_parts(blocks, pack.prefix_length + pack.num_positions),
        columns=(group, branch, position),
        window=window,
    )


def allowed_pairs(block: Block, columns: tuple[Tensor, Tensor, Tensor], window: int | None) -> Tensor:
    """[m, n] bool, row attends to column: within a group, backwards in the sequence, to the prompt and to one's own
    completion, over fewer than `window` positions if that is given.
    """
    rows, keys = slice(block.start, block.stop), slice(block.key_start, block.key_stop)
    group, branch, position = columns
    order = torch.arange(len(group), device=group.device)
    allowed = order[rows, None] >= order[None, keys]
    allowed &= group[rows, None] == group[None, keys]
    allowed &= (branch[None, keys] == 0) | (branch[rows, None] == branch[None, keys])
    if window is not None:
        allowed &= position[rows, None] - position[None, keys] < window
    return allowed


class _Attend(torch.autograd.Function):
    """(query [1, H, T, D], key and value [1, G, S + T, D], sinks [H] or None) -> [1, T, H, D]."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, sinks: Tensor | None, layout: SegmentLayout, kernel: Kernel
    ) -> Tensor:
        by_head = _HeadsByKey(query.shape[1], key.shape[1])
        out = query.new_zeros(1, query.shape[2], query.shape[1], query.shape[3])
        q, whole_out = by_head(query), by_head(out.transpose(1, 2))
        k, v = (part.expand(by_head.repeats, -1, -1, -1) for part in (key, value))
        normaliser = torch.full(q.shape[:-1], -math.inf, dtype=torch.float32, device=q.device)
        for index, (block, first) in enumerate(zip(layout.blocks, layout.first, strict=True)):
            rows, keys = _ranges(block, query, key)
            mask = layout.mask(index, q.dtype)
            part = kernel.forward(q[..., rows, :], k[..., keys, :], v[..., keys, :], mask, block.kind is Kind.CAUSAL)
            if not first:
                part = _joined(Part(whole_out[..., rows, :], normaliser[..., rows]), part)
            whole_out[..., rows, :] = part.out
            normaliser[..., rows] = part.normaliser
        if sinks is not None:
            joined = torch.logaddexp(normaliser, by_head(sinks.float()[None, :, None]))
            whole_out.mul_(torch.exp(normaliser - joined)[..., None])
            normaliser = joined
        ctx.save_for_backward(query, key, value, sinks, out, normaliser)
        ctx.layout, ctx.kernel = layout, kernel
        return out

    @staticmethod
    def backward(ctx: Any, *by_outputs: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, sinks, out, normaliser = ctx.saved_tensors
        layout: SegmentLayout = ctx.layout
        by_head = _HeadsByKey(query.shape[1], key.shape[1])
        q, k, v = by_head(query), *(part.expand(by_head.repeats, -1, -1, -1) for part in (key, value))
        whole, by_whole = by_head(out.transpose(1, 2)), by_head(by_outputs[0].transpose(1, 2))
        # Sums over blocks in float32, whatever the precision. Only the prompts' have more than one term.
        by_query = torch.zeros(query.shape, dtype=torch.float32, device=query.device)
        by_key, by_value = (torch.zeros(key.shape, dtype=torch.float32, device=query.device) for _ in range(2))
        by_q = by_head(by_query)
        for index, block in enumerate(layout.blocks):
            rows, keys = _ranges(block, query, key)
            of_rows = Part(whole[..., rows, :], normaliser[..., rows])
            of_query, of_key, of_value = ctx.kernel.backward(
                by_whole[..., rows, :], q[..., rows, :], k[..., keys, :], v[..., keys, :], of_rows,
                layout.mask(index, q.dtype), block.kind is Kind.CAUSAL,
            )  # fmt: skip
            by_q[..., rows, :] += of_query
            by_key[..., keys, :] += of_key.sum(0, keepdim=True)
            by_value[..., keys, :] += of_value.sum(0, keepdim=True)
        by_sinks = None
        if sinks is not None:  # the probability of a key without a value: d score = p (0 - sum(d out * out))
            probabilities = torch.exp(by_head(sinks.float()[None, :, None]) - normaliser)
            of_sinks = -(probabilities * (by_whole.float() * whole.float()).sum(-1)).sum(-1)
            by_sinks = by_head.back(of_sinks).to(sinks.dtype)
        return by_query.to(query.dtype), by_key.to(key.dtype), by_value.to(value.dtype), by_sinks, None, None


def _ranges(block: Block, query: Tensor, key: Tensor) -> tuple[slice, slice]:
    """Return a block's queries and keys; a prefix has keys only."""
    prefix_length = key.shape[2] - query.shape[2]
    return slice(block.start - prefix_length, block.stop - prefix_length), slice(block.key_start, block.key_stop)


def _joined(one: Part, other: Part) -> Part:
    """Put attention over two sets of keys together."""
    normaliser = torch.logaddexp(one.normaliser, other.normaliser)
    share, rest = (torch.exp(part.normaliser - normaliser)[..., None] for part in (one, other))
    return Part((one.out * share + other.out * rest).to(one.out.dtype), normaliser)


@dataclass(frozen=True, slots=True)
class _HeadsByKey:
    """Query heads, ordered by the key head they share: a view, so that keys need not be repeated."""

    num_heads: int
    num_keys: int

    @property
    def repeats(self) -> int:
        """Query heads of a key head, R."""
        return self.num_heads // self.num_keys

    def __call__(self, of_heads: Tensor) -> Tensor:
        """[1, H, ...] -> [R, G, ...]."""
        one = of_heads[0]
        return one.view(self.num_keys, self.repeats, *one.shape[1:]).transpose(0, 1)

    def back(self, of_heads: Tensor) -> Tensor:
        """[R, G] -> [H]."""
        return of_heads.transpose(0, 1).flatten()
