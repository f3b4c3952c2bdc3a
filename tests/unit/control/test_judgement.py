"""What is said of a reset afterwards, worked by hand."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from prorl_api.resets import Judgement, ResetCondition, ResetEffect, ResetRecord
from prorl_control.resets.judgement import KL_STEPS, with_judgement

sys.path.insert(0, str(Path(__file__).parent))
from test_resets import make_record
from test_triggers import judged as validated

FLAT = [0.40, 0.42, 0.38, 0.41, 0.39]
APPLIED = 40


def applied(step: int = APPLIED, uid: str = "u1") -> ResetRecord:
    return make_record(condition=ResetCondition.APPLIED, applied_step=step, uid=uid)


def judge(
    before: Sequence[float],
    after: Sequence[float],
    *,
    records: Sequence[ResetRecord] = (),
    is_over: bool = True,
    **more: Any,
) -> Judgement | None:
    samples = validated([*before, *after], **more)
    record = applied(10 * (len(before) - 1))
    return with_judgement(record, samples, [record, *records], is_over=is_over).judgement


@pytest.mark.parametrize(
    ("before", "after", "effect"),
    [
        (FLAT, [value + 0.1 for value in FLAT], ResetEffect.HELPED),
        (FLAT, [value - 0.1 for value in FLAT], ResetEffect.HURT),
        (FLAT, FLAT, ResetEffect.NOTHING),
        ([0.30, 0.34, 0.38, 0.42, 0.46], [0.50, 0.54, 0.58, 0.62, 0.66], ResetEffect.NOTHING),
        ([0.30, 0.34, 0.38, 0.42, 0.46], [0.47, 0.48, 0.49, 0.50, 0.51], ResetEffect.NOTHING),
        ([0.30, 0.34, 0.38, 0.42, 0.46], [0.80, 0.84, 0.88, 0.92, 0.96], ResetEffect.HELPED),
        ([0.50, 0.46, 0.42, 0.38, 0.34], [0.50, 0.50, 0.50, 0.50, 0.50], ResetEffect.HELPED),
    ],
    ids=["rises", "falls", "stays", "climbs on", "climbs on slower", "climbs faster", "recovers from a fall"],
)
def test_a_reset_is_judged_by_what_the_validations_before_it_let_expect(
    before: list[float], after: list[float], effect: ResetEffect
) -> None:
    found = judge(before, after)
    assert found is not None
    assert found.effect is effect


def test_the_change_has_the_interval_of_two_binomial_means() -> None:
    found = judge(FLAT, [value + 0.1 for value in FLAT])
    assert found is not None
    shares = [*FLAT, *(value + 0.1 for value in FLAT)]
    adjusted = [(share * 512 + 2) / 516 for share in shares]
    error = math.sqrt(sum(share * (1 - share) / 512 for share in adjusted)) / 5
    assert found.change.value == pytest.approx(0.1)
    assert found.change.low == pytest.approx(0.1 - stats.norm.ppf(0.975) * error)
    assert found.change.high == pytest.approx(0.1 + stats.norm.ppf(0.975) * error)
    assert (found.accuracy_before.count, found.accuracy_after.count, found.until_step) == (5, 5, 90)
    assert found.expected_by_trend is None
    assert str(found) == (
        "helped: held-out accuracy 0.400 (0.381 to 0.419) before, 0.500 (0.481 to 0.519) after, +0.100 (+0.073 to "
        "+0.127), 5 and 5 validations up to step 90"
    )


def test_without_known_noise_their_scatter_makes_the_interval() -> None:
    found = judge(FLAT, [value + 0.1 for value in FLAT], count=None)
    assert found is not None
    residual = stats.linregress(range(5), FLAT)
    spread = math.sqrt(sum((y - residual.intercept - residual.slope * x) ** 2 for x, y in enumerate(FLAT)) / 3)
    assert found.accuracy_before.high == pytest.approx(0.4 + stats.t.ppf(0.975, 3) * spread / math.sqrt(5), rel=3e-3)


def test_three_validations_on_either_side_are_the_least_and_ten_the_most() -> None:
    assert judge(FLAT[:2], FLAT) is None
    assert judge(FLAT, FLAT[:2]) is None
    assert judge(FLAT, FLAT, is_over=False) is None, "five more are to come"
    whole = judge(FLAT * 4, FLAT * 4, is_over=False)
    assert whole is not None
    assert (whole.accuracy_before.count, whole.accuracy_after.count) == (10, 10)


def test_what_follows_the_next_reset_says_nothing_of_this_one() -> None:
    following = applied(70, "u2")
    found = judge(FLAT, [0.5, 0.5, 0.5, 0.9, 0.9], records=[following], is_over=False)
    assert found is not None
    assert (found.accuracy_after.value, found.accuracy_after.count, found.until_step) == (0.5, 3, 70)


def test_what_was_before_the_last_reset_says_nothing_either() -> None:
    assert judge([0.9, 0.9, *FLAT[:3]], FLAT, records=[applied(10, "u0")]) is not None
    assert judge([0.9, 0.9, *FLAT[:2]], FLAT, records=[applied(10, "u0")]) is None


def test_the_kl_of_either_side_is_told_and_the_one_before_at_once() -> None:
    samples = [{"step": step, "attempt": 1, "kl": 0.3 + 0.001 * step} for step in range(1, APPLIED + 1)]
    record = with_judgement(applied(), samples, [])
    assert record.judgement is None
    wanted = [sample["kl"] for sample in samples[-KL_STEPS:]]
    interval = stats.ttest_1samp(wanted, 0).confidence_interval(0.95)
    assert record.kl_before is not None
    assert record.kl_before.count == KL_STEPS
    assert [record.kl_before.low, record.kl_before.high] == pytest.approx([interval.low, interval.high], rel=1e-4)
    later = [{"step": step, "attempt": 1, "kl": 0.05} for step in range(APPLIED + 1, 61)]
    for sample in [*samples, *later]:
        if sample["step"] % 5 == 0:
            sample["validation_accuracy"] = 0.5
    done = with_judgement(record, [*samples, *later], [record], is_over=True)
    assert done.kl_before == record.kl_before
    assert done.judgement is not None
    assert done.judgement.kl_after is not None
    assert done.judgement.kl_after.value == pytest.approx(0.05)


def test_a_judgement_stands_and_a_reset_that_was_not_applied_gets_none() -> None:
    samples = validated([*FLAT, *FLAT])
    record = with_judgement(applied(), samples, [], is_over=True)
    assert record.judgement is not None
    assert with_judgement(record, validated([0.9] * 30), [record], is_over=True) == record
    vetoed = make_record(condition=ResetCondition.VETOED)
    assert with_judgement(vetoed, samples, [vetoed], is_over=True) == vetoed
