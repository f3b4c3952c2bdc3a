"""Group-relative advantages, each kind by hand."""

from __future__ import annotations

import math

import pytest

from prorl_api.spec.values import AdvantageKind
from prorl_trainer.algorithm.advantages import batch_advantages

GRPO, MEAN, BASELINE = AdvantageKind.GRPO, AdvantageKind.MEAN_ONLY, AdvantageKind.REINFORCE_PLUS_PLUS_BASELINE
LEAVE_ONE_OUT, RAFT = AdvantageKind.LEAVE_ONE_OUT, AdvantageKind.RAFT
RELATIVE = [kind for kind in AdvantageKind if kind is not RAFT]
"""To the group's other rewards."""


def test_grpo_divides_by_the_population_standard_deviation() -> None:
    # mean 1/4, variance (9/16 + 3 * 1/16) / 4 = 3/16
    std = math.sqrt(3) / 4
    (group,) = batch_advantages(GRPO, [[1.0, 0.0, 0.0, 0.0]])
    assert group == pytest.approx((0.75 / std, -0.25 / std, -0.25 / std, -0.25 / std), rel=1e-12)


def test_grpo_of_two_different_rewards_is_plus_and_minus_one() -> None:
    assert batch_advantages(GRPO, [[0.3, 0.1]])[0] == pytest.approx((1.0, -1.0), rel=1e-12)


def test_mean_only_subtracts_the_mean() -> None:
    assert batch_advantages(MEAN, [[1.0, 0.0, 0.5, 0.5]])[0] == pytest.approx((0.5, -0.5, 0.0, 0.0), abs=1e-15)


def test_leave_one_out_subtracts_the_mean_of_the_others() -> None:
    # the others' means: 1/3, 2/3, 2/3, 1/3 of three rewards each
    (group,) = batch_advantages(LEAVE_ONE_OUT, [[1.0, 0.0, 0.0, 1.0]])
    assert group == pytest.approx((1 - 1 / 3, -2 / 3, -2 / 3, 1 - 1 / 3), rel=1e-12)


def test_leave_one_out_counts_the_judged_rollouts_only() -> None:
    (group,) = batch_advantages(LEAVE_ONE_OUT, [[0.9, None, 0.2, 0.4]])
    assert group[0] == pytest.approx(0.9 - (0.2 + 0.4) / 2, rel=1e-12)
    assert group[1] is None


def test_raft_takes_the_reward_itself_and_unlearns_nothing() -> None:
    rewards: list[list[float | None]] = [[1.0, 0.0, 0.5, -0.1], [1.0, 1.0], [0.0, None]]
    assert batch_advantages(RAFT, rewards) == [(1.0, 0.0, 0.5, 0.0), (1.0, 1.0), (0.0, None)]


def test_each_source_has_a_scale_of_its_own() -> None:
    # "math" centred: (1/2, -1/2), std 1/2. "style" centred: (1/20, -1/20) twice, std 1/20.
    rewards = [[1.0, 0.0], [0.1, 0.0], [0.2, 0.1]]
    by_source = batch_advantages(BASELINE, rewards, ["math", "style", "style"])
    assert [value for group in by_source for value in group] == pytest.approx([1.0, -1.0] * 3, rel=1e-12)
    together = batch_advantages(BASELINE, rewards)
    assert together[1][0] == pytest.approx(0.1 * together[0][0], rel=1e-12)  # type: ignore[operator]


def test_a_source_without_a_judged_rollout_disturbs_no_other() -> None:
    assert batch_advantages(BASELINE, [[None, None], [1.0, 0.0]], ["a", "b"]) == [(None, None), (1.0, -1.0)]


def test_baseline_kind_normalises_over_the_whole_batch() -> None:
    # centred: (1/2, -1/2) and (1/4, -1/4); mean 0, variance (2/4 + 2/16) / 4 = 5/32
    std = math.sqrt(5 / 32)
    first, second = batch_advantages(BASELINE, [[1.0, 0.0], [0.5, 0.0]])
    assert first == pytest.approx((0.5 / std, -0.5 / std), rel=1e-12)
    assert second == pytest.approx((0.25 / std, -0.25 / std), rel=1e-12)


def test_baseline_kind_centres_the_batch_when_masks_make_its_mean_nonzero() -> None:
    # Each group is centred by its own mean, so the batch's mean is zero whatever is masked.
    flat = [v for group in batch_advantages(BASELINE, [[1.0, None, 0.0], [0.2, 0.4, 0.9]]) for v in group]
    known = [value for value in flat if value is not None]
    assert sum(known) == pytest.approx(0.0, abs=1e-12)
    assert sum(value * value for value in known) / len(known) == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("kind", list(AdvantageKind))
def test_masked_rollouts_take_part_in_no_statistic(kind: AdvantageKind) -> None:
    with_mask = batch_advantages(kind, [[1.0, None, 0.0, None]])[0]
    without = batch_advantages(kind, [[1.0, 0.0]])[0]
    assert with_mask[1] is None
    assert with_mask[3] is None
    assert (with_mask[0], with_mask[2]) == without


@pytest.mark.parametrize("kind", RELATIVE)
def test_equal_rewards_give_zero_advantage(kind: AdvantageKind) -> None:
    assert batch_advantages(kind, [[0.7, 0.7, 0.7]]) == [(0.0, 0.0, 0.0)]


@pytest.mark.parametrize("kind", RELATIVE)
def test_a_singleton_has_zero_advantage(kind: AdvantageKind) -> None:
    assert batch_advantages(kind, [[None, 1.0]]) == [(None, 0.0)]


@pytest.mark.parametrize("kind", list(AdvantageKind))
def test_a_batch_without_any_score_has_no_advantage(kind: AdvantageKind) -> None:
    assert batch_advantages(kind, [[None, None]]) == [(None, None)]


def test_grpo_does_not_depend_on_the_scale_of_rewards() -> None:
    small, large = batch_advantages(GRPO, [[0.1, 0.2, 0.4], [0.2, 0.4, 0.8]])
    assert small == pytest.approx(large, rel=1e-9)
