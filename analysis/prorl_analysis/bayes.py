"""A Bayesian estimate of pass@k: what the samples say of these very items, where the bootstrap asks about other items.

Every item has a success probability p of its own. After Bayes@N (arXiv 2510.04265) each has a posterior from its
counts, and the mean over items has their pooled uncertainty. The paper's prior is uniform, which says of 0 in 16 that
p is about 0.056; here the prior is a Beta distribution fitted to the counts of all items (empirical Bayes, the
beta-binomial model), so that hard sets are not lifted by it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import optimize, special, stats

from prorl_analysis.estimators import CONFIDENCE, Estimate, FloatArray

_BOUND = 7.0
"""Of the logarithms of the prior's parameters: beyond, the prior is a point or two for every purpose."""


def posterior_pass_at_k(num_samples: Sequence[int], num_correct: Sequence[int], k: int) -> Estimate:
    """Posterior mean of the items' mean pass@k, with a 95 % credible interval.

    With p ~ Beta(A, B) the chance of k failures is B(A, B + k) / B(A, B), and its square's mean has 2k in k's place.
    Items are independent given the prior, so that variances add; the interval is the normal one, cut to [0, 1].

    Raises:
        ValueError: An item has fewer samples than k.
    """
    n, c = np.asarray(num_samples, dtype=np.float64), np.asarray(num_correct, dtype=np.float64)
    if n.size and n.min() < k:
        raise ValueError(f"pass@{k} needs {k} judged samples of every item, one has {int(n.min())}")
    if not n.size or c.max() == 0 or bool((c == n).all()):
        # Nothing tells items apart: the prior runs to its bound, and an interval would claim certainty.
        return Estimate(value=float(bool(n.size) and c.max() > 0), low=None, high=None, num_items=int(n.size))
    mean, variance = _moments(n, c, k)
    centre, spread = float(mean.mean()), float(np.sqrt(variance.sum())) / n.size
    half = float(stats.norm.ppf(0.5 + CONFIDENCE / 2)) * spread
    return Estimate(value=centre, low=max(0.0, centre - half), high=min(1.0, centre + half), num_items=int(n.size))


def _moments(n: FloatArray, c: FloatArray, k: int) -> tuple[FloatArray, FloatArray]:
    """Return mean and variance of each item's pass@k under its posterior."""
    a, b = fitted_prior(n, c)
    right, wrong = a + c, b + n - c
    whole = special.betaln(right, wrong)
    failing = np.exp(special.betaln(right, wrong + k) - whole)
    squared = np.exp(special.betaln(right, wrong + 2 * k) - whole)
    return 1.0 - failing, np.maximum(squared - failing**2, 0.0)


def fitted_prior(n: FloatArray, c: FloatArray) -> tuple[float, float]:
    """Return the Beta parameters under which the counts are most likely (the beta-binomial model)."""

    def unlikely(logs: FloatArray) -> float:
        return -float(stats.betabinom.logpmf(c, n, np.exp(logs[0]), np.exp(logs[1])).sum())

    rate = float(np.clip((c / n).mean(), 0.01, 0.99))
    start = np.log([rate, 1.0 - rate])
    found = optimize.minimize(unlikely, start, method="L-BFGS-B", bounds=[(-_BOUND, _BOUND)] * 2)
    return float(np.exp(found.x[0])), float(np.exp(found.x[1]))
