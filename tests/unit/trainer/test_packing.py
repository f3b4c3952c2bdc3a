"""Packed sequences, worked by hand, and the laws that hold for every batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prorl_api.spec.values import LossAggregation
from prorl_trainer.algorithm.packing import build_batch, empty_pack
from prorl_trainer.algorithm.types import Batch, Pack, Rollout, RolloutGroup, ScoredGroup, Segment
from prorl_trainer.engines.masks import MaskPlan, attention_allowed, pack_masks
from tests.unit.trainer.trainer_builders import make_group, make_prompt, make_rollout, make_scored, make_segment

CPU = torch.device("cpu")
TOKEN, SEQUENCE = LossAggregation.TOKEN_MEAN, LossAggregation.SEQUENCE_MEAN


def pack_up(groups: list[ScoredGroup], **options: Any) -> Batch:
    defaults: dict[str, Any] = {
        "minibatch_prompts": len(groups),
        "microbatch_tokens": 64,
        "num_ranks": 1,
        "aggregation": TOKEN,
        "temperature": 1.0,
    }
    return build_batch(groups, **(defaults | options))


def all_packs(batch: Batch) -> list[Pack]:
    return [pack for minibatch in batch.minibatches for packs in minibatch.packs_by_rank for pack in packs]


def two_groups() -> list[ScoredGroup]:
    """Prompt (1 2) with completions (10 11) and (20, environment 30 31, 21); prompt (5) with completion (40)."""
    turns = (
        make_segment([20], logprobs=[-0.3]),
        make_segment([30, 31], logprobs=[0.0, 0.0], trained=False),
        make_segment([21], logprobs=[-0.4]),
    )
    first = RolloutGroup(
        prompt=make_prompt(0, token_ids=(1, 2)),
        rollouts=(make_rollout(make_segment([10, 11], logprobs=[-0.1, -0.2])), make_rollout(*turns, reward=0.0)),
    )
    second = RolloutGroup(
        prompt=make_prompt(1, token_ids=(5,)), rollouts=(make_rollout(make_segment([40], logprobs=[-0.5])),)
    )
    return [make_scored(first, (1.0, -1.0)), make_scored(second, (0.5,))]


def test_two_groups_in_one_pack_by_hand() -> None:
    (pack,) = all_packs(pack_up(two_groups()))
    # From a completion's last token nothing is predicted.
    assert pack.input_ids.tolist() == [1, 2, 10, 20, 30, 31, 5]
    assert pack.position_ids.tolist() == [0, 1, 2, 2, 3, 4, 0]
    assert pack.group_ids.tolist() == [0, 0, 0, 0, 0, 0, 1]
    assert pack.branch_ids.tolist() == [0, 0, 1, 2, 2, 2, 0]
    # The first token of each completion is predicted by the prompt's last; 21 by the environment's last token.
    assert pack.predict_from.tolist() == [1, 2, 1, 5, 6]
    assert pack.targets.tolist() == [10, 11, 20, 21, 40]
    assert pack.rollout_logprobs.tolist() == pytest.approx([-0.1, -0.2, -0.3, -0.4, -0.5])
    assert pack.advantages.tolist() == [1.0, 1.0, -1.0, -1.0, 0.5]
    assert pack.completion_ids.tolist() == [0, 0, 1, 1, 2]
    assert pack.token_weights.tolist() == pytest.approx([0.2] * 5)


def test_sequence_mean_weighs_every_completion_alike() -> None:
    (pack,) = all_packs(pack_up(two_groups(), aggregation=SEQUENCE))
    # Three completions with 2, 2 and 1 loss tokens.
    assert pack.token_weights.tolist() == pytest.approx([1 / 6, 1 / 6, 1 / 6, 1 / 6, 1 / 3])


def test_attention_by_hand() -> None:
    (pack,) = all_packs(pack_up(two_groups()))
    expected = [
        "1......",  # 1: prompt of the first group
        "11.....",
        "111....",  # 10: its first completion
        "11.1...",  # 20: its second completion does not see the first
        "11.11..",
        "11.111.",
        "......1",  # 5: the second group sees nothing of the first
    ]
    assert ["".join("1" if cell else "." for cell in row) for row in attention_allowed(pack, CPU)] == expected


def test_a_window_reaches_back_by_position_into_the_shared_prompt() -> None:
    """Prompt 1 2 3 4 at positions 0 to 3, two completions that both go on from position 4; window 3."""
    group = make_scored(make_group([1.0, 0.0], prompt_ids=(1, 2, 3, 4), lengths=[4, 3]), (1.0, -1.0))
    (pack,) = all_packs(pack_up([group]))
    expected = [
        "1........",
        "11.......",
        "111......",
        ".111.....",
        "..111....",  # the first completion: positions 2, 3 of the prompt, and itself
        "...111...",
        "....111..",
        "..11...1.",  # the second one sees as much of the prompt, though it lies three places further back
        "...1...11",
    ]
    assert ["".join("1" if cell else "." for cell in row) for row in attention_allowed(pack, CPU, 3)] == expected


def test_masks_come_as_each_kind_of_layer_takes_them() -> None:
    group = make_scored(make_group([1.0, 0.0], prompt_ids=(1, 2, 3, 4), lengths=[4, 3]), (1.0, -1.0))
    (pack,) = all_packs(pack_up([group]))
    full, narrow = attention_allowed(pack, CPU), attention_allowed(pack, CPU, 3)
    by_type = pack_masks(pack, MaskPlan(window=3, by_layer_type=True), CPU)
    assert isinstance(by_type, dict)
    assert by_type.keys() == {"full_attention", "sliding_attention"}
    assert torch.equal(by_type["full_attention"], full[None, None])
    assert torch.equal(by_type["sliding_attention"], narrow[None, None])
    added = pack_masks(pack, MaskPlan(window=3, additive_dtype=torch.bfloat16), CPU)
    assert isinstance(added, torch.Tensor)
    assert torch.equal(added == 0, narrow[None, None])
    assert float(added.min()) == torch.finfo(torch.bfloat16).min


@pytest.mark.parametrize(
    ("groups", "size", "steps"),
    [
        (16, 8, [8, 8]),
        (8, 8, [8]),
        (9, 8, [9]),  # the ninth would take a step of full length on its own
        (12, 8, [6, 6]),
        (11, 8, [11]),
        (20, 8, [6, 7, 7]),
        (17, 8, [8, 9]),
        (3, 8, [3]),
        (1, 8, [1]),
        (5, 1, [1, 1, 1, 1, 1]),
    ],
)
def test_what_dynamic_sampling_leaves_over_is_spread_over_the_optimizer_steps(
    groups: int, size: int, steps: list[int]
) -> None:
    kept = [make_scored(make_group([1.0, 0.0], index=index), (1.0, -1.0)) for index in range(groups)]
    batch = pack_up(kept, minibatch_prompts=size)
    assert [minibatch.num_groups for minibatch in batch.minibatches] == steps


def test_a_rank_is_sent_its_own_packs_alone() -> None:
    batch = pack_up(two_groups() * 3, microbatch_tokens=12, num_ranks=2)
    for rank in range(2):
        (mine,), (all_,) = batch.of_rank(rank).minibatches, batch.minibatches
        assert mine.packs_by_rank[rank] == all_.packs_by_rank[rank]
        assert mine.packs_by_rank[1 - rank] == ()


def test_an_empty_pack_trains_nothing_and_attends_to_itself() -> None:
    pack = empty_pack()
    assert (pack.num_positions, pack.num_loss_tokens) == (1, 0)
    assert attention_allowed(pack, CPU).tolist() == [[True]]


def test_a_long_group_is_spread_over_packs_with_its_prompt_repeated() -> None:
    group = make_scored(make_group([1.0, 0.0, 1.0], prompt_ids=(1, 2, 3), lengths=[5, 5, 5]), (1.0, -1.0, 1.0))
    packs = all_packs(pack_up([group], microbatch_tokens=11))
    assert [pack.num_positions for pack in packs] == [11, 7]
    assert all(pack.input_ids[:3].tolist() == [1, 2, 3] for pack in packs)
    assert [sorted(set(pack.completion_ids.tolist())) for pack in packs] == [[0, 1], [2]]


def test_runs_of_a_long_group_continue_one_prefix_by_hand() -> None:
    """A group that is cut, one that is not, and one whose prompt is a single token."""
    lengths = [[5, 5, 5], [3], [6, 6, 6]]
    groups = [
        make_scored(make_group([1.0] * len(each), prompt_ids=prompt, lengths=each, index=index), (1.0,) * len(each))
        for index, (prompt, each) in enumerate(zip([(1, 2, 3), (4, 5), (6,)], lengths, strict=True))
    ]
    packs = all_packs(pack_up(groups, microbatch_tokens=11, continue_prefixes=True))
    prefix, first, second = packs[:3]
    assert (prefix.input_ids.tolist(), prefix.num_continuations, prefix.num_loss_tokens) == ([1, 2], 2, 0)
    assert [pack.prefix_length for pack in packs] == [0, 2, 2, 0, 0]
    assert first.input_ids[0] == second.input_ids[0] == 3
    assert first.position_ids.tolist() == [2, 3, 4, 5, 6, 3, 4, 5, 6]
    assert first.branch_ids.tolist() == [0, 1, 1, 1, 1, 2, 2, 2, 2]
    assert first.predict_from.tolist() == [0, 1, 2, 3, 4, 0, 5, 6, 7, 8]
    assert second.position_ids.tolist() == [2, 3, 4, 5, 6]
    assert sum(pack.num_positions for pack in packs[:3]) == 2 + 9 + 5, "instead of 11 + 7"
    assert [column.tolist() for column in second.seen] == [[0] * 7, [0] * 3 + [1] * 4, [*range(7)]]


@pytest.mark.parametrize(
    ("num_groups", "ranks", "is_continued"),
    [
        (3, 1, True),  # 3 x (2 + 3 x 9) = 87 positions instead of 9 x 11 = 99
        (2, 2, True),  # 29 on each rank instead of 33
        (3, 2, False),  # 58 and 29: the busier one would have more than the 55 of five packs of 11
        (1, 3, False),  # two ranks would have nothing to do
    ],
)
def test_prefixes_are_continued_where_that_leaves_the_busiest_rank_less(
    num_groups: int, ranks: int, is_continued: bool
) -> None:
    groups = [
        make_scored(make_group([1.0] * 3, prompt_ids=(1, 2, 3), lengths=[9, 9, 9], index=index), (1.0,) * 3)
        for index in range(num_groups)
    ]
    batch = pack_up(groups, microbatch_tokens=11, num_ranks=ranks, continue_prefixes=True)
    packs_by_rank = batch.minibatches[0].packs_by_rank
    assert any(pack.num_continuations for packs in packs_by_rank for pack in packs) == is_continued
    assert all(follows_its_prefix(packs) for packs in packs_by_rank)


@pytest.mark.parametrize(("length", "is_continued"), [(30, False), (10, True)])
def test_a_prefix_that_saves_less_than_a_twentieth_is_not_continued(length: int, is_continued: bool) -> None:
    """Two pieces: 2 of 2 x 33 positions are saved, or 2 of 2 x 13."""
    group = make_scored(make_group([1.0] * 2, prompt_ids=(1, 2, 3), lengths=[length + 1] * 2), (1.0,) * 2)
    packs = all_packs(pack_up([group], microbatch_tokens=length + 3, continue_prefixes=True))
    assert any(pack.num_continuations for pack in packs) == is_continued


def test_without_sharing_every_completion_has_its_own_prompt() -> None:
    group = make_scored(make_group([1.0, 0.0]), (1.0, -1.0))
    (pack,) = all_packs(pack_up([group], share_prompts=False))
    assert pack.input_ids.tolist() == [1, 2, 3, 10, 1, 2, 3, 11]
    assert pack.group_ids.tolist() == [0] * 4 + [1] * 4


def group_of(*rollouts: Rollout) -> ScoredGroup:
    """Prompt (1 2 3); the i-th rollout has advantage i."""
    group = RolloutGroup(prompt=make_prompt(), rollouts=rollouts)
    return make_scored(group, [float(index) for index in range(len(rollouts))])


def completion(*ids: int, environment: tuple[int, ...] = ()) -> Rollout:
    """Tokens of the model, and after them some that are not trained."""
    after = [make_segment(environment, logprobs=[0.0] * len(environment), trained=False)] if environment else []
    return make_rollout(make_segment(ids, logprobs=[-0.1 * number for number in ids]), *after)


def test_completions_of_which_one_begins_with_the_other_are_computed_once_and_trained_each() -> None:
    """(10 11 12) twice, (10 13), (10 11) after which the environment wrote 14, and (15 16)."""
    group = group_of(
        completion(10, 11, 12), completion(15, 16), completion(10, 11, 12), completion(10, 13),
        completion(10, 11, environment=(14,)),
    )  # fmt: skip
    (pack,) = all_packs(pack_up([group]))
    assert pack.input_ids.tolist() == [1, 2, 3, 10, 11, 15]
    assert pack.branch_ids.tolist() == [0, 0, 0, 1, 1, 2]
    assert pack.position_ids.tolist() == [0, 1, 2, 3, 4, 3]
    assert pack.completion_ids.tolist() == [0, 0, 0, 2, 2, 2, 3, 3, 4, 4, 1, 1]
    assert pack.targets.tolist() == [10, 11, 12, 10, 11, 12, 10, 13, 10, 11, 15, 16]
    assert pack.predict_from.tolist() == [2, 3, 4, 2, 3, 4, 2, 3, 2, 3, 2, 5]
    assert pack.advantages.tolist() == [0, 0, 0, 2, 2, 2, 3, 3, 4, 4, 1, 1]
    assert pack.rollout_logprobs.tolist() == pytest.approx([-0.1 * token for token in pack.targets.tolist()])
    assert pack.token_weights.tolist() == pytest.approx([1 / 12] * 12)


def test_what_all_completions_open_with_is_computed_with_the_prompt() -> None:
    """(10 11 12), (10 13 14), and (10), for which nothing is computed but the prompt."""
    (pack,) = all_packs(pack_up([group_of(completion(10, 11, 12), completion(10, 13, 14), completion(10))]))
    assert pack.input_ids.tolist() == [1, 2, 3, 10, 11, 13]
    assert pack.branch_ids.tolist() == [0, 0, 0, 0, 1, 2]
    assert pack.position_ids.tolist() == [0, 1, 2, 3, 4, 4]
    assert pack.completion_ids.tolist() == [0, 0, 0, 2, 1, 1, 1]
    assert pack.targets.tolist() == [10, 11, 12, 10, 10, 13, 14]
    assert pack.predict_from.tolist() == [2, 3, 4, 2, 2, 3, 5]


def test_completions_of_one_token_need_the_prompt_alone() -> None:
    (pack,) = all_packs(pack_up([group_of(completion(10), completion(11))]))
    assert pack.input_ids.tolist() == [1, 2, 3]
    assert (pack.predict_from.tolist(), pack.targets.tolist()) == ([2, 2], [10, 11])


@pytest.mark.parametrize("is_continued", [False, True])
def test_a_group_that_is_cut_has_no_opening(is_continued: bool) -> None:
    """Its loss tokens would be predicted in a prefix that is computed for its keys and values."""
    rollouts = [completion(10, *range(20 * number, 20 * number + 8)) for number in range(1, 4)]
    packs = all_packs(pack_up([group_of(*rollouts)], microbatch_tokens=11, continue_prefixes=is_continued))
    assert any(pack.num_continuations for pack in packs) == is_continued
    assert sum(pack.input_ids.tolist().count(10) for pack in packs) == 3


def test_copies_take_no_room_in_a_pack() -> None:
    """Three times three positions and the prompt's three would be twelve; different completions need two packs."""
    alike = make_scored(RolloutGroup(prompt=make_prompt(), rollouts=(make_rollout(tokens=4),) * 3), (1.0, 0.0, -1.0))
    (pack,) = all_packs(pack_up([alike], microbatch_tokens=6))
    assert (pack.num_positions, pack.num_loss_tokens) == (6, 12)
    different = make_scored(make_group([1.0, 0.0, 1.0], lengths=[4, 4, 4]), (1.0, 0.0, -1.0))
    assert len(all_packs(pack_up([different], microbatch_tokens=11))) == 2


def test_copies_are_of_one_group_alone() -> None:
    groups = [make_scored(make_group([1.0, 0.0], index=index), (1.0, -1.0)) for index in range(2)]
    (pack,) = all_packs(pack_up(groups))
    assert pack.num_positions == 2 * (3 + 2 * 1)


@pytest.mark.parametrize(
    ("prompt", "lengths", "shares"),  # lengths: of what is computed
    [
        (3, [4, 4], True),
        (2, [48, 48], True),  # 2 of 100 positions
        (2, [48, 49], False),  # 2 of 101
        (5, [700, 700, 700], False),  # 10 of 2,115
        (15, [700, 700, 700], False),  # 30 of 2,145: 1.4 %
        (22, [700, 700, 700], True),  # 44 of 2,166: 2.03 %
    ],
)
def test_prompts_are_shared_where_that_saves_a_fiftieth_of_the_positions(
    prompt: int, lengths: list[int], shares: bool
) -> None:
    rewards = [1.0] * len(lengths)
    tokens = [length + 1 for length in lengths]
    group = make_scored(make_group(rewards, prompt_ids=tuple(range(1, prompt + 1)), lengths=tokens), rewards)
    (pack,) = all_packs(pack_up([group], microbatch_tokens=5000))
    copies = 1 if shares else len(lengths)
    assert pack.num_positions == prompt * copies + sum(lengths)
    assert len(set(pack.group_ids.tolist())) == copies
    assert pack.num_loss_tokens == sum(tokens)


def test_what_cannot_fit_is_an_error_that_names_the_prompt_and_the_remedy() -> None:
    group = make_scored(make_group([1.0, 0.0], index=7, lengths=[2, 9]), (1.0, -1.0))
    with pytest.raises(
        ValueError, match=r"prompt 7 of source sums has 3 tokens and a completion of 9.*microbatchTokens"
    ):
        pack_up([group], microbatch_tokens=10)


def test_masked_rollouts_and_rollouts_without_a_trained_token_are_left_out() -> None:
    environment = make_rollout(make_segment([9, 9], trained=False))
    group = RolloutGroup(
        prompt=make_prompt(), rollouts=(make_rollout(tokens=3), make_rollout(reward=None), environment)
    )
    (pack,) = all_packs(pack_up([make_scored(group, (1.0, None, -1.0))]))
    assert pack.num_positions == 5
    assert pack.token_weights.tolist() == pytest.approx([1 / 3] * 3)


def test_minibatches_are_cut_in_order_and_weighed_apart() -> None:
    groups = [make_scored(make_group([1.0, 0.0], index=index, lengths=[1, 3]), (1.0, -1.0)) for index in range(3)]
    batch = pack_up(groups, minibatch_prompts=1)
    assert [minibatch.num_groups for minibatch in batch.minibatches] == [1, 1, 1]
    assert [minibatch.num_loss_tokens for minibatch in batch.minibatches] == [4, 4, 4]
    assert [packs[0].targets[-1] for packs in (one.packs_by_rank[0] for one in batch.minibatches)] == [
        scored.group.rollouts[-1].segments[-1].token_ids[-1] for scored in groups
    ]


TURNS = st.lists(st.lists(st.integers(7, 8), min_size=1, max_size=5), min_size=1, max_size=3)
GROUPS = st.lists(
    st.tuples(st.integers(1, 6), st.lists(st.tuples(TURNS, st.booleans()), min_size=1, max_size=5)),
    min_size=1,
    max_size=6,
)
"""Of each its prompt's length and its completions: tokens of turns of model and environment, and whether masked. Of two
tokens, so that many begin alike."""


def scored_groups(shape: list[tuple[int, list[tuple[list[list[int]], bool]]]]) -> list[ScoredGroup]:
    """Prompts of tokens of their own, tokens with log-probabilities and completions with advantages of their own."""
    next_token, next_number = iter(range(100, 10_000)), iter(range(1, 10_000))

    def segment(ids: list[int], turn: int) -> Segment:
        return make_segment(ids, logprobs=[-float(next(next_number)) for _ in ids], trained=turn % 2 == 0)

    groups = []
    for index, (prompt_length, completions) in enumerate(shape):
        rollouts = [make_rollout(*(segment(ids, turn) for turn, ids in enumerate(turns))) for turns, _ in completions]
        prompt = make_prompt(index, token_ids=[next(next_token) for _ in range(prompt_length)])
        advantages = [None if number and masked else 0.5 + number for number, (_, masked) in enumerate(completions)]
        groups.append(make_scored(RolloutGroup(prompt=prompt, rollouts=tuple(rollouts)), advantages))
    return groups


LossToken = tuple[tuple[int, ...], int, float, float]
"""All tokens before it, itself, its log-probability and its advantage."""


def wanted_loss_tokens(groups: list[ScoredGroup]) -> Counter[LossToken]:
    found: Counter[LossToken] = Counter()
    for scored in groups:
        for rollout, advantage in zip(scored.group.rollouts, scored.advantages, strict=True):
            before = list(scored.group.prompt.token_ids)
            for segment in rollout.segments:
                for token, logprob in zip(segment.token_ids, segment.logprobs, strict=True):
                    if segment.loss_mask and advantage is not None:
                        found[tuple(before), token, logprob, advantage] += 1
                    before.append(token)
    return found


def loss_tokens_of(packs: Sequence[Pack]) -> Counter[LossToken]:
    """What is before a token is what the position that predicts it attends to."""
    found: Counter[LossToken] = Counter()
    prefix = np.zeros(0, dtype=np.int64)
    for pack in packs:
        prefix = pack.input_ids if pack.num_continuations else prefix
        ids = np.concatenate([prefix[: pack.prefix_length], pack.input_ids])
        allowed, (_, _, positions) = attention_allowed(pack, CPU).numpy(), pack.seen
        columns = (pack.predict_from, pack.targets, pack.rollout_logprobs, pack.advantages)
        for source, target, logprob, advantage in zip(*(column.tolist() for column in columns), strict=True):
            seen = allowed[pack.prefix_length + source] if allowed.shape[0] > pack.num_positions else allowed[source]
            assert positions[seen].tolist() == list(range(seen.sum())), "positions count from the prompt's first token"
            found[tuple(ids[seen].tolist()), target, logprob, advantage] += 1
    return found


@settings(max_examples=150, deadline=None)
@given(
    shape=GROUPS, ranks=st.integers(1, 3), minibatch=st.integers(1, 3), limit=st.integers(21, 60),
    is_continued=st.booleans(),
)  # fmt: skip
def test_laws_of_packing(shape: Any, ranks: int, minibatch: int, limit: int, is_continued: bool) -> None:
    groups = scored_groups(shape)
    for aggregation in LossAggregation:
        batch = pack_up(
            groups,
            minibatch_prompts=minibatch,
            microbatch_tokens=limit,
            num_ranks=ranks,
            aggregation=aggregation,
            continue_prefixes=is_continued,
        )
        trained: Counter[LossToken] = Counter()
        for one in batch.minibatches:
            assert len({len(packs) for packs in one.packs_by_rank}) == 1, "every rank runs the same number of packs"
            packs = [pack for packs in one.packs_by_rank for pack in packs]
            total = sum(float(pack.token_weights.astype(np.float64).sum()) for pack in packs)
            assert total == pytest.approx(1.0, rel=1e-5), "weights add up to one in every optimizer step"
            assert all(pack.prefix_length + pack.num_positions <= limit for pack in packs)
            assert all(follows_its_prefix(packs) for packs in one.packs_by_rank)
            trained += sum((loss_tokens_of(packs) for packs in one.packs_by_rank), Counter())
        assert trained == wanted_loss_tokens(groups), "every loss token of every rollout once, after what was before it"


def follows_its_prefix(packs: Sequence[Pack]) -> bool:
    """Whether each continuation comes after a prefix of its length, and each prefix is followed by all of its own."""
    left, length = 0, 0
    for pack in packs:
        if pack.prefix_length:
            left -= 1
            if left < 0 or pack.prefix_length != length or pack.position_ids[0] != length:
                return False
        elif left:
            return False
        elif pack.num_continuations:
            left, length = pack.num_continuations, pack.num_positions
            if pack.num_loss_tokens:
                return False
    return not left


def test_the_same_batch_gives_the_same_packs() -> None:
    first, second = (all_packs(pack_up(two_groups() * 3, microbatch_tokens=12, num_ranks=2)) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        for name in Pack.__dataclass_fields__:
            assert np.array_equal(getattr(one, name), getattr(other, name))
