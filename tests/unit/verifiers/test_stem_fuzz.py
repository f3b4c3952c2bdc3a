"""No answer to a science question that denies, doubts or says more wins; `bench_stem_fuzz` tries a hundred thousand."""

from __future__ import annotations

import itertools

import pytest

from prorl_verifiers.math.verifier import MathVerifier
from prorl_verifiers.stem.verifier import StemVerifier
from tests.unit.verifiers.stem_fuzz import QUANTITIES, computes_to, faults, wins


@pytest.fixture(scope="module")
def verifier() -> StemVerifier:
    return StemVerifier(MathVerifier())


@pytest.mark.parametrize("seed", [21, 22, 23])
def test_an_answer_that_says_more_than_the_expected_one_wins_nothing(verifier: StemVerifier, seed: int) -> None:
    assert list(faults(verifier, number=1500, seed=seed)) == []


@pytest.mark.parametrize("gold", QUANTITIES)
def test_an_expected_quantity_equals_itself(verifier: StemVerifier, gold: str) -> None:
    assert wins(verifier, gold, gold)


def test_no_expected_quantity_wins_another(verifier: StemVerifier) -> None:
    won = [pair for pair in itertools.permutations(QUANTITIES, 2) if wins(verifier, *pair)]
    assert won == []


@pytest.mark.parametrize(
    ("answer", "gold", "is_right"),
    [
        ("12 – 6", "6", True),
        ("12 - 6", "5", False),
        ("12 6", "6", False),
        (r"6.5 \times 10^{23}-3\pi ", r"6.5 \times 10^{23}", True),
        (r"6.5 \times 10^{23}-3\pi ", "-3", False),
        ("0.75 / 1", "0.75", True),
        ("6 / 0", "6", False),
        ("9**999999 - 6", "6", False),
        ("12 m - 6", "6", False),
        ("12 or 6", "6", False),
    ],
)
def test_the_laws_know_arithmetic(answer: str, gold: str, is_right: bool) -> None:
    assert computes_to(answer, gold) is is_right


@pytest.mark.parametrize(
    ("gold", "answer", "is_won"),
    [
        ("0.75", "0.75４7", False),
        ("54", "5４", False),
        ("5.1", "5.１", False),
        ("52", "5₂", False),
        ("51", "5①", False),
        ("12", "①②", False),
        ("55", "𝟓5", False),
        ("25.5", "5½", False),
        ("25", "5²", True),
        ("54", "５４", True),
        ("7.5 m", "７．５ m", True),
        ("7.5 m", "７.５ m", True),
        ("20", "𝟐𝟎", True),
        ("0.5", "½", True),
        ("7 m/s^2", "7 m/s²", True),
    ],
)
def test_digits_of_several_forms_do_not_run_together(
    verifier: StemVerifier, gold: str, answer: str, is_won: bool
) -> None:
    assert wins(verifier, gold, answer) is is_won
