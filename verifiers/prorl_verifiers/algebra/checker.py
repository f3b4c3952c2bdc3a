"""The own checker behind two calls: read an expected answer, and compare a model's answer with it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from prorl_verifiers.algebra import comparison
from prorl_verifiers.algebra.evaluation import NotFiniteError
from prorl_verifiers.algebra.reader import read
from prorl_verifiers.algebra.tree import Answer, TooCostlyError, UnreadableError
from prorl_verifiers.algebra.values import Ask

_ABOUT = re.compile(r"\\approx(?![A-Za-z])|≈")


class Finding(StrEnum):
    """What the checker says about a model's answer."""

    SAME = "same"
    DIFFERENT = "different"
    TOO_COSTLY = "too costly"
    """Read, and not the same as written; its value is too large to compute."""
    UNREADABLE = "unreadable"
    """Outside what this checker reads, or without a finite value."""


@dataclass(frozen=True, slots=True)
class Expected:
    """An expected answer as far as this checker can read it."""

    answer: Answer | None
    """None: it cannot."""
    is_finite: bool = True
    """False: it divides by zero or the like, and so is no answer."""
    is_computable: bool = True
    """False: a value is too large to compute, and only the same formula can be told to be the same."""


def read_expected(text: str) -> Expected:
    """Read an expected answer. Never raises on any text."""
    try:
        answer = read(_ABOUT.sub("=", text).removeprefix("=") if _ABOUT.search(text) else text)
        return Expected(answer, is_computable=comparison.check_finite(answer))
    except (UnreadableError, RecursionError):
        return Expected(None)
    except NotFiniteError:
        return Expected(None, is_finite=False)


def check(expected: Answer, text: str, ask: Ask | None = None) -> Finding:
    """Compare a model's answer with an expected one. Never raises on any text.

    Args:
        expected: The expected answer.
        text: The model's answer.
        ask: Asks another checker about two formulas that this one keeps as text; without it they are different.
    """
    try:
        is_same = comparison.are_same(expected, read(text), ask or _refuse)
    except TooCostlyError:
        return Finding.TOO_COSTLY
    except (UnreadableError, NotFiniteError, RecursionError):
        return Finding.UNREADABLE
    return Finding.SAME if is_same else Finding.DIFFERENT


def are_same(left: str, right: str) -> bool:
    """Tell whether two texts state the same answer."""
    expected = read_expected(left)
    return expected.answer is not None and check(expected.answer, right) is Finding.SAME


def _refuse(expected: str, answer: str) -> bool:
    return False
