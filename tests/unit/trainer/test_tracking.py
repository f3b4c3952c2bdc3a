"""What trackers are told: each step of the surviving timeline once, whatever is killed; and what failures do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from prorl_api.metrics import surviving
from prorl_trainer.storage.checkpoints import LineageEntry
from prorl_trainer.tracking.follower import Follower, flat_settings
from prorl_trainer.tracking.record import read_record
from prorl_trainer.tracking.timeline import Due, Mark, Row, after_interruption, due
from prorl_trainer.tracking.tracker import MissingPackageError, TrackedRun, TrackerError
from tests.unit.trainer.tracked_folder import TrackedFolder, kl, reset
from tests.unit.trainer.trainer_builders import make_state

BOARD = {"name": "board", "tensorboard": {}}


def lines(*told: tuple[int, int]) -> list[dict[str, Any]]:
    return surviving({"attempt": attempt, "step": step, "time": 1.0, "kl": kl(attempt, step)} for attempt, step in told)


def steps(found: Due) -> list[int]:
    return [row.step for row in found.rows if "reset" not in row.values]


def test_settled_steps_alone_are_told_where_nothing_can_be_taken_back() -> None:
    timeline = lines(*((1, step) for step in range(6)))
    assert steps(due(timeline, None, Mark(), is_live=False)) == []
    found = due(timeline, make_state(step=3), Mark(), is_live=False)
    assert steps(found) == [0, 1, 2, 3]
    assert (found.mark.attempt, found.mark.step, found.rewind_to) == (1, 3, None)


def test_a_step_whose_line_is_still_to_come_is_not_settled() -> None:
    """The checkpoint holds step 3 without its record: the next attempt writes the line of step 3 anew."""
    timeline = lines(*((1, step) for step in range(4)))
    assert steps(due(timeline, make_state(step=3, unrecorded={}), Mark(), is_live=False)) == [0, 1, 2]


def test_nothing_is_told_twice() -> None:
    timeline = lines(*((1, step) for step in range(4)))
    state = make_state(step=3, lineage=(*make_state().lineage, reset(2)))
    first = due(timeline, state, Mark(), is_live=False)
    again = due(timeline, state, first.mark, is_live=False)
    assert (again.rows, again.rewind_to, again.mark) == ((), None, first.mark)


def test_a_live_tracker_takes_back_what_a_later_attempt_does_again() -> None:
    timeline = lines(*((1, step) for step in range(6)), (2, 4), (2, 5), (2, 6))
    mark = Mark(attempt=1, step=5, resets={"01A": 2, "01B": 4})
    state = make_state(step=6, lineage=(*make_state().lineage, reset(2, "01A"), reset(5, "01C")))
    found = due(timeline, state, mark, is_live=True)
    assert found.rewind_to == 4
    assert steps(found) == [4, 5, 6]
    assert [row.values["kl"] for row in found.rows if "kl" in row.values] == [kl(2, 4), kl(2, 5), kl(2, 6)]
    assert found.mark == Mark(attempt=2, step=6, resets={"01A": 2, "01C": 5})


def test_resets_are_markers_with_their_reasons_at_their_steps() -> None:
    state = make_state(step=4, lineage=(*make_state().lineage, reset(2, trigger="KL averaged 0.55")))
    rows = due(lines(*((1, step) for step in range(5))), state, Mark(), is_live=False).rows
    (marker,) = (row for row in rows if "reset" in row.values)
    assert (marker.step, dict(marker.values), dict(marker.texts)) == (
        2,
        {"reset": 1.0},
        {"reset_reason": "KL averaged 0.55"},
    )


def test_resets_of_the_run_that_is_continued_are_not_this_runs() -> None:
    continues = LineageEntry(digest="b" * 64, since_step=0, trigger="continues ../before")
    state = make_state(step=4, lineage=(*make_state().lineage, reset(900, "01OLD"), continues, reset(3, "01NEW")))
    assert due([], state, Mark(), is_live=False).mark.resets == {"01NEW": 3}


@pytest.mark.parametrize(
    ("pending", "held", "wanted"),
    [
        (None, None, Mark(attempt=1, step=2, resets={"01A": 2})),
        (
            Mark(attempt=2, step=5, resets={"01A": 2, "01B": 4}),
            None,
            Mark(attempt=2, step=5, resets={"01A": 2, "01B": 4}),
        ),
        (Mark(attempt=2, step=5, resets={"01A": 2, "01B": 4}), 4, Mark(attempt=2, step=4, resets={"01A": 2, "01B": 4})),
        (Mark(attempt=2, step=5, resets={"01A": 2, "01B": 4}), 3, Mark(attempt=2, step=3, resets={"01A": 2})),
        (Mark(attempt=2, step=5, resets={"01A": 2}), -1, Mark(attempt=2, step=-1)),
    ],
)
def test_a_tracker_that_was_killed_goes_on_where_it_says_it_is(
    pending: Mark | None, held: int | None, wanted: Mark
) -> None:
    assert after_interruption(Mark(attempt=1, step=2, resets={"01A": 2}), pending, held) == wanted


def test_a_marker_comes_before_its_step() -> None:
    state = make_state(step=4, lineage=(*make_state().lineage, reset(2)))
    rows = due(lines(*((1, step) for step in range(5))), state, Mark(), is_live=False).rows
    assert [(row.step, "reset" in row.values) for row in rows][2:4] == [(2, True), (2, False)]


class FakeTracker:
    """Holds what it was told; fails as often as it is asked to."""

    def __init__(self, *, can_tell: bool = False) -> None:
        self.rows: list[Row] = []
        self.failures: list[Exception] = []
        self.write_failures: list[Exception] = []
        self.closed: list[bool] = []
        self._can_tell = can_tell

    def open(self, run: TrackedRun, told_step: int) -> str:
        if self.failures:
            raise self.failures.pop()
        return f"here: {run.job}"

    def last_step(self) -> int | None:
        return max((row.step for row in self.rows), default=-1) if self._can_tell else None

    def write(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self.rows.append(row)
            if self.write_failures:
                raise self.write_failures.pop()

    def close(self, *, is_done: bool) -> None:
        self.closed.append(is_done)

    @property
    def told(self) -> list[tuple[int, float]]:
        return [(row.step, row.values["kl"]) for row in self.rows if "kl" in row.values]


class LiveFakeTracker(FakeTracker):
    """Takes steps back as well."""

    def rewind(self, step: int) -> None:
        self.rows = [row for row in self.rows if row.step < step]


Follow = Callable[[FakeTracker], Follower]


@pytest.fixture
def folder(tmp_path: Path) -> TrackedFolder:
    return TrackedFolder(tmp_path / "run", BOARD)


@pytest.fixture
def follow(folder: TrackedFolder) -> Follow:
    def make(tracker: FakeTracker) -> Follower:
        return Follower(folder.run, folder.job, folder.trackers[0], "01RUN", lambda: tracker)

    return make


def ended() -> threading.Event:
    event = threading.Event()
    event.set()
    return event


@pytest.mark.parametrize("kind", [LiveFakeTracker, FakeTracker])
def test_after_kills_and_resumes_the_surviving_timeline_was_told_once(
    folder: TrackedFolder, follow: Follow, kind: type[FakeTracker]
) -> None:
    tracker = kind()
    folder.record(1, 0, 1, 2, 3, 4)
    folder.checkpoint(1, 2, reset(2))
    follow(tracker).follow(ended())
    assert tracker.told == [(step, kl(1, step)) for step in range(5 if kind is LiveFakeTracker else 3)]
    folder.record(2, 3, 4, 5)
    follow(tracker).follow(ended())
    folder.checkpoint(2, 5, reset(2), reset(5, "01S"))
    folder.record(2, 6, 7, 8)
    folder.checkpoint(2, 8, reset(2), reset(5, "01S"))
    follow(tracker).follow(ended())
    assert tracker.told == [(step, kl(1 if step < 3 else 2, step)) for step in range(9)]
    assert [row.step for row in tracker.rows if "reset" in row.values] == [2, 5]
    assert tracker.closed == [False, False, True], "done at the last step alone"


def test_a_tracker_that_fails_says_so_and_is_told_everything_later(folder: TrackedFolder, follow: Follow) -> None:
    tracker = FakeTracker()
    tracker.failures = [TrackerError("no API key; set WANDB_API_KEY")]
    folder.record(1, 0, 1)
    folder.checkpoint(1, 1)
    follow(tracker).follow(ended())
    record = read_record(folder.run, "board")
    assert record is not None
    assert record.problem == "no API key; set WANDB_API_KEY"
    assert tracker.told == []
    follow(tracker).follow(ended())
    assert [step for step, _ in tracker.told] == [0, 1]
    record = read_record(folder.run, "board")
    assert record is not None
    assert (record.problem, record.where) == ("", "here: demo")


def test_a_failure_in_the_middle_loses_nothing_where_the_tracker_knows_what_it_holds(
    folder: TrackedFolder, follow: Follow
) -> None:
    tracker = FakeTracker(can_tell=True)
    tracker.write_failures = [ConnectionError("the network is away")]
    folder.record(1, 0, 1, 2)
    folder.checkpoint(1, 2)
    following = follow(tracker)
    with pytest.raises(ConnectionError):
        following.tell()
    following._begin_anew()
    following.tell()
    assert [step for step, _ in tracker.told] == [0, 1, 2]


def test_a_missing_library_ends_the_process_with_the_remedy(folder: TrackedFolder, follow: Follow) -> None:
    tracker = FakeTracker()
    tracker.failures = [MissingPackageError("no wandb; pip install 'prorl[wandb]'")]
    follow(tracker).follow(threading.Event())  # it returns, though nothing has ended
    record = read_record(folder.run, "board")
    assert record is not None
    assert "pip install" in record.problem


def test_a_damaged_record_or_checkpoint_does_not_end_the_process(folder: TrackedFolder, follow: Follow) -> None:
    folder.record(1, 0, 1)
    folder.checkpoint(1, 1)
    folder.run.tracking.mkdir()
    (folder.run.tracking / "board.json").write_text('{"kind": "ten')
    with folder.run.metrics.open("a") as file:
        file.write('{"step": 2, "att')
    tracker = FakeTracker()
    follow(tracker).follow(ended())
    assert [step for step, _ in tracker.told] == [0, 1]
    folder.run.current.write_text("torn")
    follow(tracker).follow(ended())
    assert [step for step, _ in tracker.told] == [0, 1]


def test_settings_are_flat_and_hold_no_place_of_this_machine(folder: TrackedFolder) -> None:
    settings = flat_settings(folder.job)
    assert settings["learner.optimizer.learningRate"] == 2e-6
    assert settings["data.sources"] == flat_settings(folder.job)["data.sources"]
    assert not any(name.startswith(("local", "tracking")) for name in settings)
