"""Vitals, folded from the lines of the metrics table one after the other. `vitals.VITALS` says what each one is."""

from __future__ import annotations

import math
import statistics
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Any

Line = Mapping[str, Any]
"""Of the metrics table: a step's."""
Vitals = dict[str, float]
"""Name, or `name/source`, to value."""
Found = dict[str, float | None]
"""The same; None: too few steps."""

WINDOW_STEPS = 10
"""Steps that are averaged: a single step says little."""
LONG_WINDOW_STEPS = 50
"""Steps over which a KL beyond its bound is no passing spike."""
LAST_VALIDATIONS = 2
"""Validations that must all be low before validation counts as fallen."""
_OF_SOURCE = "validation_source_accuracy"
_MASKED = ("rollouts_masked_unsupported", "rollouts_masked_sandbox_error")


class VitalsFold:
    """Takes the surviving lines of the metrics table, ascending; what it holds and costs does not grow with them."""

    def __init__(self) -> None:
        self._parts = (_Time(), _Kl(), _Sampling(), _Validation(), _Sources())

    def add(self, line: Line) -> None:
        """Take the next step's line."""
        for part in self._parts:
            part.add(line)

    def values(self) -> Vitals:
        """Return the values of `VITALS` as of the last line."""
        found = [item for part in self._parts for item in part.values().items()]
        return {name: value for name, value in found if value is not None and math.isfinite(value)}


class _Window:
    """The newest values of a metric, with their mean once there are as many as are asked for."""

    def __init__(self, length: int = WINDOW_STEPS) -> None:
        self.held: deque[float] = deque(maxlen=length)

    def add(self, value: float | None) -> None:
        if value is not None:
            self.held.append(value)

    @property
    def mean(self) -> float | None:
        return math.fsum(self.held) / len(self.held) if len(self.held) == self.held.maxlen else None


class _Time:
    def __init__(self) -> None:
        self._last: float | None = None
        self._work, self._pauses = _Window(), _Window(LONG_WINDOW_STEPS)

    def add(self, line: Line) -> None:
        if line["step"] <= 0:  # the validation before training
            return
        pause = _sum(line, ("seconds_validating", "seconds_checkpointing"))
        self._last = _number(line, "time")
        self._pauses.add(pause)
        if (total := _number(line, "seconds_total")) is not None:
            self._work.add(total - pause)

    def values(self) -> Found:
        return {
            "step_timestamp": self._last,
            "step_usual": statistics.median(self._work.held) if self._work.held else None,
            "step_pause_longest": max(self._pauses.held, default=None),
        }


class _Kl:
    """Means over the long window, if no reset is in it.

    A reset comes after the line of its step, so the lines with the new count are measured to the new reference.
    """

    def __init__(self) -> None:
        self._resets = 0
        self._windows = {name: _Window(LONG_WINDOW_STEPS) for name in ("kl", "kl_loss_share")}

    def add(self, line: Line) -> None:
        resets = line.get("resets_total", 0)
        if line["step"] <= 0 or resets < self._resets:
            return
        for name, window in self._windows.items():
            if resets > self._resets:
                window.held.clear()
            window.add(_number(line, name))
        self._resets = resets

    def values(self) -> Found:
        return {f"{name}_long": window.mean for name, window in self._windows.items()}


class _Sampling:
    def __init__(self) -> None:
        self._groups: deque[tuple[float, float] | None] = deque(maxlen=WINDOW_STEPS)
        self._windows = {name: _Window() for name in ("truncated", "mismatch_logprob", "reward_mean")}

    def add(self, line: Line) -> None:
        if line["step"] <= 0:
            return
        for name, window in self._windows.items():
            window.add(_number(line, name))
        kept, sampled = _number(line, "groups_kept"), line.get("groups_sampled")
        self._groups.append((kept * sampled, sampled) if kept is not None and sampled else None)

    def values(self) -> Found:
        counted = [each for each in self._groups if each is not None]
        kept, sampled = (math.fsum(column) for column in zip(*counted, strict=True)) if counted else (0.0, 0.0)
        return {
            "groups_kept_recent": kept / sampled if len(counted) == WINDOW_STEPS else None,
            "truncated_recent": self._windows["truncated"].mean,
            "mismatch_logprob_recent": self._windows["mismatch_logprob"].mean,
            "reward_recent": self._windows["reward_mean"].mean,
        }


class _Validation:
    def __init__(self) -> None:
        self._newest: float | None = None
        self._best: float | None = None
        self._best_step = 0
        self._later = _Window(LAST_VALIDATIONS)
        self._sources: dict[str, float] = {}
        self._rewards = _Window()
        self._reward_at_best: float | None = None

    def add(self, line: Line) -> None:
        if line["step"] > 0:
            self._rewards.add(_number(line, "reward_mean"))
        for source in _sources(line, _OF_SOURCE):
            if (value := _number(line, f"{_OF_SOURCE}/{source}")) is not None:
                self._sources[source] = value
        if (accuracy := _number(line, "validation_accuracy")) is not None:
            self._judge(line["step"], accuracy)
        if 0 < line["step"] <= max(self._best_step, WINDOW_STEPS):
            self._reward_at_best = self._rewards.mean

    def _judge(self, step: int, accuracy: float) -> None:
        self._newest = accuracy
        if self._best is None or accuracy > self._best:
            self._best, self._best_step = accuracy, step
            self._later.held.clear()
        else:
            self._later.add(accuracy)

    def values(self) -> Found:
        if self._newest is None:
            return {}
        return {
            **{f"validation_source_newest/{source}": value for source, value in self._sources.items()},
            "validation_newest": self._newest,
            "validation_best": self._best,
            "validation_recent": max(self._later.held) if len(self._later.held) == LAST_VALIDATIONS else None,
            "reward_at_best": self._reward_at_best,
        }


class _Sources:
    """What is judged for each source, which may not be sampled in every step."""

    def __init__(self) -> None:
        self._first: dict[str, list[float]] = {}
        self._recent: dict[str, _Window] = {}
        self._counts: Counter[str] = Counter()
        self._window: deque[dict[str, tuple[float, float]]] = deque(maxlen=WINDOW_STEPS)

    def add(self, line: Line) -> None:
        if line["step"] <= 0:
            return
        for source in _sources(line, "entropy_sampled"):
            self._add_entropy(source, _number(line, f"entropy_sampled/{source}"))
        self._window.append(
            {
                source: (
                    _sum(line, (f"rollouts_sampled/{source}",)),
                    _sum(line, (f"{name}/{source}" for name in _MASKED)),
                )
                for source in _sources(line, "rollouts_sampled")
            }
        )

    def _add_entropy(self, source: str, value: float | None) -> None:
        if value is None:
            return
        self._counts[source] += 1
        first = self._first.setdefault(source, [])
        if len(first) < WINDOW_STEPS:
            first.append(value)
        self._recent.setdefault(source, _Window()).add(value)

    def values(self) -> Found:
        found: dict[str, float | None] = {}
        for source, first in self._first.items():
            if len(first) == WINDOW_STEPS:
                found[f"entropy_sampled_start/{source}"] = math.fsum(first) / WINDOW_STEPS
            if self._counts[source] >= 2 * WINDOW_STEPS:
                found[f"entropy_sampled_recent/{source}"] = self._recent[source].mean
        if len(self._window) < WINDOW_STEPS:
            return found
        for source in dict.fromkeys(source for step in self._window for source in step):
            sampled, masked = (
                math.fsum(step.get(source, (0.0, 0.0))[index] for step in self._window) for index in (0, 1)
            )
            found[f"rollouts_masked_recent/{source}"] = masked / sampled if sampled else None
        return found


def _sources(line: Line, metric: str) -> list[str]:
    """Return the sources for which a line has a metric by source."""
    prefix = f"{metric}/"
    return [name.removeprefix(prefix) for name in line if name.startswith(prefix)]


def _sum(line: Line, names: Iterable[str]) -> float:
    return math.fsum(value for name in names if (value := _number(line, name)) is not None)


def _number(line: Line, name: str) -> float | None:
    value = line.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
