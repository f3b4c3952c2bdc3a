"""What a verifier says about one answer."""

from __future__ import annotations

import math
from dataclasses import dataclass

from prorl_api.wire.sandbox import Verdict

FULL_REWARD = 0.9999
"""From here on an answer is correct: scorers lose a little to rounding. One wrong cell of a board of a hundred is 0.99,
and wrong."""
_MAX_DETAIL = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A verdict, the reward (None exactly when the verdict says nothing about the answer) and a detail for people."""

    verdict: Verdict
    reward: float | None
    detail: str = ""

    @classmethod
    def failed(cls, verdict: Verdict, detail: str) -> Judgement:
        """Return the model's failure: reward 0."""
        return cls(verdict=verdict, reward=0.0, detail=shorten(detail))

    @classmethod
    def unsupported(cls, detail: str) -> Judgement:
        """Return the row cannot be judged: no reward."""
        return cls(verdict=Verdict.UNSUPPORTED, reward=None, detail=shorten(detail))

    @classmethod
    def of_score(cls, score: float, detail: str) -> Judgement:
        """Return the verdict that belongs to a score in [0, 1]; scores from `FULL_REWARD` count as 1.

        A scorer that returns no number has failed itself: that says nothing about the answer.
        """
        if not math.isfinite(score):
            return cls(verdict=Verdict.SANDBOX_ERROR, reward=None, detail=shorten(f"the score is {score}; {detail}"))
        if score >= FULL_REWARD:
            return cls(verdict=Verdict.CORRECT, reward=1.0, detail=shorten(detail))
        if score <= 0.0:
            return cls.failed(Verdict.WRONG, detail)
        return cls(verdict=Verdict.PARTIAL, reward=score, detail=shorten(detail))


def shorten(text: str) -> str:
    """At most a few hundred characters."""
    return text if len(text) <= _MAX_DETAIL else f"{text[:_MAX_DETAIL]}... ({len(text)} characters)"
