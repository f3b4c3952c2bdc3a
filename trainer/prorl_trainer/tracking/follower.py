"""One tracker's process: look at the run folder, tell what is new, note how far it came, until the learner is gone."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections.abc import Callable
from typing import Any

from prorl_api.errors import CheckpointError
from prorl_api.metrics import surviving
from prorl_api.run_folder import RunFolder
from prorl_api.spec.job import ProRLJob
from prorl_api.spec.tracking import Tracker as TrackerSpec
from prorl_trainer.storage.checkpoints import CheckpointStore, LearnerState
from prorl_trainer.storage.fence import Fence
from prorl_trainer.storage.lines import LineFile
from prorl_trainer.tracking.record import TrackerRecord, read_record, write_record
from prorl_trainer.tracking.timeline import Mark, after_interruption, due
from prorl_trainer.tracking.tracker import LiveTracker, MissingPackageError, TrackedRun, Tracker

LOOK_SECONDS = 2.0
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 5.0, 600.0
"""Between tries of a tracker that fails."""

_logger = logging.getLogger(__name__)


class Follower:
    """Tells one tracker what happens in one run folder."""

    def __init__(self, run: RunFolder, job: ProRLJob, spec: TrackerSpec, uid: str, make: Callable[[], Tracker]) -> None:
        self._run = run
        self._job = job
        self._spec = spec
        self._uid = uid
        self._make = make
        self._tracker = make()
        self._record = read_record(run, spec.name) or TrackerRecord(kind=spec.kind)
        self._is_open = False

    def follow(self, ended: threading.Event, look_seconds: float = LOOK_SECONDS) -> None:
        """Tell until `ended`, and once more then; what fails is tried again, after longer and longer waits."""
        wait = _FIRST_WAIT_SECONDS
        while True:
            is_last = ended.is_set()
            try:
                self.tell()
                wait = _FIRST_WAIT_SECONDS
            except MissingPackageError as error:
                self._note(str(error))
                return
            except Exception as error:
                _logger.warning("%s: %s", self._spec.name, error, exc_info=True)
                self._begin_anew()
                self._note(f"{type(error).__name__}: {error}" if not str(error) else str(error))
                if is_last:
                    return
                ended.wait(wait)
                wait = min(2 * wait, _LONGEST_WAIT_SECONDS)
                continue
            if is_last:
                self._close()
                return
            ended.wait(look_seconds)

    def _begin_anew(self) -> None:
        """Forget a tracker that has failed: what state it is in nobody knows."""
        with contextlib.suppress(Exception):  # whatever it has to say about its end, it has failed before
            self._tracker.close(is_done=False)
        self._tracker, self._is_open = self._make(), False

    def tell(self) -> None:
        """Tell everything that is new."""
        if not self._is_open:
            self._open()
        live = self._tracker if isinstance(self._tracker, LiveTracker) else None
        wanted = due(self._lines(), self._state(), self._record.mark, is_live=live is not None)
        if live is not None and wanted.rewind_to is not None:
            live.rewind(wanted.rewind_to)
        if not wanted.rows and wanted.rewind_to is None:
            self._note("")
            return
        # One that can take steps back is simply told again after a kill. Of another one it must be known what was
        # under way.
        if live is None:
            self._note("", pending=wanted.mark)
        self._tracker.write(wanted.rows)
        self._note("", mark=wanted.mark)

    def _open(self) -> None:
        folder = self._run.tracking / self._spec.name
        folder.mkdir(parents=True, exist_ok=True)
        mark = self._record.mark
        tracked = TrackedRun(
            uid=self._uid, job=self._job.metadata.name, folder=folder, settings=flat_settings(self._job)
        )
        where = self._tracker.open(tracked, mark.step)
        self._is_open = True
        mark = after_interruption(mark, self._record.pending, self._tracker.last_step())
        self._record = self._record.model_copy(update={"where": where, "mark": mark, "pending": None})

    def _close(self) -> None:
        state = self._state()
        self._tracker.close(is_done=state is not None and state.step >= self._job.spec.schedule.total_steps)
        self._note("")

    def _note(self, problem: str, *, mark: Mark | None = None, pending: Mark | None = None) -> None:
        update: dict[str, Any] = {"problem": problem, "pending": pending} | ({} if mark is None else {"mark": mark})
        self._record = self._record.model_copy(update=update)
        write_record(self._run, self._spec.name, self._record)

    def _lines(self) -> list[dict[str, Any]]:
        return surviving(LineFile(self._run.metrics).read())

    def _state(self) -> LearnerState | None:
        store = CheckpointStore(Fence(self._run, self._run.highest_attempt()))
        try:
            current = store.current()
            return store.read_state(current) if current is not None else None
        except CheckpointError:  # removed between two looks; the next look finds its successor
            return None


def flat_settings(job: ProRLJob) -> dict[str, str | int | float | bool]:
    """Return the spec under dotted paths; lists and maps of lists as JSON."""
    flat: dict[str, str | int | float | bool] = {}

    def add(path: str, value: Any) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                add(f"{path}.{name}" if path else name, inner)
        elif isinstance(value, list):
            flat[path] = json.dumps(value, ensure_ascii=False)
        elif value is not None:
            flat[path] = value

    add("", job.spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"local", "tracking"}))
    return flat


def watch_for_end(read: Callable[[], bytes]) -> threading.Event:
    """Return what is set once the learner's end of a pipe is closed, however it ended."""
    ended = threading.Event()

    def watch() -> None:
        while read():
            continue
        ended.set()

    threading.Thread(target=watch, name="watch for the learner's end", daemon=True).start()
    return ended
