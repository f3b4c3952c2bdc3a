"""The lines of one job, as scrapes brought them: each step once, and of the surviving timeline alone. Pure."""

from __future__ import annotations

import bisect
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prorl_control.resets.packed_lines import PackedLines
from prorl_control.signals.questions import ATTEMPT, STEP
from prorl_control.signals.reading import SignalFault, SignalReason
from prorl_control.signals.snapshots import Snapshot, line_of

_KEPT_FOR_EVER = "validation_"
"""Metrics of validations: what is decided on looks back to the last reset, however long ago that was."""
_MAX_OLD = 20_000
_SLACK = 32
"""Lines that may come on top of those that are kept, so that not every scrape has all of them looked at."""

Place = tuple[int, int]
"""Attempt and step."""


class Timeline:
    """Takes snapshots in any order, any number of times; gives lines."""

    def __init__(self) -> None:
        self._lines = PackedLines()
        """By place, ascending."""
        self._seen_at = array("d")
        """Time of the first scrape that saw each of them."""
        self._resumed: dict[int, int] = {}
        self._surviving: Sequence[int] | None = None
        """Indices of the lines of the surviving timeline."""
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
            self._take(snapshot)
            if snapshot.resumed_from is not None and snapshot.resumed_from != self._resumed.get(snapshot.attempt):
                self._resumed[snapshot.attempt] = snapshot.resumed_from
                self._surviving = None
            if self.newest_at is None or snapshot.at > self.newest_at:
                self.newest_at = snapshot.at

    def _take(self, snapshot: Snapshot) -> None:
        place = snapshot.attempt, snapshot.step
        index = self._index(place)
        if index == len(self._lines) or self._place(index) != place:
            self._lines.insert(index, line_of(snapshot))
            self._seen_at.insert(index, snapshot.at)
            self._surviving = None
            return
        for name, value in snapshot.values.items():
            if self._lines.get(index, name) is None:
                self._lines.set(index, name, value)
        self._seen_at[index] = min(self._seen_at[index], snapshot.at)

    def add_signal(self, name: str, points: Sequence[tuple[float, float]]) -> None:
        """Take the values of a job's own signal: each belongs to the step that the newest scrape before it saw.

        Args:
            name: As triggers know it.
            points: Unix time and value, ascending; finite.
        """
        indices = sorted(range(len(self._lines)), key=self._seen_at.__getitem__)
        times = [self._seen_at[index] for index in indices]
        for at, value in points:
            position = bisect.bisect_right(times, at) - 1
            if position >= 0 and self._lines.get(indices[position], name) is None:
                self._lines.set(indices[position], name, value)

    @property
    def newest_attempt(self) -> int:
        """The highest attempt that was seen; 0: none."""
        return self._place(len(self._lines) - 1)[0] if self._lines else 0

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Of the surviving timeline, ascending; dictionaries of their own each time."""
        return self._lines.unpacked(self._survivors())

    @property
    def first_step(self) -> int | None:
        """Of the surviving timeline; None: it has none."""
        survivors = self._survivors()
        return self._place(survivors[0])[1] if survivors else None

    def seen_at(self, line: Mapping[str, Any]) -> float | None:
        """Return when a line's step was seen first."""
        place = line[ATTEMPT], line[STEP]
        index = self._index(place)
        return self._seen_at[index] if index < len(self._lines) and self._place(index) == place else None

    def places_before(self, at: float) -> list[Place]:
        """Return those of the surviving timeline that were seen before a time, ascending."""
        return [self._place(index) for index in self._survivors() if self._seen_at[index] < at]

    def thin(self, recent: int) -> None:
        """Keep the newest `recent` lines, and of older ones those with a validation."""
        if len(self._lines) <= max(recent, self._num_kept) + _SLACK:
            return
        survivors, lines = self._survivors(), self.lines
        validated = [
            index
            for index, line in zip(survivors[:-recent], lines[:-recent], strict=True)
            if any(name.startswith(_KEPT_FOR_EVER) for name in line)
        ]
        kept = [*validated[-_MAX_OLD:], *survivors[-recent:]]
        if len(kept) < len(self._lines):
            self.is_thinned = True
            self._lines.keep(kept)
            self._seen_at = array("d", [self._seen_at[index] for index in kept])
            self._surviving = None
        self._num_kept = len(self._lines)

    def _place(self, index: int) -> Place:
        return self._lines.column(ATTEMPT)[index], self._lines.column(STEP)[index]

    def _index(self, place: Place) -> int:
        """Return where a place is, or would be."""
        if self._lines and self._place(len(self._lines) - 1) < place:
            return len(self._lines)  # as a rule it is the newest
        return bisect.bisect_left(range(len(self._lines)), place, key=self._place)

    def _survivors(self) -> Sequence[int]:
        if self._surviving is None:
            places = list(zip(self._lines.column(ATTEMPT), self._lines.column(STEP), strict=True))
            self._surviving = array("q", surviving_places(places, self._resumed))
        return self._surviving


def surviving_places(places: Sequence[Place], resumed: Mapping[int, int]) -> list[int]:
    """Return the timeline that survived: an attempt that goes on from a step ends what earlier ones did after it.

    Where an attempt does not say what it went on from, the first of its steps that was seen counts.

    Args:
        places: Ascending.
        resumed: By attempt, the completed steps that it went on from.

    Returns:
        Indices of places.
    """
    kept: list[int] = []
    newest = -1
    for index, (attempt, step) in enumerate(places):
        if attempt != newest:
            newest = attempt
            goes_on_from = resumed.get(attempt, step - 1)
            while kept and places[kept[-1]][1] > min(goes_on_from, step - 1):
                kept.pop()
        kept.append(index)
    return kept


def unseen_steps(lines: Sequence[Mapping[str, Any]]) -> int:
    """Return how many steps between the first and the last line no scrape saw."""
    if not lines:
        return 0
    return int(lines[-1][STEP]) - int(lines[0][STEP]) + 1 - len(lines)
