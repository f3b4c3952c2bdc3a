"""The run's metrics as the body knows them: what was read is kept, and only newer steps are asked for."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from prorl_api.metrics import surviving
from prorl_api.wire.learner import LearnerStatus, MetricsSeries
from prorl_control.resets.packed_lines import PackedLines
from prorl_control.resets.samples import ACCURACY

_SLACK = 32
"""Lines that may come on top of those that are kept, so that not every answer has all of them looked at."""
_MAX_OLD = 20_000
"""Validations that are kept, whatever a learner tells."""
ALL_STEPS = -1
"""`since_step` that leaves none out: the validation before training is step 0."""


class Series:
    """Lines of the surviving timeline, ascending."""

    def __init__(self, names: frozenset[str] | None = None) -> None:
        """`names`: Metrics that are kept of a line beside step and attempt, packed; None: all, as they are."""
        self._lines: list[dict[str, Any]] | PackedLines = []
        self._recent: int | None = None
        self._num_old = 0
        self._is_thinned = False
        self._names = None if names is None else names | {"step", "attempt"}
        self.read_at: float | None = None
        self._attempt = 0

    @property
    def lines(self) -> list[dict[str, Any]]:
        """All that are kept."""
        return self._lines.unpacked() if isinstance(self._lines, PackedLines) else self._lines

    def newest(self, count: int) -> list[dict[str, Any]]:
        """Return the last lines, at most `count`."""
        if isinstance(self._lines, PackedLines):
            return self._lines.unpacked(range(max(0, len(self._lines) - count), len(self._lines)))
        return self._lines[-count:]

    def keep_names(self, names: frozenset[str]) -> None:
        """Keep these metrics, too, from now on; where older lines lack them, the timeline is asked for again."""
        if self._names is None or names <= self._names:
            return
        self._names |= names
        if self._lines:
            self._forget()

    def keep_recent(self, count: int) -> None:
        """Keep the newest `count` lines from now on, and of older ones those with a validation: what is decided on.

        Where more is wanted than was kept, the whole timeline is asked for again.
        """
        if self._recent is not None and count > self._recent and self._is_thinned:
            self._forget()
        self._recent = count

    def begin_attempt(self, learner: LearnerStatus) -> None:
        """Begin an attempt, which continues from a checkpoint: what an earlier one did after it no longer counts."""
        if learner.attempt == self._attempt:
            return
        self._attempt = learner.attempt
        resumed = ALL_STEPS if learner.resumed_from_step is None else learner.resumed_from_step
        self._put([line for line in self.lines if line["step"] <= resumed])
        if self._is_thinned:  # the newest lines are gone, and of those before too few were kept
            self._forget()

    @property
    def next_question(self) -> tuple[int, int]:
        """The attempt, and the step after which lines are wanted."""
        return self._attempt, self.last_step

    @property
    def last_step(self) -> int:
        """Step of the newest line; before the first one `ALL_STEPS`."""
        if isinstance(self._lines, PackedLines):
            return int(self._lines.column("step")[-1]) if self._lines else ALL_STEPS
        return int(self._lines[-1]["step"]) if self._lines else ALL_STEPS

    def take_file(self, lines: list[dict[str, Any]]) -> None:
        """Take over the learner's file once the learner has ended: its last steps were perhaps never asked for."""
        self._put(surviving([*self.lines, *lines]))

    def take(self, asked: tuple[int, int], answer: MetricsSeries, now: float) -> None:
        """Add an answer, unless a newer attempt has begun since it was asked for."""
        if asked[0] != self._attempt:
            return
        self.read_at = now
        if answer.steps:
            self._add([self._kept(line) for line in answer.steps])
            self._thin()

    def _add(self, new: list[dict[str, Any]]) -> None:
        steps = [self.last_step, *(line["step"] for line in new)]
        attempts = {line["attempt"] for line in new}
        if isinstance(self._lines, PackedLines) and attempts == {self._attempt} and _ascend(steps):
            for line in new:
                self._lines.insert(len(self._lines), line)
        else:
            self._put(surviving([*self.lines, *new]))

    def _put(self, lines: list[dict[str, Any]]) -> None:
        self._lines = lines if self._names is None else PackedLines(lines)

    def _thin(self) -> None:
        """Drop old lines, in lots, since most lines stay where they are."""
        if self._recent is None or len(self._lines) <= self._recent + min(self._recent, _SLACK) + self._num_old:
            return
        lines = self.lines
        old, recent = lines[: -self._recent], lines[-self._recent :]
        kept = [line for line in old if line.get(ACCURACY) is not None][-_MAX_OLD:]
        self._put(kept + recent)
        self._num_old, self._is_thinned = len(kept), True

    def _forget(self) -> None:
        self._lines, self._num_old, self._is_thinned = [], 0, False

    def _kept(self, line: dict[str, Any]) -> dict[str, Any]:
        return line if self._names is None else {name: line[name] for name in line if name in self._names}


def _ascend(steps: list[int]) -> bool:
    return all(before < after for before, after in pairwise(steps))
