"""Whether training helped where the base was weak (ProRL's figure 3): gain against the base's competence.

With the same samples of the base in both, chance alone would make the two fall together: a base that was lucky has
less to gain. So the base's samples are halved: every other one says how competent it is, the others what was gained.
What stays is that a share cannot rise above 1: where the base is near it, gains are small by arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from prorl_analysis.estimators import Estimate, FloatArray, bootstrapped
from prorl_analysis.results import Item, Results
from prorl_api.wire.sandbox import CORRECT_REWARD

_FEWEST = 5
"""Points below which no correlation is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One item, or the mean of a task's items."""

    name: str
    competence: float
    """Share of right samples in one half of the base's."""
    gain: float
    """The checkpoint's share less that in the base's other half."""


def item_points(base: Results, checkpoint: Results, items: Sequence[Item]) -> list[Point]:
    """Return the points of the items of which the base has two judged samples."""
    points = []
    for item in items:
        samples = [reward >= CORRECT_REWARD for reward in base.rewards(item)]
        if len(samples) < 2:
            continue
        n, c = checkpoint.counts(item)
        competence, other = float(np.mean(samples[::2])), float(np.mean(samples[1::2]))
        points.append(Point(name=f"{item[0]} {item[1]}", competence=competence, gain=c / n - other))
    return points


def task_points(base: Results, checkpoint: Results, groups: Mapping[str, Sequence[Item]]) -> list[Point]:
    """Return one point a task: the means over its items."""
    points = []
    for name, items in groups.items():
        found = item_points(base, checkpoint, items)
        if found:
            competence = float(np.mean([point.competence for point in found]))
            points.append(Point(name=name, competence=competence, gain=float(np.mean([point.gain for point in found]))))
    return points


def correlation(points: Sequence[Point]) -> Estimate | None:
    """Pearson's correlation of gain and competence, with a percentile bootstrap interval over the points.

    Returns:
        None for fewer than five points, or where one of the two does not vary.
    """
    competences = np.array([point.competence for point in points])
    gains = np.array([point.gain for point in points])
    if len(points) < _FEWEST or np.ptp(competences) == 0 or np.ptp(gains) == 0:
        return None
    return bootstrapped((competences, gains), _pearson)


def _pearson(first: FloatArray, second: FloatArray, axis: int = -1) -> FloatArray:
    """Pearson's r along an axis (scipy.stats.pearsonr does one pair a call); 0 where a resample does not vary."""
    x = first - first.mean(axis=axis, keepdims=True)
    y = second - second.mean(axis=axis, keepdims=True)
    scale = np.sqrt((x**2).sum(axis=axis) * (y**2).sum(axis=axis))
    shared: FloatArray = (x * y).sum(axis=axis)
    correlations: FloatArray = np.divide(shared, scale, out=np.zeros_like(shared), where=scale > 1e-12)
    return correlations
