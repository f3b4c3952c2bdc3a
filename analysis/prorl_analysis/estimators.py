"""Estimators over one evaluation: pass@k and the mean, each with an interval over items.

Items are what is random: another evaluation set would have other items. Intervals are therefore taken over items (a
bootstrap of items), not over samples; that each item was sampled a finite number of times is part of their spread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

FloatArray = NDArray[np.float64]
CONFIDENCE = 0.95
RESAMPLES = 10_000
_AT_ONCE = 20_000_000
"""Values resampled at once: 160 MB."""


class Direction(StrEnum):
    """What data allow to say of a difference, at 95 % and for this one comparison."""

    HIGHER = "higher"
    LOWER = "lower"
    NOT_TOLD_APART = "not told apart"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over items, with its 95 % interval."""

    value: float
    low: float | None
    """None: the data carry no interval (fewer than two items, or all of them equal)."""
    high: float | None
    num_items: int


def pass_at_k(num_samples: Sequence[int], num_correct: Sequence[int], k: int) -> FloatArray:
    """Unbiased estimate of pass@k of each item: 1 - C(n - c, k) / C(n, k) (Chen et al., arXiv 2107.03374 eq. 1).

    Args:
        num_samples: n of each item.
        num_correct: c of each item.
        k: At most the smallest n.

    Returns:
        [items] float64 in [0, 1].

    Raises:
        ValueError: An item has fewer samples than k: nothing can be said of pass@k then.
    """
    n, c = np.asarray(num_samples, dtype=np.float64), np.asarray(num_correct, dtype=np.float64)
    if n.size and n.min() < k:
        raise ValueError(f"pass@{k} needs {k} judged samples of every item, one has {int(n.min())}")
    wrong = n - c
    log_ratio = (
        special.gammaln(wrong + 1)
        - special.gammaln(np.maximum(wrong - k, 0) + 1)
        - special.gammaln(n + 1)
        + special.gammaln(n - k + 1)
    )
    # Rounding of the logarithms may leave [0, 1] by some 1e-13, and must not make a chance where there was no success.
    return np.where(wrong < k, 1.0, np.where(c == 0, 0.0, np.clip(-np.expm1(log_ratio), 0.0, 1.0)))


def mean_over_items(values: Sequence[float] | FloatArray, *, seed: int = 0) -> Estimate:
    """Mean of per-item values with a percentile bootstrap interval over items (Efron 1979; scipy.stats.bootstrap)."""
    array = np.asarray(values, dtype=np.float64)
    if not array.size:
        return Estimate(value=0.0, low=None, high=None, num_items=0)
    return bootstrapped((array,), np.mean, seed=seed)


def paired_difference(
    before: Sequence[float] | FloatArray, after: Sequence[float] | FloatArray, *, seed: int = 0
) -> Estimate:
    """Mean of after - before over the same items, with a paired bootstrap interval: items are drawn, not evaluations.

    Raises:
        ValueError: The two have other lengths.
    """
    first, second = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(f"paired values of the same items are wanted, got {first.size} and {second.size}")
    return mean_over_items(second - first, seed=seed)


def mean_over_strata(strata: Sequence[Sequence[float] | FloatArray], *, seed: int = 0) -> Estimate:
    """Mean of per-item values of several kinds of items, whose numbers were chosen: each kind is resampled by itself.

    Drawn from all items together, a resample would have now more easy and now more hard items than the evaluation set,
    and the interval would be of other shares of difficulty, too (stratified bootstrap, Davison & Hinkley 1997, 3.2).

    Args:
        strata: The items of each kind, at least two of a kind.
        seed: Of the resampling.
    """
    arrays = [np.asarray(values, dtype=np.float64) for values in strata]
    size = sum(array.size for array in arrays)

    def mean_of_all(*parts: FloatArray, axis: int) -> FloatArray:
        return np.asarray(sum(part.sum(axis=axis) for part in parts)) / size

    if not size:
        return Estimate(value=0.0, low=None, high=None, num_items=0)
    return bootstrapped(tuple(arrays), mean_of_all, is_paired=False, seed=seed)


def direction(gain: Estimate) -> Direction:
    """Return what the interval of a mean difference allows to say.

    Where all items moved alike there is no interval, and the sign test decides: n equal signs have p = 2^(1 - n).
    """
    if gain.low is not None and gain.high is not None:
        return _signed(gain.value if gain.low > 0 or gain.high < 0 else 0.0)
    alike = gain.num_items if gain.value else 0
    return moved(alike, 0) if gain.value > 0 else moved(0, alike)


def moved(gained: int, lost: int) -> Direction:
    """Return what so many items gained and lost allow to say, by McNemar's exact test: two-sided binomial with 1/2.

    By hand: 5 against 0 has p = 2 / 2^5 = 0.0625, 6 against 0 has 0.031. A bootstrap of few such items is too sure: it
    excludes 0 from 4 of 32 on, where p is 0.125.
    """
    if gained + lost == 0 or stats.binomtest(gained, gained + lost).pvalue >= 1 - CONFIDENCE:
        return Direction.NOT_TOLD_APART
    return _signed(gained - lost)


def _signed(value: float) -> Direction:
    if value == 0:
        return Direction.NOT_TOLD_APART
    return Direction.HIGHER if value > 0 else Direction.LOWER


def at_most(num_samples: int) -> float:
    """Upper 95 % bound of the success probability of an item with 0 of n: 1 - 0.05^(1/n), about 3 / n.

    Clopper-Pearson, one-sided. So "0 of 256" says "below 1.2 %", never "impossible".
    """
    found = stats.binomtest(0, num_samples, alternative="less").proportion_ci(CONFIDENCE)
    return float(found.high)


def paired_p_value(before: Sequence[float] | FloatArray, after: Sequence[float] | FloatArray) -> float | None:
    """Two-sided p of a paired permutation test: were the two exchangeable, each item's difference had either sign.

    Exact for few items, else over 9,999 random sign flips (scipy.stats.permutation_test).

    Returns:
        None if no item differs, or there is only one.
    """
    differences = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    if differences.size < 2 or not differences.any():
        return None
    found = stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        batch=max(1, _AT_ONCE // differences.size),
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)


def bootstrapped(
    data: tuple[FloatArray, ...], statistic: Callable[..., FloatArray], *, is_paired: bool = True, seed: int = 0
) -> Estimate:
    """Return a statistic of per-item values with a percentile bootstrap interval over items.

    Args:
        data: One or several [items] arrays.
        statistic: Takes the arrays and `axis`.
        is_paired: Whether the arrays are of the same items, which are then drawn from all of them together; else each
            array is of items of its own, and resampled by itself.
        seed: Of the resampling.
    """
    num_values = sum(array.size for array in data)
    value, size = float(statistic(*data, axis=-1)), int(data[0].size) if is_paired else num_values
    if size < 2 or all(array.min() == array.max() for array in data):
        return Estimate(value=value, low=None, high=None, num_items=size)
    found = stats.bootstrap(
        data,
        statistic,
        paired=is_paired and len(data) > 1,
        vectorized=True,
        confidence_level=CONFIDENCE,
        n_resamples=RESAMPLES,
        batch=max(1, _AT_ONCE // num_values),
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Estimate(value=value, low=float(found.low), high=float(found.high), num_items=size)
