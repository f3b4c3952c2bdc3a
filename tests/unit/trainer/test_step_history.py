"""The learner's history of steps: bounded in memory, whole by its file, and folded as its definition says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from prorl_api.metrics import surviving
from prorl_api.vitals import vitals
from prorl_trainer.service.step_history import KEPT_STEPS, StepHistory
from prorl_trainer.storage.lines import LineFile

Line = dict[str, Any]


def make_line(step: int, attempt: int = 1, **values: float) -> Line:
    return {"step": step, "attempt": attempt, **values}


class CountedFile(LineFile):
    """Tells how many lines were read one by one."""

    num_read = 0

    def read_at(self, offset: int) -> Line:
        self.num_read += 1
        return super().read_at(offset)


@pytest.fixture
def file(tmp_path: Path) -> CountedFile:
    return CountedFile(tmp_path / "metrics.jsonl")


def add(history: StepHistory, file: LineFile, lines: Sequence[Line]) -> None:
    for line in lines:
        history.add(line, file.append(line))


def steps_of(lines: Sequence[Line]) -> list[int]:
    return [line["step"] for line in lines]


def test_old_steps_are_read_from_the_file_and_new_ones_are_not(file: CountedFile) -> None:
    history = StepHistory(file)
    add(history, file, [make_line(step) for step in range(3 * KEPT_STEPS)])
    assert len(history._newest) == KEPT_STEPS
    oldest = 2 * KEPT_STEPS
    assert steps_of(history.since(oldest - 1).read()) == list(range(oldest, 3 * KEPT_STEPS))
    assert file.num_read == 0
    assert steps_of(history.since(oldest - 3).read()) == list(range(oldest - 2, 3 * KEPT_STEPS))
    assert file.num_read == 2
    assert steps_of(history.since(-1).read()) == list(range(3 * KEPT_STEPS))
    assert history.since(3 * KEPT_STEPS - 1).read() == []


@pytest.mark.parametrize("begin", [-9, -1, 5, 2 * KEPT_STEPS - 3, 2 * KEPT_STEPS, 3 * KEPT_STEPS - 2])
@pytest.mark.parametrize("limit", [1, 10, 10**9])
def test_a_page_reads_no_more_than_it_holds(file: CountedFile, begin: int, limit: int) -> None:
    history = StepHistory(file)
    add(history, file, [make_line(step) for step in range(3 * KEPT_STEPS)])
    expected = list(range(max(0, begin + 1), 3 * KEPT_STEPS))[:limit]
    assert steps_of(history.since(begin, limit).read()) == expected
    assert file.num_read == sum(step < 2 * KEPT_STEPS for step in expected)


@pytest.mark.parametrize("step", [-9, -1, 0, 7])
def test_a_run_that_has_recorded_nothing_shows_nothing(file: CountedFile, step: int) -> None:
    history = StepHistory(file)
    history.begin(0)
    assert history.since(step).read() == []
    assert (history.last, history.vitals) == (None, {})


def test_a_resumed_run_shows_one_series_over_all_attempts(file: CountedFile) -> None:
    """Attempt 2 went on from step 300; what attempt 1 did after it is superseded, and not shown before that."""
    first = [make_line(step, reward_mean=step / 1000) for step in range(341)]
    for line in first:
        file.append(line)
    history = StepHistory(file)
    history.begin(300)
    assert history.since(-1).read() == first[:301]
    again = [make_line(step, attempt=2, reward_mean=0.5) for step in range(301, 311)]
    add(history, file, again)
    expected = [*first[:301], *again]
    assert history.since(-1).read() == expected == surviving([*first, *again])
    assert history.vitals == vitals(expected)
    assert history.last == again[-1]


@pytest.mark.parametrize("count", [3, KEPT_STEPS + 40])
def test_a_step_that_is_recorded_again_takes_the_place_of_what_it_supersedes(file: CountedFile, count: int) -> None:
    history = StepHistory(file)
    first = [make_line(step, reward_mean=float(step)) for step in range(count)]
    again = make_line(1, attempt=2, reward_mean=0.0)
    add(history, file, [*first, again])
    assert history.since(-1).read() == [first[0], again]
    assert history.vitals == vitals([first[0], again])
