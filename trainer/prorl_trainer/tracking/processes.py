"""The learner's side: it starts the trackers' processes, looks at what they note, and never waits for them but briefly.

A tracker may hang, crash, fill its memory or be missing altogether: the learner goes on, and says so in its status.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from prorl_api.errors import CheckpointError
from prorl_api.names import ENV_TRACKER_PYTHON
from prorl_api.process.tokens import without_tokens
from prorl_api.run_folder import RunFolder
from prorl_api.spec.tracking import Tracker as TrackerSpec
from prorl_api.wire.learner import TrackerState
from prorl_trainer.tracking.record import TrackerRecord, read_record

CLOSE_SECONDS = 30.0
"""All trackers together, for their last steps once the learner is done."""
_SILENT_SECONDS = 120.0
"""Without a sign of life for so long a tracker hangs, or is still starting on a very slow machine."""
_START_AGAIN_SECONDS = 60.0

_logger = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class _Started:
    """One tracker's process."""

    spec: TrackerSpec
    process: subprocess.Popen[bytes]
    since: float
    told: str = field(default="")
    """Problem that was logged last."""


class TrackerProcesses:
    """All trackers of one attempt."""

    def __init__(
        self, run: RunFolder, manifest: Path, uid: str, specs: Sequence[TrackerSpec], environment: Mapping[str, str]
    ) -> None:
        """Start them; one that cannot be started is told of like one that fails."""
        self._run, self._manifest, self._uid = run, manifest, uid
        self._environment = without_tokens(environment)
        self._failed: dict[str, str] = {}
        self._specs = tuple(specs)
        self._started: dict[str, _Started] = {}
        for spec in self._specs:
            self._start(spec)

    def states(self) -> tuple[TrackerState, ...]:
        """Return how each of them does; what has changed goes into the log."""
        found = tuple(self._state(spec) for spec in self._specs)
        for spec, state in zip(self._specs, found, strict=True):
            self._log_change(spec.name, state)
            self._start_again(spec)
        return found

    def close(self, seconds: float = CLOSE_SECONDS) -> tuple[TrackerState, ...]:
        """Let them tell the last steps, within `seconds` for all; whoever needs longer is killed. How they did."""
        limit = time.monotonic() + seconds
        for started in self._started.values():
            assert started.process.stdin is not None
            with contextlib.suppress(OSError):  # it is gone
                started.process.stdin.close()
        for name, started in self._started.items():
            try:
                started.process.wait(max(0.0, limit - time.monotonic()))
            except subprocess.TimeoutExpired:
                started.process.kill()
                started.process.wait()
                self._failed[name] = f"it did not take the last steps within {seconds:g} s, and was ended"
        states = tuple(self._state(spec) for spec in self._specs)
        for spec, state in zip(self._specs, states, strict=True):
            self._log_change(spec.name, state)
        return states

    def _start(self, spec: TrackerSpec) -> None:
        python = self._environment.get(ENV_TRACKER_PYTHON) or sys.executable
        arguments = (str(self._run.path), str(self._manifest), spec.name, self._uid)
        log = self._run.tracking / f"{spec.name}.log"
        try:
            self._run.tracking.mkdir(parents=True, exist_ok=True)
            with log.open("ab") as output:
                process = subprocess.Popen(
                    [python, "-m", "prorl_trainer.tracking", *arguments],
                    env=dict(self._environment),
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
        except (OSError, CheckpointError) as error:
            self._failed[spec.name] = f"{python} cannot be started: {error}; correct {ENV_TRACKER_PYTHON}, or unset it"
            return
        self._failed.pop(spec.name, None)
        told = self._started[spec.name].told if spec.name in self._started else ""
        self._started[spec.name] = _Started(spec=spec, process=process, since=time.time(), told=told)

    def _start_again(self, spec: TrackerSpec) -> None:
        """Replace a process that has crashed; one that ended by itself has said why."""
        started = self._started.get(spec.name)
        if started is None or started.process.poll() in (None, 0) or time.time() - started.since < _START_AGAIN_SECONDS:
            return
        self._start(spec)

    def _state(self, spec: TrackerSpec) -> TrackerState:
        record = read_record(self._run, spec.name) or TrackerRecord(kind=spec.kind)
        problem = self._failed.get(spec.name) or self._problem(spec.name, record)
        step = record.mark.step if record.mark.step >= 0 else None
        return TrackerState(name=spec.name, kind=spec.kind, step=step, where=record.where, problem=problem[:1024])

    def _problem(self, name: str, record: TrackerRecord) -> str:
        started = self._started[name]
        code = started.process.poll()
        log = self._run.tracking / f"{name}.log"
        if code not in (None, 0):
            return f"its process ended with {code}; it is started again in a while; its log: {log}"
        is_from_now = record.updated >= started.since
        if code is None and time.time() - max(record.updated, started.since) > _SILENT_SECONDS:
            return f"no sign of life for {_SILENT_SECONDS:g} s: it hangs; its log: {log}"
        return record.problem if is_from_now else ""

    def _log_change(self, name: str, state: TrackerState) -> None:
        started = self._started.get(name)
        before = started.told if started is not None else ""
        if state.problem == before:
            return
        if state.problem:
            _logger.warning("tracker %s: %s; training goes on", name, state.problem)
        else:
            _logger.info("tracker %s is told again: %s", name, state.where)
        if started is not None:
            started.told = state.problem


def environment_of_trackers() -> dict[str, str]:
    """Return the learner's own environment; threads of numerical libraries would take cores from training."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
