"""pass@k and intervals: by hand, against exact counting, and by simulation."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from prorl_analysis.estimators import (
    Direction,
    Estimate,
    at_most,
    direction,
    mean_over_items,
    mean_over_strata,
    moved,
    paired_difference,
    pass_at_k,
)


@pytest.mark.parametrize(
    ("n", "c", "k", "value"),
    [
        (4, 1, 1, Fraction(1, 4)),
        (4, 1, 2, Fraction(1, 2)),
        (4, 2, 2, Fraction(5, 6)),  # 1 - C(2, 2) / C(4, 2)
        (4, 3, 2, Fraction(1)),  # no two wrong ones are left
        (4, 0, 4, Fraction(0)),
        (4, 4, 1, Fraction(1)),
    ],
)
def test_pass_at_k_by_hand(n: int, c: int, k: int, value: Fraction) -> None:
    assert float(pass_at_k([n], [c], k)[0]) == pytest.approx(float(value), abs=1e-12)


@pytest.mark.parametrize("n", [7, 64, 100, 128, 1000, 1024])
def test_where_nothing_or_everything_was_right_pass_at_k_is_exact_and_it_never_leaves_its_range(n: int) -> None:
    for k in range(1, n + 1):
        nothing, everything, *others = pass_at_k([n] * 5, [0, n, 1, n // 2, n - 1], k)
        assert str(nothing) == "0.0"  # and not -0.0
        assert everything == 1.0
        assert all(0.0 < value <= 1.0 for value in others)


@pytest.mark.parametrize("n", [5, 8])
def test_pass_at_k_is_the_share_of_subsets_with_a_correct_one(n: int) -> None:
    for c, k in itertools.product(range(n + 1), range(1, n + 1)):
        subsets = list(itertools.combinations(range(n), k))
        share = sum(min(subset) < c for subset in subsets) / len(subsets)
        assert float(pass_at_k([n], [c], k)[0]) == pytest.approx(share, abs=1e-12)


def test_pass_at_k_is_exact_where_factorials_overflow() -> None:
    exact = 1 - Fraction(math.comb(1021, 512), math.comb(1024, 512))
    assert float(pass_at_k([1024], [3], 512)[0]) == pytest.approx(float(exact), rel=1e-10)
    tiny = 1 - Fraction(math.comb(1023, 1), math.comb(1024, 1))
    assert float(pass_at_k([1024], [1], 1)[0]) == pytest.approx(float(tiny), rel=1e-10)


def test_fewer_samples_than_k_give_no_number() -> None:
    with pytest.raises(ValueError, match="pass@4 needs 4 judged samples of every item, one has 3"):
        pass_at_k([4, 3], [1, 1], 4)


def test_zero_of_n_is_a_bound_and_not_an_impossibility() -> None:
    assert at_most(256) == pytest.approx(1 - 0.05 ** (1 / 256), rel=1e-9)
    assert at_most(256) < 0.012
    assert at_most(1024) < 0.003


def test_equal_values_carry_no_interval() -> None:
    assert mean_over_items([1.0, 1.0]).low is None
    assert mean_over_items([0.3]).low is None
    assert mean_over_items([]).num_items == 0


def test_pairs_of_the_same_items_are_told_apart_where_means_are_not() -> None:
    """Items differ much, the gain little and evenly: only pairing shows it."""
    rng = np.random.default_rng(3)
    before = rng.uniform(0, 0.9, 200)
    after = before + rng.uniform(0.0, 0.04, 200)
    paired = paired_difference(before, after)
    assert paired.low is not None
    assert paired.low > 0.015
    alone = mean_over_items(before)
    assert alone.high is not None
    assert alone.high > float(after.mean()), "unpaired intervals overlap"


@pytest.mark.parametrize(
    ("gained", "lost", "found"),
    [
        (0, 0, Direction.NOT_TOLD_APART),
        (5, 0, Direction.NOT_TOLD_APART),  # p = 2 / 2^5 = 0.0625
        (6, 0, Direction.HIGHER),  # 0.03125
        (0, 6, Direction.LOWER),
        (7, 1, Direction.NOT_TOLD_APART),  # 2 (1 + 8) / 2^8 = 0.0703
        (8, 1, Direction.HIGHER),  # 2 (1 + 9) / 2^9 = 0.0391
        (16, 16, Direction.NOT_TOLD_APART),
    ],
)
def test_items_gained_and_lost_by_mcnemars_exact_test_by_hand(gained: int, lost: int, found: Direction) -> None:
    assert moved(gained, lost) is found


@pytest.mark.parametrize(
    ("value", "low", "high", "items", "found"),
    [
        (0.1, 0.01, 0.2, 4, Direction.HIGHER),
        (-0.1, -0.2, -0.01, 4, Direction.LOWER),
        (0.1, -0.1, 0.2, 4, Direction.NOT_TOLD_APART),
        (0.1, 0.0, 0.2, 4, Direction.NOT_TOLD_APART),
        (1.0, None, None, 32, Direction.HIGHER),  # all items moved alike: no interval, and no doubt
        (-1.0, None, None, 6, Direction.LOWER),
        (1.0, None, None, 5, Direction.NOT_TOLD_APART),
        (0.0, None, None, 32, Direction.NOT_TOLD_APART),
    ],
)
def test_a_direction_needs_an_interval_or_items_that_all_moved_alike(
    value: float, low: float | None, high: float | None, items: int, found: Direction
) -> None:
    assert direction(Estimate(value=value, low=low, high=high, num_items=items)) is found


def test_kinds_of_items_are_resampled_each_by_itself() -> None:
    """The mean is that of all items; the spread is that of a resampling in numpy's words, kind by kind."""
    rng = np.random.default_rng(5)
    kinds = [rng.uniform(0.0, 0.1, 8), rng.uniform(0.8, 1.0, 24), np.zeros(8)]
    found, pooled = mean_over_strata(kinds), mean_over_items(np.concatenate(kinds))
    assert found.value == pytest.approx(sum(kind.sum() for kind in kinds) / 40)
    assert found.num_items == 40
    sums = sum(rng.choice(kind, (20_000, kind.size)).sum(axis=1) for kind in kinds)
    low, high = np.quantile(sums / 40, [0.025, 0.975])
    assert found.low == pytest.approx(low, abs=0.002)
    assert found.high == pytest.approx(high, abs=0.002)
    assert pooled.low is not None
    assert pooled.low < low - 0.05, "drawn together, the share of hard items varies too"


def test_kinds_that_each_are_all_alike_carry_no_interval() -> None:
    found = mean_over_strata([[1.0, 1.0], [0.0, 0.0, 0.0]])
    assert (found.value, found.low, found.high, found.num_items) == (0.4, None, None, 5)
    assert mean_over_strata([]) == mean_over_items([]), "no depth to learn at was evaluated"


def test_values_of_other_items_are_not_paired() -> None:
    with pytest.raises(ValueError, match="got 2 and 3"):
        paired_difference([1.0, 0.0], [1.0, 0.0, 0.0])


def test_intervals_repeat_with_the_seed() -> None:
    values = np.random.default_rng(1).random(50)
    assert mean_over_items(values) == mean_over_items(values)
    assert mean_over_items(values) != mean_over_items(values, seed=1)


def test_an_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """100 items of three kinds, their means known."""
    rng = np.random.default_rng(11)
    truth, hits, trials = 0.5, 0, 120
    for _ in range(trials):
        found = mean_over_items(rng.choice([0.0, 0.5, 1.0], size=100))
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= truth <= found.high
    # 95 % of 120 is 114; 105 or fewer has a probability of 0.0004.
    assert hits > 105
