"""Which items moved, and by what words."""

from __future__ import annotations

import pytest

from prorl_analysis.boundary import Regime, boundary, powers
from tests.unit.analysis.builders import make_results

BASE = make_results({0: [1, 0, 0, 0], 1: [0, 0, 0, 0], 2: [0, 1, 1, 1], 3: [0, 0, 0, 0]})
AFTER = make_results({0: [0, 0, 0, 0], 1: [0, 0, 1, 0], 2: [1, 1, 1, 1], 3: [0, 0, 0, 0]})


def test_items_are_preserved_expanded_shrunk_or_out_of_reach() -> None:
    found = boundary(BASE, AFTER, "math")
    assert found.shrunk == (("math", 0),)
    assert found.expanded == (("math", 1),)
    assert found.preserved == (("math", 2),)
    assert found.out_of_reach == (("math", 3),)


def test_ratios_by_hand() -> None:
    found = boundary(BASE, AFTER, "math")  # P 1, E 1, S 1
    assert (found.support_retention, found.net_discovery, found.net_change) == (0.5, 0.5, 0.0)


def test_ratios_of_nothing_are_absent() -> None:
    nothing = make_results({0: [0, 0], 1: [0, 0]})
    found = boundary(nothing, nothing, "math")
    assert (found.support_retention, found.net_discovery, found.net_change) == (None, None, None)


def test_both_sides_are_looked_at_with_the_same_number_of_samples() -> None:
    """The checkpoint's third sample does not count where the base has two."""
    found = boundary(make_results({0: [0, 0], 1: [1, 0]}), make_results({0: [0, 0, 1], 1: [1, 1, 1]}), "math")
    assert found.k == 2
    assert found.expanded == ()


def test_samples_that_could_not_be_judged_are_no_samples() -> None:
    found = boundary(make_results({0: [None, 0, 1], 1: [1, 1, 1]}), AFTER, "math")
    assert found.k == 2


def test_an_item_without_a_judged_sample_is_named() -> None:
    with pytest.raises(ValueError, match="source math: an item has no judged sample"):
        boundary(make_results({0: [None]}), make_results({0: [1]}), "math")


def test_the_curve_goes_by_powers_of_two_to_the_last() -> None:
    assert powers(1) == [1]
    assert powers(8) == [1, 2, 4, 8]
    assert powers(12) == [1, 2, 4, 8, 12]
    assert [size for size, _, _ in boundary(BASE, AFTER, "math").curve] == [1, 2, 4]


def test_every_k_has_its_number() -> None:
    """By hand: c of four are 1, 0, 3, 0 in the base and 0, 1, 4, 0 in the checkpoint."""
    assert [base for base, _ in boundary(BASE, AFTER, "math").means] == pytest.approx([1 / 4, 1.5 / 4, 1.75 / 4, 2 / 4])
    assert boundary(BASE, AFTER, "math").means[0][1] == pytest.approx(5 / 16)


def rates(*by_item: int) -> dict[int, list[float | None]]:
    """So many correct of eight."""
    return {index: [*[1.0] * correct, *[0.0] * (8 - correct)] for index, correct in enumerate(by_item * 5)}


@pytest.mark.parametrize(
    ("base", "after", "regime"),
    [
        (rates(0, 0, 1, 2), rates(3, 4, 5, 6), Regime.SUSTAINED),  # what was out of reach is not
        (rates(1, 1, 2, 2), rates(0, 0, 7, 8), Regime.DIMINISHED),  # better on average, and narrower
        (rates(1, 2, 1, 2), rates(5, 6, 7, 8), Regime.PLATEAU),  # all were in reach before
        (rates(1, 2, 3, 4), rates(1, 2, 3, 4), Regime.UNDECIDED),
        (rates(0), rates(8), Regime.UNDECIDED),  # all of 5 alike: p = 0.0625
        (rates(0, 0), rates(8, 8), Regime.SUSTAINED),  # all of 10 alike is no plateau
        (rates(8, 8), rates(0, 0), Regime.DIMINISHED),
        (rates(0, 1, 1, 1), rates(8, 1, 1, 1), Regime.PLATEAU),  # 5 of 20 gained prove nothing of pass@K
    ],
)
def test_regimes(base: dict[int, list[float | None]], after: dict[int, list[float | None]], regime: Regime) -> None:
    assert boundary(make_results(base), make_results(after), "math").regime is regime
