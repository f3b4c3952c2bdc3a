"""What the learner is doing, shared between the loop that does it and the API and watchdog that tell it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TypedDict, Unpack

from prorl_api.wire.base import WeightsId
from prorl_api.wire.isolation import IsolationReport
from prorl_api.wire.learner import LearnerPhase, LearnerStatus, TrackerState
from prorl_trainer.service.step_history import StepHistory
from prorl_trainer.storage.lines import LineFile

FINAL_REPORT = frozenset({"metrics", "resets"})
"""What a body must have asked a learner that is done to know everything."""


class StatusFields(TypedDict, total=False):
    """What the loop tells of itself, by the names in `LearnerStatus`; phase and heartbeat are `SharedStatus`' own."""

    step: int
    total_steps: int
    stage: str
    weights_id: WeightsId
    ready_rollout_servers: int
    last_checkpoint_step: int | None
    last_checkpoint_at: float
    is_gpu_unused: bool
    resumed_from_step: int | None
    best_accuracy: float | None
    best_step: int | None
    reference_digest: str
    masked_rollouts: int
    masked_reason: str
    isolation: IsolationReport
    error: str
    trackers: tuple[TrackerState, ...]
    exported_best_step: int
    export_problem: str


class StopRequested(Exception):
    """Raised inside long waits once a stop was asked for."""


class SharedStatus:
    """Thread-safe status, metrics and stop flag."""

    def __init__(self, attempt: int, total_steps: int, recorded: LineFile) -> None:
        """Begin in phase `starting`; `recorded` is `metrics.jsonl`."""
        now = time.time()
        self._lock = threading.Lock()
        self._status = LearnerStatus(
            attempt=attempt,
            phase=LearnerPhase.STARTING,
            phase_since=now,
            started=now,
            heartbeat=now,
            step=0,
            total_steps=total_steps,
        )
        self._history = StepHistory(recorded)
        self._stop = threading.Event()
        self.stop_with_checkpoint = True
        self._on_stop: Callable[[], object] | None = None
        self._told: set[str] = set()
        self._told_all = threading.Event()

    @property
    def status(self) -> LearnerStatus:
        """A consistent copy."""
        with self._lock:
            return self._status

    def update(self, **fields: Unpack[StatusFields]) -> None:
        """Change fields of the status; also a sign of life."""
        self._change(fields)

    def enter(self, phase: LearnerPhase, detail: str = "") -> None:
        """Begin a phase."""
        changed = {} if self.status.phase is phase else {"phase_since": time.time()}
        self._change({"phase": phase, "phase_detail": detail, **changed})

    def beat(self, detail: str | None = None) -> None:
        """Tell that there is progress within the phase."""
        self._change({} if detail is None else {"phase_detail": detail})

    def publish_metrics(self, line: dict[str, Any], offset: int) -> None:
        """Add the snapshot of one step, which is recorded at `offset` of `metrics.jsonl`."""
        with self._lock:
            self._history.add(line, offset)
            self._status = self._status.model_copy(update={"vitals": self._history.vitals})

    def show_earlier_metrics(self, last_step: int) -> None:
        """Add what earlier attempts have recorded of the steps up to `last_step`, so that there is one series."""
        with self._lock:
            self._history.begin(last_step)
            self._status = self._status.model_copy(update={"vitals": self._history.vitals})

    def metrics_since(self, step: int, limit: int | None = None) -> list[dict[str, Any]]:
        """Snapshots of the first `limit` steps after `step`. May read a file: not for the event loop."""
        with self._lock:
            found = self._history.since(step, limit)
        return found.read()

    def last_metrics(self) -> dict[str, Any] | None:
        """Return the newest snapshot."""
        with self._lock:
            return self._history.last

    def on_stop(self, action: Callable[[], object]) -> None:
        """Have `action` called once a stop is asked for; at once if it was. Replaces the action before."""
        self._on_stop = action
        if self._stop.is_set():
            action()

    def request_stop(self, *, checkpoint: bool) -> None:
        """Ask the loop to end at the next point where nothing is lost."""
        self.stop_with_checkpoint = checkpoint
        self._stop.set()
        if self._on_stop is not None:
            self._on_stop()

    def has_told(self, phase: LearnerPhase, *what: str) -> None:
        """Note that an answer to questions of `FINAL_REPORT` was sent.

        It counts if the loop was done before the answer was found.
        """
        if phase is LearnerPhase.DONE:
            self._told.update(what)
            if self._told >= FINAL_REPORT:
                self._told_all.set()

    def wait_until_told(self, seconds: float) -> bool:
        """Wait for the body's last questions; whether they came in time."""
        return self._told_all.wait(seconds)

    def _change(self, fields: Mapping[str, object]) -> None:
        with self._lock:
            self._status = self._status.model_copy(update={"heartbeat": time.time(), **fields})

    @property
    def is_stopping(self) -> bool:
        """Whether a stop was asked for."""
        return self._stop.is_set()
