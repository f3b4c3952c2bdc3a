"""Packed sequences, worked by hand."""

from __future__ import annotations

import pytest
import torch

from prorl_trainer.algorithm.packing import empty_pack
from prorl_trainer.algorithm.types import RolloutGroup
from prorl_trainer.engines.masks import MaskPlan, attention_allowed, pack_masks
from tests.unit.trainer.packs import CPU, SEQUENCE, all_packs, pack_up, two_groups
from tests.unit.trainer.trainer_builders import make_group, make_prompt, make_rollout, make_scored, make_segment


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


def test_what_cannot_fit_is_an_error_that_names_the_prompt_and_the_remedy() -> None:
    group = make_scored(make_group([1.0, 0.0], index=7, lengths=[2, 9]), (1.0, -1.0))
    with pytest.raises(
        ValueError,
        match=r"prompt 7 of source sums has 3 tokens and a completion of 8 before.*microbatchTokens 10; raise it",
    ):
        pack_up([group], microbatch_tokens=10)
    assert max(pack.num_positions for pack in all_packs(pack_up([group], microbatch_tokens=11))) == 11


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
