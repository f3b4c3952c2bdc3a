r"""Pairs of different shapes that say the same by convention: `two` and 2, a column and a tuple, `2:3` and `4:6`."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from prorl_verifiers.algebra.evaluation import exact
from prorl_verifiers.algebra.identity import is_exact
from prorl_verifiers.algebra.solution_sets import REAL_LINE
from prorl_verifiers.algebra.tree import (
    Answer,
    Based,
    Bracketed,
    Collection,
    Matrix,
    Number,
    Product,
    Symbol,
    Value,
    Words,
)
from prorl_verifiers.number_words import number_of_words

Same = Callable[[Answer, Answer], bool]
_NO_SOLUTION = frozenset({
    "no solution", "no solutions", "no real solution", "no real solutions", "no roots", "no real roots", "empty set",
    "the empty set", "no such", "does not have a solution", "there is no solution", "there are no solutions",
    "no solution exists",
})  # fmt: skip
_ALL_NUMBERS = frozenset({"all real numbers", "all real", "all reals", "any real number", "the real numbers"})
_EMPTY = Collection((), "set")
# Letters in alphabetical order that people multiply; "no" and "hi" are words.
_PRODUCTS = frozenset({
    "ab", "bc", "cd", "de", "ef", "fg", "mn", "np", "pq", "qr", "rs", "uv", "vw", "xy", "yz", "abc", "bcd", "def",
    "mnp", "pqr", "uvw", "xyz",
})  # fmt: skip


def same_by_convention(expected: Answer, answer: Answer, same: Same) -> bool:  # noqa: PLR0911  (one a pair)
    """Tell whether one of the conventions of this module makes them the same."""
    if isinstance(expected, Words) or isinstance(answer, Words):
        return _same_words_and_sign(expected, answer, same)
    match expected, answer:
        case (Matrix(), Bracketed("(", items, ")")) if (cells := _vector(expected)) is not None:
            return _same_items(cells, items, same)
        case (Bracketed("(", items, ")"), Matrix()) if (cells := _vector(answer)) is not None:
            return _same_items(items, cells, same)
        case (Bracketed(), Bracketed()):
            return _same_ratio(expected, answer) or _same_time(expected, answer)
        case (Bracketed(), Value()):
            return _is_ratio_of(answer, expected)
        case (Value(), Bracketed()):
            return _is_ratio_of(expected, answer)
        case (Based(digits), Value(expression, "")):
            # The expected answer names the base, which the question has named too.
            return is_exact(expression) and exact(expression) >= 0 and digits == str(exact(expression))
    return False


def _same_words_and_sign(expected: Answer, answer: Answer, same: Same) -> bool:
    one, other = _meaning(expected), _meaning(answer)
    if (one, other) != (expected, answer):
        return same(one, other)
    match expected, answer:
        case (Words(text), Value(Symbol(name), "")) | (Value(Symbol(name), ""), Words(text)):
            return text == name
        case (Words(text), Words(other_text)) if text in _PRODUCTS:
            return sorted(text) == sorted(other_text)
        case (Words(text), Value()) if text in _PRODUCTS:
            return same(_product(text), answer)
        case (Value(), Words(text)) if text in _PRODUCTS:
            return same(expected, _product(text))
    return False


def _meaning(answer: Answer) -> Answer:
    """Return what words stand for: a number, the empty set, the real line."""
    if not isinstance(answer, Words):
        return answer
    text = answer.text.lower()
    number = number_of_words(text)
    if number is not None:
        return Value(Number(Fraction(number)), "", str(number))
    return _EMPTY if text in _NO_SOLUTION else REAL_LINE if text in _ALL_NUMBERS else answer


def _product(text: str) -> Value:
    return Value(Product(tuple(map(Symbol, text))), "", " ".join(text))


def _vector(matrix: Matrix) -> tuple[Answer, ...] | None:
    """Return the components of a single column or row of two or more."""
    rows = matrix.rows
    if len(rows) == 1 and len(rows[0]) > 1:
        return rows[0]
    return tuple(row[0] for row in rows) if len(rows) > 1 and len(rows[0]) == 1 else None


def _same_items(left: tuple[Answer, ...], right: tuple[Answer, ...], same: Same) -> bool:
    return len(left) == len(right) and all(map(same, left, right))


def _parts(answer: Answer) -> list[Fraction] | None:
    """Return the positive whole parts of a ratio."""
    if not isinstance(answer, Bracketed) or answer.left not in (":", "time:"):
        return None
    expressions = [item.expression for item in answer.items if isinstance(item, Value)]
    numbers = [exact(expression) for expression in expressions if is_exact(expression)]
    return numbers if len(numbers) == len(answer.items) and all(numbers) else None


def _same_ratio(expected: Bracketed, answer: Bracketed) -> bool:
    """Proportional parts; two times of day are no ratios."""
    one, other = _parts(expected), _parts(answer)
    if one is None or other is None or len(one) != len(other) or expected.left == answer.left == "time:":
        return False
    return all(left * other[0] == right * one[0] for left, right in zip(one, other, strict=True))


def _same_time(expected: Bracketed, answer: Bracketed) -> bool:
    """`9:15 a.m.` for an expected 9:15; which half of the day is asked for must be said."""
    is_time = expected.left == "time:" and answer.left in ("am:", "pm:")
    return is_time and expected.items == answer.items


def _is_ratio_of(value: Value, ratio: Bracketed) -> bool:
    """2/3 for 2:3, and back; not 2 for 2:1, nor a time of day for a number."""
    parts = _parts(ratio)
    if parts is None or len(parts) != 2 or ratio.left != ":" or value.unit or not is_exact(value.expression):
        return False
    quotient = exact(value.expression)
    return quotient.denominator != 1 and quotient == parts[0] / parts[1]
