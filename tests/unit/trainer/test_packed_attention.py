"""Attention in linear memory against attention under a dense mask: the same pairs, outputs and gradients."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from prorl_api.spec.values import LossAggregation
from prorl_trainer.algorithm.packing import build_batch, empty_pack
from prorl_trainer.algorithm.types import Pack
from prorl_trainer.engines.attention import blocks as planning
from prorl_trainer.engines.attention import kernels
from prorl_trainer.engines.attention.blocks import CALL_COST, Block, Kind, plan_blocks
from prorl_trainer.engines.attention.segments import Scores, allowed_pairs, lay_out
from prorl_trainer.engines.attention.varlen import lay_out_varlen
from prorl_trainer.engines.masks import MaskPlan, Way, attention_allowed, mask_bytes, pack_masks
from tests.unit.trainer.trainer_builders import make_group, make_scored

CPU = torch.device("cpu")
HEADS, KEY_HEADS, WIDTH = 6, 2, 8


def make_pack(*groups: tuple[int, list[int]]) -> Pack:
    """One pack of (prompt's positions, completions' positions): each completion has a token more."""
    scored = []
    for index, (prompt, positions) in enumerate(groups):
        prompt_ids, lengths = tuple(range(1, prompt + 1)), [count + 1 for count in positions]
        group = make_group([1.0] * len(lengths), prompt_ids=prompt_ids, lengths=lengths, index=index)
        scored.append(make_scored(group, tuple(0.5 for _ in lengths)))
    batch = build_batch(
        scored,
        minibatch_prompts=len(scored),
        microbatch_tokens=10**6,
        num_ranks=1,
        aggregation=LossAggregation.TOKEN_MEAN,
        temperature=1.0,
    )
    (pack,) = batch.minibatches[0].packs_by_rank[0]
    return pack


def continuing(pack: Pack, prefix_length: int) -> Pack:
    """The same without its first positions, which are those of a prefix."""
    columns = ("input_ids", "position_ids", "group_ids", "branch_ids")
    cut = {name: getattr(pack, name)[prefix_length:] for name in columns}
    return replace(pack, **cut, predict_from=pack.predict_from - prefix_length, prefix_length=prefix_length)


def columns(pack: Pack) -> tuple[Tensor, Tensor, Tensor]:
    group, branch, position = map(torch.from_numpy, pack.seen)
    return group, branch, position


def pairs(block: Block, pack: Pack, window: int | None) -> Tensor:
    """What is computed of a block."""
    if block.kind is Kind.MASKED:
        return allowed_pairs(block, columns(pack), window)
    full = torch.ones(block.stop - block.start, block.key_stop - block.key_start, dtype=torch.bool)
    return full if block.kind is Kind.FULL else full.tril()


MIXED = make_pack((5, [3, 7, 1]), (9, [12]), (1, [2, 2]), (20, [4, 4, 4, 4]))
GROUPS = st.lists(
    st.tuples(st.integers(1, 40), st.lists(st.integers(1, 40), min_size=1, max_size=4)), min_size=1, max_size=4
)


@settings(max_examples=150, deadline=None)
@given(shape=GROUPS, window=st.none() | st.integers(1, 60), call_cost=st.sampled_from([0, 30, CALL_COST]))
def test_blocks_hold_each_allowed_pair_once_and_no_row_without_a_key(
    shape: list[tuple[int, list[int]]], window: int | None, call_cost: int
) -> None:
    assert_each_pair_once(make_pack(*shape), window, call_cost)


@settings(max_examples=150, deadline=None)
@given(
    prompt=st.integers(2, 40), completions=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    window=st.none() | st.integers(1, 60), call_cost=st.sampled_from([0, 30, CALL_COST]),
)  # fmt: skip
def test_blocks_of_a_continued_prefix_hold_the_pairs_of_the_other_positions(
    prompt: int, completions: list[int], window: int | None, call_cost: int
) -> None:
    assert_each_pair_once(continuing(make_pack((prompt, completions)), prompt - 1), window, call_cost)


def assert_each_pair_once(pack: Pack, window: int | None, call_cost: int) -> None:
    num_seen = pack.prefix_length + pack.num_positions
    seen = torch.zeros(num_seen, num_seen, dtype=torch.int64)
    for block in plan_blocks(pack, window, call_cost):
        computed = pairs(block, pack, window)
        assert computed.any(-1).all()
        seen[block.start : block.stop, block.key_start : block.key_stop] += computed
    assert torch.equal(seen[pack.prefix_length :], attention_allowed(pack, CPU, window).long())
    assert not seen[: pack.prefix_length].any()


def test_a_padding_position_attends_to_itself() -> None:
    assert plan_blocks(empty_pack()) == (Block(0, 1, 0, 1, Kind.CAUSAL),)


def test_the_cheapest_way_is_taken_by_hand() -> None:
    """Pairs and 1,024 a call. Prompt 50 with 8 x 6: whole 98^2 + 1,024 = 10,628; apart 50^2 + 48 x 50 + 48^2 + 3 calls
    = 10,276, with the completions on themselves under one mask. Prompt 20 with 2 x 300: apart, each by itself.
    """
    short = plan_blocks(make_pack((10, [6] * 8)))
    assert short == (Block(0, 58, 0, 58, Kind.MASKED),)
    middle = plan_blocks(make_pack((50, [6] * 8)))
    assert [block.kind for block in middle] == [Kind.CAUSAL, Kind.FULL, Kind.MASKED]
    long = plan_blocks(make_pack((20, [300, 300])))
    assert long == (
        Block(0, 20, 0, 20, Kind.CAUSAL),
        Block(20, 620, 0, 20, Kind.FULL),
        Block(20, 320, 20, 320, Kind.CAUSAL),
        Block(320, 620, 320, 620, Kind.CAUSAL),
    )


def test_a_continued_prefix_is_cut_by_hand() -> None:
    """Prompt of 100, its last token in the pack, and a completion of 2,000: on the prompt, and on itself."""
    assert plan_blocks(continuing(make_pack((100, [2000])), 99)) == (
        Block(99, 100, 0, 100, Kind.FULL),
        Block(100, 2100, 0, 100, Kind.FULL),
        Block(100, 2100, 100, 2100, Kind.CAUSAL),
    )


@pytest.mark.parametrize("window", [None, 1000])
def test_what_is_computed_grows_with_the_pack_and_masks_do_not(window: int | None) -> None:
    def cost(count: int) -> int:
        return sum(block.num_pairs for block in plan_blocks(make_pack(*[(112, [400])] * count), window))

    assert cost(8) == 8 * cost(1) == 8 * 512**2
    long = plan_blocks(make_pack((1000, [20_000])), 512)
    assert sum(block.num_pairs for block in long) < 21_000 * 1024
    assert max(block.num_pairs for block in long) <= 2**20
    plan, small, large = MaskPlan(way=Way.SEGMENTS), make_pack((500, [5000])), make_pack((500, [50_000]))
    assert mask_bytes(large, plan) == mask_bytes(small, plan) == 2**24
    assert mask_bytes(large, MaskPlan()) == 50_500**2


def dense_attention(
    query: Tensor, key: Tensor, value: Tensor, scores: Scores, allowed: Tensor
) -> Tensor:  # [1, heads, T, D] -> [1, T, heads, D]
    repeats = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
    logits = query @ key.mT * scores.scale
    if scores.cap is not None:
        logits = scores.cap * torch.tanh(logits / scores.cap)
    logits = logits.masked_fill(~allowed, -math.inf)
    if scores.sinks is not None:
        logits = torch.cat([logits, scores.sinks[None, :, None, None].expand(1, -1, query.shape[2], 1)], -1)
    probabilities = logits.softmax(-1)[..., : key.shape[2]]
    return (probabilities @ value).transpose(1, 2)


def inputs(num_positions: int, value_width: int = WIDTH) -> tuple[Tensor, ...]:
    """Queries, keys, values and sinks as a model makes them: [1, T, heads, D], transposed."""
    dice = torch.Generator().manual_seed(num_positions)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=dice)

    query, key = draw(1, num_positions, HEADS, WIDTH), draw(1, num_positions, KEY_HEADS, WIDTH)
    value, sinks = draw(1, num_positions, KEY_HEADS, value_width), draw(HEADS)
    return *(part.transpose(1, 2).requires_grad_() for part in (query, key, value)), sinks.requires_grad_()


def outcome(attend: Any, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Output, and gradients of a sum that weighs every number of it differently."""
    out = attend(*tensors)
    weights = torch.linspace(-1, 1, out.numel()).reshape(out.shape)
    gradients = torch.autograd.grad((out * weights).sum(), tensors, allow_unused=True)
    return out.detach(), *(gradient for gradient in gradients if gradient is not None)


@pytest.mark.parametrize("call_cost", [0, CALL_COST])
@pytest.mark.parametrize("window", [None, 6])
@pytest.mark.parametrize("cap", [None, 0.7])
@pytest.mark.parametrize("with_sinks", [False, True])
@pytest.mark.parametrize("value_width", [WIDTH, 4, 12])
def test_outputs_and_gradients_are_those_of_dense_attention(
    monkeypatch: pytest.MonkeyPatch, call_cost: int, window: int | None, cap: float | None, with_sinks: bool,
    value_width: int,
) -> None:  # fmt: skip
    monkeypatch.setattr(kernels, "_SCORES_ALIVE", 100)  # a few rows at a time
    monkeypatch.setattr(planning, "_FEWEST_ROWS", 4)
    layout = lay_out(MIXED, window, CPU, call_cost)
    allowed = attention_allowed(MIXED, CPU, window)

    def scores(sinks: Tensor) -> Scores:
        return Scores(scale=0.3, cap=cap, sinks=sinks if with_sinks else None)

    tensors = inputs(MIXED.num_positions, value_width)
    ours = outcome(lambda q, k, v, s: layout.attend(q, k, v, scores(s)), tensors)
    plain = outcome(lambda q, k, v, s: dense_attention(q, k, v, scores(s), allowed), tensors)
    assert len(ours) == len(plain) == (5 if with_sinks else 4)
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("call_cost", [0, CALL_COST])
@pytest.mark.parametrize("window", [None, 6])
@pytest.mark.parametrize("cap", [None, 0.7])
def test_queries_behind_a_prefix_have_the_outputs_and_gradients_of_dense_attention(
    monkeypatch: pytest.MonkeyPatch, call_cost: int, window: int | None, cap: float | None
) -> None:
    monkeypatch.setattr(planning, "_FEWEST_ROWS", 4)
    pack, scores = continuing(make_pack((9, [5, 12, 1])), 8), Scores(scale=0.3, cap=cap)
    layout, allowed = lay_out(pack, window, CPU, call_cost), attention_allowed(pack, CPU, window)
    tensors = inputs(pack.prefix_length + pack.num_positions)
    ours = outcome(lambda q, k, v, _: layout.attend(q[:, :, 8:], k, v, scores), tensors)
    plain = outcome(lambda q, k, v, _: dense_attention(q[:, :, 8:], k, v, scores, allowed), tensors)
    assert len(ours) == len(plain) == 4
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("cap", [None, 0.7])
def test_half_precision_is_right_within_its_rounding(cap: float | None) -> None:
    tensors = inputs(MIXED.num_positions)
    halves = tuple(tensor.detach().bfloat16().requires_grad_() for tensor in tensors)
    scores = Scores(scale=0.3, cap=cap)
    layout, allowed = lay_out(MIXED, None, CPU, 0), attention_allowed(MIXED, CPU)
    ours = outcome(lambda q, k, v, _: layout.attend(q, k, v, scores).float(), halves)
    wide = tuple(tensor.detach().float().requires_grad_() for tensor in halves)
    plain = outcome(lambda q, k, v, _: dense_attention(q, k, v, scores, allowed), wide)
    for one, other in zip(ours, plain, strict=True):
        assert float((one - other).norm() / other.norm()) < 2**-6


def varlen_by_definition(
    query: Tensor, key: Tensor, value: Tensor, query_ends: Tensor, key_ends: Tensor, longest_query: int,
    longest_key: int, *, scale: float, window_size: tuple[int, int], enable_gqa: bool,
) -> Tensor:  # fmt: skip
    """What the documentation of `varlen_attn` says it computes: the last query is aligned with the last key."""
    assert enable_gqa
    assert longest_query == int(torch.diff(query_ends).max())
    assert longest_key == int(torch.diff(key_ends).max())
    outs = []
    for number in range(len(query_ends) - 1):
        rows = slice(int(query_ends[number]), int(query_ends[number + 1]))
        keys = slice(int(key_ends[number]), int(key_ends[number + 1]))
        q, k, v = (part.transpose(0, 1)[None] for part in (query[rows], key[keys], value[keys]))
        last = k.shape[2] - q.shape[2]
        behind = torch.arange(q.shape[2])[:, None] + last - torch.arange(k.shape[2])[None]
        seen = (behind >= -window_size[1]) & ((behind <= window_size[0]) | (window_size[0] < 0))
        outs.append(dense_attention(q, k, v, Scores(scale=scale), seen)[0])
    return torch.cat(outs)


@settings(max_examples=50, deadline=None)
@given(shape=GROUPS, window=st.none() | st.integers(1, 60))
def test_the_sequences_of_the_variable_length_kernel_are_those_of_the_pack(
    shape: list[tuple[int, list[int]]], window: int | None
) -> None:
    pack, scores = make_pack(*shape), Scores(scale=0.3)
    query, key, value, _ = inputs(pack.num_positions)
    ours = lay_out_varlen(pack, window, CPU).attend_by(varlen_by_definition, query, key, value, scores)
    plain = dense_attention(query, key, value, scores, attention_allowed(pack, CPU, window))
    torch.testing.assert_close(ours, plain)


@settings(max_examples=50, deadline=None)
@given(
    prompt=st.integers(2, 40), completions=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    window=st.none() | st.integers(1, 60),
)  # fmt: skip
def test_the_sequences_of_the_variable_length_kernel_continue_a_prefix(
    prompt: int, completions: list[int], window: int | None
) -> None:
    pack, scores = continuing(make_pack((prompt, completions)), prompt - 1), Scores(scale=0.3)
    query, key, value, _ = inputs(pack.prefix_length + pack.num_positions)
    query = query[:, :, pack.prefix_length :]
    ours = lay_out_varlen(pack, window, CPU).attend_by(varlen_by_definition, query, key, value, scores)
    plain = dense_attention(query, key, value, scores, attention_allowed(pack, CPU, window))
    torch.testing.assert_close(ours, plain)


def test_sequences_on_their_own_need_no_gathering() -> None:
    assert lay_out_varlen(make_pack((5, [3]), (2, [9])), None, CPU).keys is None
    gathered = lay_out_varlen(make_pack((2, [1, 1])), None, CPU).keys
    assert gathered is not None
    assert gathered.tolist() == [0, 1, 0, 1, 2, 0, 1, 3]


def test_a_layout_is_no_dense_mask() -> None:
    pack = make_pack((500, [50_000]))
    mask = pack_masks(pack, MaskPlan(way=Way.SEGMENTS), CPU)
    assert isinstance(mask, Tensor)
    assert (mask.dim(), mask.numel()) == (4, 0), "transformers hands it on as it is"
    assert not hasattr(mask[:, :, :, :3], "pack_layout"), "a model that cuts it is noticed"
    assert np.prod(mask.shape[:3]) == pack.num_positions
