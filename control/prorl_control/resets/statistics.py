"""The statistics that triggers and judgements rest on. Pure, of the standard library alone."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence

MAD_TO_DEVIATION = 1.4826
"""1 / Phi^-1(3/4): a normal distribution's standard deviation over its median absolute deviation (Rousseeuw and Croux
1993, section 1)."""
_NORMAL = statistics.NormalDist()


def normal_quantile(probability: float) -> float:
    """Return the value below which a standard normal variable lies with this probability."""
    return _NORMAL.inv_cdf(probability)


def student_quantile(probability: float, degrees: int) -> float:
    """Return the quantile of Student's t by its expansion about the normal one (Abramowitz and Stegun 26.7.5).

    Off by less than 0.01 at 0.975 from 3 degrees of freedom on.

    Args:
        probability: Above 0 and below 1.
        degrees: Degrees of freedom; fewer than 3 count as 3.
    """
    degrees = max(3, degrees)
    x = normal_quantile(probability)
    terms = (
        (x**3 + x) / 4,
        (5 * x**5 + 16 * x**3 + 3 * x) / 96,
        (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / 384,
        (79 * x**9 + 776 * x**7 + 1482 * x**5 - 1920 * x**3 - 945 * x) / 92160,
    )
    return x + math.fsum(term / degrees**power for power, term in enumerate(terms, start=1))


def median_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Return the median, and the standard deviation that the median absolute deviation stands for."""
    middle = _median(sorted(values))
    return middle, MAD_TO_DEVIATION * _median(sorted(abs(value - middle) for value in values))


def binomial_variance(share: float, count: float) -> float:
    """Return the variance of a share of `count` judged completions, at the estimate of Agresti and Coull (1998).

    Two successes and two failures are added, so that a share of 0 or 1 is not taken for certain. Of rewards between 0
    and 1 that are not all 0 or 1 it is an upper bound.
    """
    adjusted = (share * count + 2) / (count + 4)
    return adjusted * (1 - adjusted) / count


def fitted_line(xs: Sequence[float], ys: Sequence[float], variances: Sequence[float]) -> tuple[float, float, float]:
    """Fit a line by least squares, weighted by the inverse of known variances.

    The standard error is scaled up by the root of chi-square over its degrees of freedom where that is above 1: the
    values then vary more than their variances say (Particle Data Group, Review, section 5.2.2).

    Returns:
        The slope, its standard error, and that scale (1 where fewer than three points tell nothing of it).
    """
    weights = [1 / variance for variance in variances]
    total = math.fsum(weights)
    x_mean = math.fsum(weight * x for weight, x in zip(weights, xs, strict=True)) / total
    y_mean = math.fsum(weight * y for weight, y in zip(weights, ys, strict=True)) / total
    spread = math.fsum(weight * (x - x_mean) ** 2 for weight, x in zip(weights, xs, strict=True))
    slope = (
        math.fsum(weight * (x - x_mean) * (y - y_mean) for weight, x, y in zip(weights, xs, ys, strict=True)) / spread
    )
    scale = 1.0
    if len(xs) > 2:
        residuals = (
            weight * (y - y_mean - slope * (x - x_mean)) ** 2 for weight, x, y in zip(weights, xs, ys, strict=True)
        )
        scale = math.sqrt(max(1.0, math.fsum(residuals) / (len(xs) - 2)))
    return slope, scale / math.sqrt(spread), scale


def successive_variance(values: Sequence[float]) -> float:
    """Return the variance of single values as their successive differences tell it, which a trend hardly touches (von
    Neumann et al. 1941).
    """
    if len(values) < 2:
        return 0.0
    squares = (((later - earlier) ** 2) for earlier, later in itertools.pairwise(values))
    return math.fsum(squares) / (2 * (len(values) - 1))


def _median(ordered: Sequence[float]) -> float:
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
