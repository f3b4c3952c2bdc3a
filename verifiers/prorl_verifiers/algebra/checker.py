"""The second checker behind two calls: read an expected answer, and compare a model's answer with it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from prorl_verifiers.algebra.comparison import check_finite, compare
from prorl_verifiers.algebra.evaluation import NotFiniteError
from prorl_verifiers.algebra.reader import read
from prorl_verifiers.algebra.tree import Answer, UnreadableError


class Finding(StrEnum):
    """What the checker says about a model's answer."""

    SAME = "same"
    DIFFERENT = "different"
    """Read, but not shown to be the same."""
    CONTRADICTORY = "contradictory"
    """Certainly wrong."""
    UNREADABLE = "unreadable"
    """Outside what this checker reads or computes."""


@dataclass(frozen=True, slots=True)
class Expected:
    """An expected answer as far as this checker can read it."""

    answer: Answer | None
    """None: it cannot; another checker may."""
    is_finite: bool = True
    """False: it divides by zero or the like, and so is no answer."""


def read_expected(text: str) -> Expected:
    """Read an expected answer. Never raises on any text."""
    try:
        answer = read(text)
        check_finite(answer)
    except (UnreadableError, RecursionError):
        return Expected(None)
    except NotFiniteError:
        return Expected(None, is_finite=False)
    return Expected(answer)


def check(expected: Answer, text: str) -> Finding:
    """Compare a model's answer with an expected one. Never raises on any text."""
    try:
        return Finding(compare(expected, read(text)).value)
    except (UnreadableError, NotFiniteError, RecursionError):
        return Finding.UNREADABLE


def are_same(left: str, right: str) -> bool:
    """Whether two texts state the same answer."""
    expected = read_expected(left)
    return expected.answer is not None and check(expected.answer, right) is Finding.SAME
