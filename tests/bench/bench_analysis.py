"""What the statistics of evaluations cost, and whether their intervals cover the truth:

python -m tests.bench.bench_analysis
"""

from __future__ import annotations

import sys
import time

import numpy as np

from prorl_analysis.bayes import posterior_pass_at_k
from prorl_analysis.estimators import Estimate, mean_over_items, pass_at_k

ITEMS, SAMPLES = 10_000, 1_024
EVALUATIONS, SMALL = 2_000, 200
"""Simulated evaluations, and their items."""


def main() -> None:
    """Print each figure beside what is wanted; exit code 1 if one is missed."""
    rng = np.random.default_rng(1)
    correct = rng.binomial(SAMPLES, rng.beta(0.3, 1.0, ITEMS))
    started = time.perf_counter()
    for k in (2**exponent for exponent in range(11)):
        values = pass_at_k([SAMPLES] * ITEMS, correct.tolist(), k)
    curve = time.perf_counter() - started
    started = time.perf_counter()
    mean_over_items(values)
    bootstrap = time.perf_counter() - started
    # Items have success probabilities of Beta(0.5, 0.5), mean 0.5, and are sampled eight times each.
    hits = own = 0
    for number in range(EVALUATIONS):
        rates = rng.beta(0.5, 0.5, SMALL)
        right = rng.binomial(8, rates)
        hits += _holds(mean_over_items(right / 8, seed=number), 0.5)
        own += _holds(posterior_pass_at_k([8] * SMALL, right.tolist(), 1), float(rates.mean()))
    coverage, bayesian = hits / EVALUATIONS, own / EVALUATIONS
    print(f"pass@1 to pass@1024 of {ITEMS} items x {SAMPLES} samples: {curve:.2f} s (wanted: below 5)")
    print(f"10,000 resamples of {ITEMS} items: {bootstrap:.2f} s (wanted: below 20)")
    print(f"95 % intervals cover the truth in {coverage:.1%} of {EVALUATIONS} evaluations (wanted: 93 to 97 %)")
    print(f"95 % credible intervals hold these items' own mean in {bayesian:.1%} (wanted: 93 to 97 %)")
    sys.exit(not (curve < 5 and bootstrap < 20 and 0.93 <= coverage <= 0.97 and 0.93 <= bayesian <= 0.97))


def _holds(found: Estimate, truth: float) -> bool:
    return found.low is not None and found.high is not None and found.low <= truth <= found.high


if __name__ == "__main__":
    main()
