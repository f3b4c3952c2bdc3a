"""Scores and verdicts."""

from __future__ import annotations

import math

import pytest

from prorl_api.wire.sandbox import Verdict
from prorl_verifiers.judgement import Judgement


@pytest.mark.parametrize(
    ("score", "verdict", "reward"),
    [
        (1.0, Verdict.CORRECT, 1.0),
        (0.99995, Verdict.CORRECT, 1.0),
        (0.99, Verdict.PARTIAL, 0.99),
        (0.0, Verdict.WRONG, 0.0),
        (-3.0, Verdict.WRONG, 0.0),
    ],
)
def test_a_score_has_its_verdict(score: float, verdict: Verdict, reward: float) -> None:
    judgement = Judgement.of_score(score, "answer: 3")
    assert (judgement.verdict, judgement.reward) == (verdict, reward)


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf, float("nan") * 0.5, min(math.nan, 1.0)])
def test_a_scorer_that_returns_no_number_has_failed_itself(score: float) -> None:
    """It is no zero, and above all no full reward."""
    judgement = Judgement.of_score(score, "answer: 3")
    assert (judgement.verdict, judgement.reward) == (Verdict.SANDBOX_ERROR, None)
    assert "answer: 3" in judgement.detail
