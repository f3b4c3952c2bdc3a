"""Vitals: folded from lines, by hand."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from prorl_api.limits import Limits
from prorl_api.metrics import BY_NAME, LIVE, TABLE
from prorl_api.vitals import VITALS, by_source, vitals
from prorl_api.vitals_fold import LONG_WINDOW_STEPS, WINDOW_STEPS, VitalsFold
from tests.unit.vitals_by_definition import vitals_by_definition


def lines(count: int, **metrics: Any) -> list[dict[str, Any]]:
    """Steps 1 to `count`; a list gives a value a step, None leaves it out, anything else stands in each."""
    found = []
    for index in range(count):
        values = {name: value[index] if isinstance(value, list) else value for name, value in metrics.items()}
        line = {"step": index + 1, "attempt": 1, "time": 1000.0 + index}
        found.append(line | {name.replace("__", "/"): value for name, value in values.items() if value is not None})
    return found


def test_no_lines_have_no_vitals() -> None:
    assert vitals([]) == {}
    assert vitals([{"step": 0, "attempt": 1, "validation_accuracy": 0.5}]) == {
        "validation_best": 0.5,
        "validation_newest": 0.5,
    }


def test_the_names_of_all_tables_differ() -> None:
    names = [metric.prometheus_name for metric in (*TABLE, *LIVE, *VITALS)]
    assert len(names) == len(set(names))
    assert not {metric.name for metric in VITALS} & set(BY_NAME)


def test_every_vital_that_is_computed_is_in_the_table() -> None:
    steps = lines(
        60,
        kl=0.1,
        kl_loss_share=0.2,
        groups_kept=0.5,
        groups_sampled=8,
        truncated=0.1,
        mismatch_logprob=0.01,
        reward_mean=0.5,
        seconds_total=3.0,
        seconds_validating=1.0,
        entropy_sampled__sums=1.0,
        rollouts_sampled__sums=8,
        validation_source_accuracy__sums=0.5,
        validation_accuracy=[0.5 - index / 1000 for index in range(60)],
    )
    names = {name.partition("/")[0] for name in vitals(steps)}
    assert names == {metric.name for metric in VITALS} | {"step_timestamp"}


@pytest.mark.parametrize("name", ["truncated", "mismatch_logprob"])
def test_a_window_is_the_mean_of_its_newest_steps_and_absent_while_it_is_short(name: str) -> None:
    values = [9.0] * 5 + [float(index) for index in range(WINDOW_STEPS)]
    assert vitals(lines(15, **{name: values}))[f"{name}_recent"] == pytest.approx(4.5)
    assert f"{name}_recent" not in vitals(lines(WINDOW_STEPS - 1, **{name: 1.0}))


def test_a_value_that_is_no_finite_number_is_no_value() -> None:
    values = [math.nan, math.inf, True, "1", None] + [0.25] * WINDOW_STEPS
    assert vitals(lines(15, truncated=values))["truncated_recent"] == 0.25
    assert "truncated_recent" not in vitals(lines(14, truncated=values[:14]))


def test_the_share_of_groups_with_a_signal_is_weighted_by_the_groups_sampled() -> None:
    # Nine steps keep 4 of 4, one keeps 4 of 64: 40 of 100.
    steps = lines(10, groups_kept=[1.0] * 9 + [4 / 64], groups_sampled=[4] * 9 + [64])
    assert vitals(steps)["groups_kept_recent"] == pytest.approx(0.4)


def test_the_usual_step_is_the_median_without_validations_and_checkpoints() -> None:
    steps = lines(
        10, seconds_total=[10.0] * 8 + [500.0, 70.0], seconds_validating=[None] * 9 + [50.0], seconds_checkpointing=4.0
    )
    found = vitals(steps)
    assert found["step_usual"] == pytest.approx(6.0)
    assert found["step_pause_longest"] == pytest.approx(54.0)
    assert found["step_timestamp"] == 1009.0


def test_the_long_kl_is_measured_to_one_reference_only() -> None:
    kl = [5.0] * 30 + [1.0] * LONG_WINDOW_STEPS
    resets = [0] * 30 + [1] * LONG_WINDOW_STEPS
    assert vitals(lines(80, kl=kl, resets_total=resets))["kl_long"] == pytest.approx(1.0)
    assert "kl_long" not in vitals(lines(79, kl=kl[:79], resets_total=resets[:79]))
    assert vitals(lines(80, kl=kl, resets_total=0))["kl_long"] == pytest.approx(1.0)


def test_validation_has_fallen_only_if_all_of_the_last_are_low() -> None:
    def judged(*values: float) -> dict[str, float]:
        return vitals(lines(len(values), validation_accuracy=list(values)))

    assert judged(0.5, 0.7, 0.6)["validation_best"] == 0.7
    assert "validation_recent" not in judged(0.5, 0.7, 0.6), "one alone may be noise"
    assert judged(0.5, 0.7, 0.4, 0.6, 0.5)["validation_recent"] == 0.6
    assert "validation_recent" not in judged(0.5, 0.7, 0.6, 0.6, 0.8), "the newest is the best"


def test_the_reward_at_the_best_validation_is_that_of_the_steps_before_it() -> None:
    steps = lines(
        30,
        reward_mean=[0.1] * 10 + [0.2] * 10 + [0.9] * 10,
        validation_accuracy=[None] * 19 + [0.8] + [None] * 8 + [0.5, 0.4],
    )
    found = vitals(steps)
    assert found["reward_at_best"] == pytest.approx(0.2)
    assert found["reward_recent"] == pytest.approx(0.9)
    first = [{"step": 0, "attempt": 1, "validation_accuracy": 0.9}, *steps]
    assert vitals(first)["reward_at_best"] == pytest.approx(0.1), "before the first step: its first steps"


def test_the_newest_validation_stays_until_the_next_one() -> None:
    found = vitals(
        lines(
            5,
            validation_accuracy=[0.1, None, 0.3, None, None],
            validation_source_accuracy__a=[0.1, None, 0.4, None, None],
        )
    )
    assert found["validation_newest"] == 0.3
    assert by_source(found, "validation_source_newest") == {"a": 0.4}


def test_a_source_has_a_recent_entropy_once_it_does_not_overlap_its_start() -> None:
    values = [2.0] * 10 + [1.0] * 10
    found = vitals(lines(20, entropy_sampled__a=values, entropy_sampled__b=[None, *values[:-1]]))
    assert by_source(found, "entropy_sampled_start") == {"a": 2.0, "b": 2.0}
    assert by_source(found, "entropy_sampled_recent") == {"a": 1.0}


def test_masked_rollouts_are_a_share_of_all_of_the_window() -> None:
    found = vitals(
        lines(
            10,
            rollouts_sampled__a=10,
            rollouts_masked_unsupported__a=[0] * 9 + [5],
            rollouts_masked_sandbox_error__a=[5] + [0] * 9,
            rollouts_sampled__b=0,
        )
    )
    assert by_source(found, "rollouts_masked_recent") == {"a": 0.1}


def test_a_checkpoint_is_due_by_steps_or_minutes_whichever_is_sooner() -> None:
    limits = Limits(checkpoint_every_steps=50, checkpoint_every_minutes=30)
    assert limits.checkpoint_due_seconds({}) == 1800
    assert limits.checkpoint_due_seconds({"step_usual": 10.0}) == 510
    assert limits.checkpoint_due_seconds({"step_usual": 100.0, "step_pause_longest": 7.0}) == 1907


@pytest.mark.parametrize("seed", range(40))
def test_the_fold_gives_at_every_step_what_the_definitions_give(seed: int) -> None:
    dice, told, resets = random.Random(seed), list[dict[str, Any]](), 0
    shares = {
        "kl": 0.9, "kl_loss_share": 0.9, "reward_mean": 0.9, "truncated": 0.8, "mismatch_logprob": 0.7,
        "groups_kept": 0.95, "seconds_total": 0.95, "seconds_validating": 0.2, "validation_accuracy": 0.1,
        "entropy_sampled/a": 0.6, "entropy_sampled/b": 0.2, "validation_source_accuracy/a": 0.1,
    }  # fmt: skip
    fold = VitalsFold()
    for step in range(seed % 2, 130):
        line: dict[str, Any] = {"step": step, "attempt": 1, "time": float(step)}
        for name, share in shares.items():
            if dice.random() < share:
                line[name] = dice.choice([dice.random(), 0.5, 0.0, math.nan if dice.random() < 0.1 else 1.0])
        resets += dice.random() < 0.02
        line |= {"resets_total": resets} if dice.random() < 0.95 else {}
        line |= {"groups_sampled": dice.randint(0, 8)} if dice.random() < 0.95 else {}
        if dice.random() < 0.9:
            line |= {"rollouts_sampled/a": dice.randint(0, 8), "rollouts_masked_unsupported/a": dice.randint(0, 2)}
        told.append(line)
        fold.add(line)
        assert fold.values() == pytest.approx(vitals_by_definition(told), rel=1e-12, abs=1e-15)
    assert len(fold.values()) > 10
