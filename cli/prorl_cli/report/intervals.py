"""The report's statistics: 95 % intervals, all computed by scipy. Pure.

An interval is absent, never invented, where the data cannot carry one: fewer than two values, or no spread at all
(a t interval would claim certainty).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

CONFIDENCE = 0.95
_NO_SPREAD = 1e-9
"""Rewards lie in 0 to 1; differences of means closer than this are rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A 95 % confidence interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedGain:
    """The same items measured twice."""

    n: int
    """Items."""
    before: float
    after: float
    """Means over the items."""
    interval: Interval | None
    """Of the mean difference, after less before (paired t)."""

    @property
    def gain(self) -> float:
        """Mean difference."""
        return self.after - self.before


def paired_gain(before: Sequence[float], after: Sequence[float]) -> PairedGain:
    """Mean gain of items measured twice, with its paired t interval.

    Raises:
        ValueError: No items, or not as many before as after.
    """
    if not before or len(before) != len(after):
        raise ValueError(f"need the same items before and after, at least one; got {len(before)} and {len(after)}")
    from scipy import stats

    n = len(before)
    interval = None
    if n > 1 and _has_spread([late - early for early, late in zip(before, after, strict=True)]):
        found = stats.ttest_rel(after, before).confidence_interval(CONFIDENCE)
        interval = Interval(low=float(found.low), high=float(found.high))
    return PairedGain(n=n, before=sum(before) / n, after=sum(after) / n, interval=interval)


def mean_interval(values: Sequence[float]) -> Interval | None:
    """Interval of the mean of rewards in 0 to 1: Wilson's if all are 0 or 1, else the t interval, cut to 0 to 1."""
    if not values:
        return None
    if all(value in (0.0, 1.0) for value in values):
        return _wilson(int(sum(values)), len(values))
    if len(values) < 2 or not _has_spread(values):
        return None
    from scipy import stats

    found = stats.ttest_1samp(values, 0.0).confidence_interval(CONFIDENCE)
    return Interval(low=max(0.0, float(found.low)), high=min(1.0, float(found.high)))


@lru_cache(maxsize=65536)
def _wilson(right: int, n: int) -> Interval:
    """Return Wilson's interval; a live page asks for the same ones again and again."""
    from scipy import stats

    found = stats.binomtest(right, n).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(low=max(0.0, float(found.low)), high=min(1.0, float(found.high)))


def _has_spread(values: Sequence[float]) -> bool:
    return max(values) - min(values) > _NO_SPREAD
