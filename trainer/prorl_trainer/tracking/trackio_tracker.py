"""Trackio: a local database, or a Space of a hub."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

from prorl_api.spec.tracking import TrackioTracker as TrackioSpec
from prorl_trainer.tracking.timeline import Row
from prorl_trainer.tracking.tracker import TrackedRun, TrackerError, is_set, library

_WRITE_SECONDS, _LOOK_SECONDS = 60.0, 0.05


class TrackioTracker:
    """One run of a project. Rows cannot be taken back, so it is told settled steps."""

    def __init__(self, spec: TrackioSpec) -> None:
        self._spec = spec
        self._run: Any = None
        self._name = ""

    def open(self, run: TrackedRun, told_step: int) -> str:
        """See `Tracker.open`."""
        if self._spec.space is None:
            os.environ["TRACKIO_DIR"] = str(run.folder.resolve())
        elif not is_set("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
            raise TrackerError(
                f"trackio: space {self._spec.space} needs HF_TOKEN (in a cluster a key of the Secret "
                "spec.tracking.secretName); without one leave `space` out"
            )
        trackio = library("trackio", "trackio")
        # One name a run of ours: a job of the same name that was begun anew is another run.
        name = self._name = f"{run.job}-{run.uid[-8:].lower()}"
        self._run = trackio.init(
            project=self._spec.project,
            name=name,
            space_id=self._spec.space,
            resume="allow",
            config=dict(run.settings),
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        if self._spec.space is not None:
            return f"space {self._spec.space}, run {name}"
        return f"TRACKIO_DIR={run.folder.resolve()} trackio show --project {self._spec.project}"

    def last_step(self) -> int | None:
        """See `Tracker.last_step`. Of a Space nobody can tell."""
        if self._spec.space is not None:
            return None
        storage = library("trackio.sqlite_storage", "trackio").SQLiteStorage
        step = storage.get_max_step_for_run(self._spec.project, self._name)
        return -1 if step is None else int(step)

    def write(self, rows: Sequence[Row]) -> None:
        """See `Tracker.write`."""
        for row in rows:
            self._run.log({**row.values, **row.texts}, step=row.step)
        # It writes in a thread of its own, and a kill would lose what is still in its hands.
        limit = time.monotonic() + _WRITE_SECONDS
        while (held := self.last_step()) is not None and held < max(row.step for row in rows):
            if time.monotonic() > limit:
                raise TrackerError(f"trackio: step {rows[-1].step} was not written within {_WRITE_SECONDS:g} s")
            time.sleep(_LOOK_SECONDS)

    def close(self, *, is_done: bool) -> None:
        """See `Tracker.close`."""
        if self._run is not None:
            self._run.finish()
