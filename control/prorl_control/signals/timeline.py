"""The lines of one job, as scrapes brought them: each step once, and of the surviving timeline alone. Pure."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prorl_control.signals.questions import ATTEMPT, STEP
from prorl_control.signals.reading import SignalFault, SignalReason
from prorl_control.signals.snapshots import Snapshot, line_of

_KEPT_FOR_EVER = "validation_"
"""Metrics of validations: what is decided on looks back to the last reset, however long ago that was."""
_MAX_OLD = 20_000
_SLACK = 32
"""Lines that may come on top of those that are kept, so that not every scrape has all of them looked at."""

_Place = tuple[int, int]
"""Attempt and step."""


class Timeline:
    """Takes snapshots in any order, any number of times; gives lines."""

    def __init__(self) -> None:
        self._lines: dict[_Place, dict[str, Any]] = {}
        self._seen_at: dict[_Place, float] = {}
        """Time of the first scrape that saw a step."""
        self._resumed: dict[int, int] = {}
        self._surviving: list[dict[str, Any]] | None = None
        self._num_kept = 0
        """Lines that the last thinning left."""
        self.is_thinned = False
        """Whether lines were dropped."""
        self.newest_at: float | None = None
        """Time of the newest scrape."""
        self.fault: SignalFault | None = None
        """Of what was taken last."""

    def add(self, snapshots: Iterable[Snapshot]) -> None:
        """Take what scrapes saw; what was seen of a step first stays."""
        self.fault = None
        last: dict[int, int] = {}
        for snapshot in sorted(snapshots, key=lambda one: one.at):
            if snapshot.step < last.get(snapshot.attempt, -1):
                message = f"attempt {snapshot.attempt} fell back from step {last[snapshot.attempt]} to {snapshot.step}"
                self.fault = SignalFault(reason=SignalReason.STEPS_FALL, message=message)
            last[snapshot.attempt] = snapshot.step
            place = snapshot.attempt, snapshot.step
            known = self._lines.get(place)
            if known is None:
                self._lines[place] = line_of(snapshot)
                self._seen_at[place] = snapshot.at
                self._surviving = None
            else:
                for name, value in snapshot.values.items():
                    known.setdefault(name, value)
                self._seen_at[place] = min(self._seen_at[place], snapshot.at)
            if snapshot.resumed_from is not None:
                self._resumed[snapshot.attempt] = snapshot.resumed_from
            if self.newest_at is None or snapshot.at > self.newest_at:
                self.newest_at = snapshot.at

    def add_signal(self, name: str, points: Sequence[tuple[float, float]]) -> None:
        """Take the values of a job's own signal: each belongs to the step that the newest scrape before it saw.

        Args:
            name: As triggers know it.
            points: Unix time and value, ascending; finite.
        """
        places = sorted(self._seen_at, key=lambda place: self._seen_at[place])
        times = [self._seen_at[place] for place in places]
        for at, value in points:
            position = bisect.bisect_right(times, at) - 1
            if position >= 0:
                self._lines[places[position]].setdefault(name, value)

    @property
    def newest_attempt(self) -> int:
        """The highest attempt that was seen; 0: none."""
        return max((attempt for attempt, _ in self._lines), default=0)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Of the surviving timeline, ascending."""
        if self._surviving is None:
            self._surviving = surviving_lines(self._lines, self._resumed)
        return self._surviving

    def seen_at(self, line: Mapping[str, Any]) -> float | None:
        """Return when a line's step was seen first."""
        return self._seen_at.get((line[ATTEMPT], line[STEP]))

    def thin(self, recent: int) -> None:
        """Keep the newest `recent` lines, and of older ones those with a validation."""
        if len(self._lines) <= max(recent, self._num_kept) + _SLACK:
            return
        lines = self.lines
        old = [line for line in lines[:-recent] if any(name.startswith(_KEPT_FOR_EVER) for name in line)]
        kept = [*old[-_MAX_OLD:], *lines[-recent:]]
        places = {(line[ATTEMPT], line[STEP]) for line in kept}
        if len(places) < len(self._lines):
            self.is_thinned = True
            self._lines = {place: line for place, line in self._lines.items() if place in places}
            self._seen_at = {place: at for place, at in self._seen_at.items() if place in places}
            self._surviving = None
        self._num_kept = len(self._lines)


def surviving_lines(lines: Mapping[_Place, dict[str, Any]], resumed: Mapping[int, int]) -> list[dict[str, Any]]:
    """Return the timeline that survived: an attempt that goes on from a step ends what earlier ones did after it.

    Where an attempt does not say what it went on from, the first of its steps that was seen counts.
    """
    kept: list[dict[str, Any]] = []
    attempt = -1
    for place in sorted(lines):
        line = lines[place]
        if line[ATTEMPT] != attempt:
            attempt = line[ATTEMPT]
            goes_on_from = resumed.get(attempt, line[STEP] - 1)
            while kept and kept[-1][STEP] > min(goes_on_from, line[STEP] - 1):
                kept.pop()
        kept.append(line)
    return kept


def unseen_steps(lines: Sequence[Mapping[str, Any]]) -> int:
    """Return how many steps between the first and the last line no scrape saw."""
    if not lines:
        return 0
    return int(lines[-1][STEP]) - int(lines[0][STEP]) + 1 - len(lines)
