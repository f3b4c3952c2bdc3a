"""The run's metrics as the body knows them: what was read is kept, and only newer steps are asked for."""

from __future__ import annotations

from typing import Any

from prorl_api.metrics import surviving
from prorl_api.wire.learner import LearnerStatus, MetricsSeries
from prorl_control.resets.samples import ACCURACY

_MAX_OLD = 20_000
"""Validations that are kept, whatever a learner tells."""
ALL_STEPS = -1
"""`since_step` that leaves none out: the validation before training is step 0."""


class Series:
    """Lines of the surviving timeline, ascending."""

    def __init__(self, names: frozenset[str] | None = None) -> None:
        """`names`: Metrics that are kept of a line beside step and attempt; None: all."""
        self.lines: list[dict[str, Any]] = []
        self._recent: int | None = None
        self._num_old = 0
        self._is_thinned = False
        self._names = None if names is None else names | {"step", "attempt"}
        self.read_at: float | None = None
        self._attempt = 0

    def keep_names(self, names: frozenset[str]) -> None:
        """Keep these metrics, too, from now on; where older lines lack them, the timeline is asked for again."""
        if self._names is None or names <= self._names:
            return
        self._names |= names
        if self.lines:
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
        self.lines = [line for line in self.lines if line["step"] <= resumed]
        if self._is_thinned:  # the newest lines are gone, and of those before too few were kept
            self._forget()

    @property
    def next_question(self) -> tuple[int, int]:
        """The attempt, and the step after which lines are wanted."""
        return self._attempt, self.last_step

    @property
    def last_step(self) -> int:
        """Step of the newest line; before the first one `ALL_STEPS`."""
        return int(self.lines[-1]["step"]) if self.lines else ALL_STEPS

    def take_file(self, lines: list[dict[str, Any]]) -> None:
        """Take over the learner's file once the learner has ended: its last steps were perhaps never asked for."""
        self.lines = surviving([*self.lines, *lines])

    def take(self, asked: tuple[int, int], answer: MetricsSeries, now: float) -> None:
        """Add an answer, unless a newer attempt has begun since it was asked for."""
        if asked[0] != self._attempt:
            return
        self.read_at = now
        if answer.steps:
            self.lines = surviving([*self.lines, *map(self._kept, answer.steps)])
            self._thin()

    def _thin(self) -> None:
        """Drop old lines, in lots, since most lines stay where they are."""
        if self._recent is None or len(self.lines) <= 2 * self._recent + self._num_old:
            return
        old, recent = self.lines[: -self._recent], self.lines[-self._recent :]
        kept = [line for line in old if line.get(ACCURACY) is not None][-_MAX_OLD:]
        self.lines, self._num_old, self._is_thinned = kept + recent, len(kept), True

    def _forget(self) -> None:
        self.lines, self._num_old, self._is_thinned = [], 0, False

    def _kept(self, line: dict[str, Any]) -> dict[str, Any]:
        return line if self._names is None else {name: line[name] for name in line if name in self._names}
