"""No answer to a science question that denies, doubts or says more wins; `bench_stem_fuzz` tries a hundred thousand."""

from __future__ import annotations

import itertools

import pytest

from prorl_verifiers.math.verifier import MathVerifier
from prorl_verifiers.stem.verifier import StemVerifier
from tests.unit.verifiers.stem_fuzz import QUANTITIES, faults, wins


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
