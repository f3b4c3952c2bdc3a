"""No answer made of an expected one and anything else earns a reward; `bench_math_fuzz` tries a hundred thousand."""

from __future__ import annotations

import itertools

import pytest

from prorl_verifiers.math.verifier import MathVerifier
from tests.unit.verifiers.math_fuzz import GOLDS, faults, wins


@pytest.fixture(scope="module")
def verifier() -> MathVerifier:
    verifier = MathVerifier()
    verifier.warm_up()
    return verifier


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_an_answer_that_says_more_than_the_expected_one_wins_nothing(verifier: MathVerifier, seed: int) -> None:
    assert list(faults(verifier, number=1000, seed=seed)) == []


@pytest.mark.parametrize("gold", GOLDS)
def test_an_expected_answer_equals_itself(verifier: MathVerifier, gold: str) -> None:
    assert wins(verifier, gold, gold)


def test_no_expected_answer_wins_another(verifier: MathVerifier) -> None:
    won = [pair for pair in itertools.permutations(GOLDS, 2) if wins(verifier, *pair)]
    assert won == []
