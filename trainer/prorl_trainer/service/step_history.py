"""The surviving metrics of a run's steps: the newest in memory, all of them in `metrics.jsonl`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from prorl_api.metrics import surviving
from prorl_api.vitals_fold import Vitals, VitalsFold

Line = dict[str, Any]
KEPT_STEPS = 256
"""In memory: a body asks for what is new, and for all of it only after its start."""


class StepHistory:
    """Lines of steps, ascending. Memory and the time of a step do not grow with their number. Not thread-safe."""

    def __init__(self, recorded: Callable[[], Iterable[Line]]) -> None:
        """Begin empty; `recorded` reads `metrics.jsonl`, in which a line stands before it is added."""
        self._recorded = recorded
        self._newest: deque[Line] = deque(maxlen=KEPT_STEPS)
        self._last_left_out = -1
        self._fold = VitalsFold()

    def begin(self, last_step: int) -> None:
        """Begin with the steps up to `last_step` that earlier attempts have recorded."""
        self._restart(line for line in self._recorded() if line["step"] <= last_step)

    def add(self, line: Line) -> None:
        """Add a step's line; steps from there on that an earlier attempt has recorded are superseded."""
        if self._newest and line["step"] <= self._newest[-1]["step"]:
            self._restart([*self._recorded(), *self._newest, line])
        else:
            self._append(line)

    def since(self, step: int) -> list[Line]:
        """Return the lines of the steps after `step`."""
        lines: Iterable[Line] = self._newest
        if step < self._last_left_out:
            last = self._newest[-1]["step"]
            lines = surviving([*(line for line in self._recorded() if line["step"] <= last), *self._newest])
        return [line for line in lines if line["step"] > step]

    @property
    def last(self) -> Line | None:
        """The newest line."""
        return self._newest[-1] if self._newest else None

    @property
    def vitals(self) -> Vitals:
        """The values of `VITALS` as of the newest line."""
        return self._fold.values()

    def _restart(self, lines: Iterable[Line]) -> None:
        self._newest.clear()
        self._last_left_out, self._fold = -1, VitalsFold()
        for line in surviving(lines):
            self._append(line)

    def _append(self, line: Line) -> None:
        if len(self._newest) == KEPT_STEPS:
            self._last_left_out = self._newest[0]["step"]
        self._newest.append(line)
        self._fold.add(line)
