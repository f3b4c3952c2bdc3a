"""The learner's history of steps: bounded in memory, whole by its file, and folded as the report folds it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from prorl_api.metrics import surviving
from prorl_api.vitals import vitals
from prorl_trainer.service.step_history import KEPT_STEPS, StepHistory

Line = dict[str, Any]


def make_line(step: int, attempt: int = 1, **values: float) -> Line:
    return {"step": step, "attempt": attempt, **values}


class Recorded:
    """`metrics.jsonl`, with how often it was read."""

    def __init__(self, lines: Sequence[Line] = ()) -> None:
        self.lines = list(lines)
        self.num_reads = 0

    def __call__(self) -> list[Line]:
        self.num_reads += 1
        return list(self.lines)


def filled(recorded: Recorded, lines: Sequence[Line]) -> StepHistory:
    history = StepHistory(recorded)
    for line in lines:
        recorded.lines.append(line)
        history.add(line)
    return history


def test_old_steps_are_read_from_the_file_and_new_ones_are_not() -> None:
    recorded = Recorded()
    history = filled(recorded, [make_line(step) for step in range(3 * KEPT_STEPS)])
    assert len(history._newest) == KEPT_STEPS
    oldest = 2 * KEPT_STEPS
    assert [line["step"] for line in history.since(oldest - 1)] == list(range(oldest, 3 * KEPT_STEPS))
    assert recorded.num_reads == 0
    assert [line["step"] for line in history.since(oldest - 2)] == list(range(oldest - 1, 3 * KEPT_STEPS))
    assert [line["step"] for line in history.since(-1)] == list(range(3 * KEPT_STEPS))
    assert recorded.num_reads == 2
    assert history.since(3 * KEPT_STEPS - 1) == []


def test_nothing_is_read_while_everything_is_in_memory() -> None:
    recorded = Recorded()
    history = filled(recorded, [make_line(step) for step in range(KEPT_STEPS)])
    assert len(history.since(-1)) == KEPT_STEPS
    assert recorded.num_reads == 0


def test_a_resumed_run_shows_one_series_over_all_attempts() -> None:
    """Attempt 2 went on from step 300; what attempt 1 did after it is superseded, and not shown before that."""
    first = [make_line(step, reward_mean=step / 1000) for step in range(341)]
    recorded = Recorded(first)
    history = StepHistory(recorded)
    history.begin(300)
    assert [line["step"] for line in history.since(-1)] == list(range(301))
    again = [make_line(step, attempt=2, reward_mean=0.5) for step in range(301, 311)]
    for line in again:
        recorded.lines.append(line)
        history.add(line)
    expected = [*first[:301], *again]
    assert history.since(-1) == expected == surviving([*first, *again])
    assert history.vitals == vitals(expected)
    assert history.last == again[-1]


def test_a_step_that_is_recorded_again_takes_the_place_of_what_it_supersedes() -> None:
    recorded = Recorded()
    history = filled(recorded, [make_line(1), make_line(2), make_line(3), make_line(2, attempt=2)])
    assert [(line["step"], line["attempt"]) for line in history.since(-1)] == [(1, 1), (2, 2)]
    assert history.vitals == vitals([make_line(1), make_line(2, attempt=2)])


def test_vitals_are_those_that_the_report_folds_from_the_file_at_every_step() -> None:
    dice, lines = random.Random(0), list[Line]()
    recorded = Recorded()
    history = StepHistory(recorded)
    for step in range(400):
        line = make_line(step, time=float(step), kl=dice.random(), resets_total=step // 90, reward_mean=dice.random())
        line |= {"seconds_total": 1 + dice.random(), "groups_kept": dice.random(), "groups_sampled": dice.randint(0, 9)}
        line |= {"rollouts_sampled/a": 8.0, "rollouts_masked_unsupported/a": float(dice.randint(0, 3))}
        if dice.random() < 0.7:
            line["entropy_sampled/b"] = dice.random()
        if step % 25 == 0:
            line |= {"validation_accuracy": dice.random(), "validation_source_accuracy/a": dice.random()}
        lines.append(line)
        recorded.lines.append(line)
        history.add(line)
        assert history.vitals == vitals(lines)
    assert len(history.vitals) > 10
    assert recorded.num_reads == 0
