"""What the statistics of evaluations cost, and whether their intervals cover the truth:

python -m tests.bench.bench_analysis
"""

from __future__ import annotations

import sys
import time

import numpy as np

from prorl_analysis.bayes import posterior_pass_at_k
from prorl_analysis.estimators import Estimate, mean_over_items, mean_over_strata, pass_at_k

ITEMS, SAMPLES = 10_000, 1_024
EVALUATIONS, SMALL = 2_000, 200
"""Simulated evaluations, and their items."""
DEPTHS, ITEMS_A_DEPTH, SAMPLES_A_DEPTH = (0.98, 0.9, 0.6, 0.03, 0.005, 0.0), 32, 256
"""Of a simulated prolonged run: mean success of each depth."""
RARE = 0.1
"""Share of items that can be solved at all, where little is solved."""


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
    _print_others(rng)
    sys.exit(not (curve < 5 and bootstrap < 20 and 0.93 <= coverage <= 0.97 and 0.93 <= bayesian <= 0.97))


def _print_others(rng: np.random.Generator) -> None:
    """Print coverages without a bound: of a prolonged run's intervals, and of too few items (docs/evaluation.md)."""
    strata = rare = 0
    for number in range(EVALUATIONS):
        kinds = [_right(rng, rng.beta(4 * rate + 1e-9, 4 * (1 - rate) + 1e-9, ITEMS_A_DEPTH)) for rate in DEPTHS]
        strata += _holds(mean_over_strata(kinds, seed=number), sum(DEPTHS) / len(DEPTHS))
        rates = rng.beta(0.5, 0.5, ITEMS_A_DEPTH) * (rng.random(ITEMS_A_DEPTH) < RARE)
        rare += _holds(mean_over_items(_right(rng, rates), seed=number), 0.5 * RARE)
    print(f"{len(DEPTHS)} depths of {ITEMS_A_DEPTH} items, each resampled by itself: {strata / EVALUATIONS:.1%}")
    print(f"{ITEMS_A_DEPTH} items of which one in {1 / RARE:g} can be solved: {rare / EVALUATIONS:.1%}")


def _right(rng: np.random.Generator, rates: np.ndarray) -> np.ndarray:
    return rng.binomial(SAMPLES_A_DEPTH, rates) / SAMPLES_A_DEPTH


def _holds(found: Estimate, truth: float) -> bool:
    return found.low is not None and found.high is not None and found.low <= truth <= found.high


if __name__ == "__main__":
    main()
