"""The surviving metrics of a run's steps: the newest in memory, of all others where they stand in `metrics.jsonl`."""

from __future__ import annotations

import json
from array import array
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prorl_api.metrics import surviving
from prorl_api.vitals_fold import Vitals, VitalsFold
from prorl_trainer.storage.lines import LineFile

Line = dict[str, Any]
KEPT_STEPS = 256
"""In memory: a body asks for what is new, and for all of it only after its start."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some steps' lines, of which the first ones are still to be read."""

    file: LineFile
    offsets: Sequence[int]
    newest: Sequence[Line]

    def read(self) -> list[Line]:
        """Return the lines, ascending."""
        return [*map(self.file.read_at, self.offsets), *self.newest]


class StepHistory:
    """Lines of steps, ascending. Of older ones it holds two numbers a step. Not thread-safe."""

    def __init__(self, file: LineFile) -> None:
        """Begin empty; `file` is `metrics.jsonl`."""
        self._file = file
        self._steps, self._offsets = array("q"), array("q")
        self._newest: deque[Line] = deque(maxlen=KEPT_STEPS)
        self._fold = VitalsFold()

    def begin(self, last_step: int) -> None:
        """Begin with the steps up to `last_step` that earlier attempts have recorded."""
        found = []
        for offset, text in self._file.scan():
            line = json.loads(text)
            if line["step"] <= last_step:
                found.append({"step": line["step"], "attempt": line["attempt"], "offset": offset})
        self._restart([entry["offset"] for entry in surviving(found)])

    def add(self, line: Line, offset: int) -> None:
        """Add a step's line, which stands at `offset`; it supersedes what was recorded of that step and later ones."""
        if self._steps and line["step"] <= self._steps[-1]:
            self._restart(self._offsets[: bisect_left(self._steps, line["step"])])
        self._append(line, offset)

    def since(self, step: int, limit: int | None = None) -> Stretch:
        """Return the lines of the first `limit` steps after `step`."""
        begin, end = bisect_right(self._steps, step), len(self._steps)
        end = end if limit is None else min(end, begin + limit)
        in_memory = len(self._steps) - len(self._newest)
        newest = list(self._newest)[max(0, begin - in_memory) : max(0, end - in_memory)]
        return Stretch(self._file, self._offsets[begin : min(end, in_memory)], newest)

    @property
    def last(self) -> Line | None:
        """The newest line."""
        return self._newest[-1] if self._newest else None

    @property
    def vitals(self) -> Vitals:
        """The values of `VITALS` as of the newest line."""
        return self._fold.values()

    def _restart(self, offsets: Sequence[int]) -> None:
        self._steps, self._offsets = array("q"), array("q")
        self._newest.clear()
        self._fold = VitalsFold()
        for offset in offsets:
            self._append(self._file.read_at(offset), offset)

    def _append(self, line: Line, offset: int) -> None:
        self._steps.append(line["step"])
        self._offsets.append(offset)
        self._newest.append(line)
        self._fold.add(line)
