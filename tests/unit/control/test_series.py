"""The metrics that a body keeps of a run."""

from __future__ import annotations

from typing import Any

import pytest

from prorl_api.metrics import BY_NAME
from prorl_api.wire.learner import LearnerPhase, LearnerStatus, MetricsSeries
from prorl_control.resets.series import ALL_STEPS, Series
from prorl_control.resets.triggers import DECISIVE


def make_series(names: frozenset[str] | None = None) -> Series:
    series = Series(names)
    series.begin_attempt(
        LearnerStatus(attempt=1, phase=LearnerPhase.SAMPLING, phase_since=0, heartbeat=0, step=0, total_steps=9)
    )
    return series


def take(series: Series, *lines: dict[str, Any]) -> None:
    series.take(series.next_question, MetricsSeries(steps=lines), now=1.0)


def test_a_series_keeps_every_metric_unless_told_which() -> None:
    line = {"step": 1, "attempt": 1, "kl": 0.5, "entropy": 2.0}
    series = make_series()
    take(series, line)
    assert series.lines == [line]


def test_a_series_of_some_metrics_keeps_them_with_step_and_attempt() -> None:
    series = make_series(frozenset({"kl"}))
    take(series, {"step": 1, "attempt": 1, "kl": 0.5, "entropy": 2.0}, {"step": 2, "attempt": 1})
    assert series.lines == [{"step": 1, "attempt": 1, "kl": 0.5}, {"step": 2, "attempt": 1}]
    assert series.next_question == (1, 2)


def test_decisions_rest_on_metrics_of_the_table() -> None:
    assert set(BY_NAME) >= DECISIVE
    noise = {"validation_completions", "validation_stderr"}
    assert {"kl", "kl_loss_share", "validation_accuracy"} | noise == DECISIVE


def steps(*numbers: int, validated: int = 0) -> list[dict[str, Any]]:
    """Lines of steps; every so many with a validation."""
    lines: list[dict[str, Any]] = [{"step": number, "attempt": 1, "kl": 0.1} for number in numbers]
    for line in lines:
        if validated and line["step"] % validated == 0:
            line["validation_accuracy"] = 0.5
    return lines


def kept(series: Series) -> list[int]:
    return [line["step"] for line in series.lines]


def test_of_old_steps_only_validations_are_kept() -> None:
    series = make_series()
    series.keep_recent(3)
    for first in range(1, 40, 4):
        take(series, *steps(*range(first, first + 4), validated=10))
    assert kept(series)[-3:] == [38, 39, 40]
    assert [step for step in kept(series) if step % 10 == 0] == [10, 20, 30, 40]
    assert len(series.lines) <= 2 * 3 + 4
    assert series.next_question == (1, 40)


def test_whoever_wants_more_than_was_kept_asks_for_everything_again() -> None:
    series = make_series()
    series.keep_recent(3)
    take(series, *steps(*range(1, 21)))
    series.keep_recent(2)
    assert series.next_question == (1, 20)
    series.keep_recent(5)
    assert series.next_question == (1, ALL_STEPS)
    take(series, *steps(*range(1, 21)))
    assert kept(series)[-5:] == [16, 17, 18, 19, 20]


def test_nothing_is_asked_for_again_while_everything_is_kept() -> None:
    series = make_series()
    series.keep_recent(3)
    take(series, *steps(1, 2, 3, 4))
    series.keep_recent(100)
    assert kept(series) == [1, 2, 3, 4]


@pytest.mark.parametrize(("num_steps", "next_step"), [(4, 2), (20, ALL_STEPS)])
def test_a_new_attempt_is_asked_for_everything_where_lines_before_it_are_missing(
    num_steps: int, next_step: int
) -> None:
    series = make_series()
    series.keep_recent(3)
    take(series, *steps(*range(1, num_steps + 1)))
    series.begin_attempt(
        LearnerStatus(
            attempt=2,
            phase=LearnerPhase.SAMPLING,
            phase_since=0,
            heartbeat=0,
            step=2,
            total_steps=9,
            resumed_from_step=num_steps - 2,
        )
    )
    assert series.next_question == (2, next_step)


def test_metrics_that_an_edited_policy_reads_are_asked_for_again() -> None:
    series = make_series(frozenset({"kl"}))
    line = {"step": 1, "attempt": 1, "kl": 0.1, "entropy": 2.0}
    take(series, line)
    series.keep_names(frozenset({"kl"}))
    assert series.next_question == (1, 1)
    series.keep_names(frozenset({"entropy"}))
    assert series.next_question == (1, ALL_STEPS)
    take(series, line)
    assert series.lines == [line]
