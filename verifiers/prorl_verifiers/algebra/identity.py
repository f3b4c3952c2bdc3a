"""Identity testing: whether two expressions have the same values, with 60 digits, at fixed points of both signs.

Two different expressions of the reader's size agree at all points only if they were built from these very points.
A value that vanishes is computed again with twice the digits: a true zero shrinks with the rounding error, a small
number stays.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any

from prorl_verifiers.algebra.evaluation import (
    NotExactError,
    NotFiniteError,
    NumericEvaluator,
    exact,
)
from prorl_verifiers.algebra.inspection import contains_infinity, holds_constant, symbols_of
from prorl_verifiers.algebra.tree import (
    Expression,
    UnreadableError,
)

_DIGITS = 60
_TOLERANCE = 1e-40
_SUSPICIOUSLY_SMALL = 1e-40
_SHRUNK = 1e-60
_SHARPER = (4, 8)
_SLACK = 40
"""Digits that may be lost to cancellation."""
_POINTS = 6
_MIN_FINITE_POINTS = 4
_MIN_REAL_POINTS = 2


def is_exact(expression: Expression) -> bool:
    """Tell whether it is a rational number that is cheap to compute."""
    try:
        exact(expression)
    except NotExactError:
        return False
    return True


def are_identical(left: Expression, right: Expression) -> bool:
    """Tell whether both have the same value wherever one of them is a real number.

    Raises:
        UnreadableError: A value cannot be computed here; `TooCostlyError` if it is too large.
        NotFiniteError: One of them has hardly any values.
    """
    if left == right:
        return True
    if contains_infinity(left) or contains_infinity(right):
        return False  # equal ones are equal as written
    if is_exact(left) and is_exact(right):
        return exact(left) == exact(right)
    names = symbols_of(left) | symbols_of(right)
    if not names:
        return _agree(_value(left, {}), _value(right, {})) and _agree_sharply(left, right, {})
    return _agree_at_points(left, right, names) and _agree_sharply(left, right, _first_point(left, right, names))


def _agree_at_points(left: Expression, right: Expression, names: frozenset[str]) -> bool:
    """Compare point by point; where both are not real, as sqrt(x) for negative x, they need not be the same branch."""
    is_complex = holds_constant(left, "i") or holds_constant(right, "i")
    num_left = num_right = num_real = 0
    outside: list[tuple[Any, Any]] = []
    for index in range(_POINTS):
        point = {name: _coordinate(name, index) for name in names}
        one, other = _value_or_none(left, point), _value_or_none(right, point)
        num_left, num_right = num_left + (one is not None), num_right + (other is not None)
        if not is_complex and _is_not_real(one) and _is_not_real(other):
            outside.append((one, other))
            continue
        if not _agree(one, other):
            return False
        num_real += one is not None
    if min(num_left, num_right) < _MIN_FINITE_POINTS:
        raise NotFiniteError("it has hardly any finite values")
    return num_real >= _MIN_REAL_POINTS or all(_agree(one, other) for one, other in outside)


def _first_point(left: Expression, right: Expression, names: frozenset[str]) -> Mapping[str, Fraction]:
    """Return the first test point where both have a value."""
    points = ({name: _coordinate(name, index) for name in names} for index in range(_POINTS))
    return next(
        point
        for point in points
        if _value_or_none(left, point) is not None and _value_or_none(right, point) is not None
    )


def _agree_sharply(left: Expression, right: Expression, point: Mapping[str, Fraction]) -> bool:
    """Tell whether many more digits still show no difference, and no part of a side is too small to show in them.

    Without this 3 would be 3 + 1/2004!, and 1 the cosine of a tiny number. What is lost beside larger terms and shrinks
    with more digits is rounding error, as in sin(pi) + 1.
    """
    lost: list[int | None] = []
    for factor in _SHARPER:
        evaluator = _evaluator(factor * _DIGITS)
        evaluator.forget_lost()
        one, other = (evaluator.value(side, point) for side in (left, right))
        scale = max(abs(one), abs(other))
        if scale > _TOLERANCE and abs(one - other) * evaluator.ten ** (factor * _DIGITS - _SLACK) > scale:
            return False
        if evaluator.lost is None:
            return True
        lost.append(evaluator.lost)
    return lost[0] is None or lost[1] is None or lost[1] < lost[0] - _DIGITS


def _is_not_real(value: Any) -> bool:
    return value is not None and abs(value.imag) > _TOLERANCE * abs(value)


def real_number(expression: Expression) -> Any:
    """Return the value as a real number of many digits, None if it has none, or cannot be computed here."""
    if symbols_of(expression) or contains_infinity(expression):
        return None
    try:
        value = _value(expression, {})
    except (UnreadableError, NotFiniteError):
        return None
    return None if _is_not_real(value) else value.real


def are_proportional(left: Expression, right: Expression, *, positive: bool) -> bool:
    """Tell whether `left` is a real (`positive`: positive) constant times `right`, so that they vanish together."""
    names = symbols_of(left)
    if not names or names != symbols_of(right) or contains_infinity(left) or contains_infinity(right):
        return False
    ratios = []
    for numerator, denominator in zip(values(left, names), values(right, names), strict=True):
        if not numerator or not denominator:
            return False
        ratios.append(numerator / denominator)
    is_constant = all(_agree(ratio, ratios[0]) for ratio in ratios)
    return is_constant and abs(ratios[0].imag) == 0 and (ratios[0].real > 0 or not positive)


def values(expression: Expression, names: frozenset[str]) -> list[Any]:
    """Return the values at the test points, None where there is none; one value if there are no names.

    Raises:
        UnreadableError: A value is too costly to compute.
        NotFiniteError: There are hardly any values.
    """
    if not names:
        return [_value(expression, {})]
    found = [_value_or_none(expression, {name: _coordinate(name, index) for name in names}) for index in range(_POINTS)]
    if sum(value is not None for value in found) < _MIN_FINITE_POINTS:
        raise NotFiniteError("it has hardly any finite values")
    return found


def _value_or_none(expression: Expression, point: Mapping[str, Fraction]) -> Any:
    try:
        return _value(expression, point)
    except NotFiniteError:
        return None


def _value(expression: Expression, symbols: Mapping[str, Fraction]) -> Any:
    """Return the value; one that seems to vanish is computed again and again with twice the digits.

    A true zero shrinks with the rounding error, a small number stays, and so does a small difference of large ones.
    """
    value = _evaluator(_DIGITS).value(expression, symbols)
    if abs(value) >= _SUSPICIOUSLY_SMALL:
        return value
    sharper, sharpest = (_evaluator(factor * _DIGITS).value(expression, symbols) for factor in (2, 4))
    if not sharpest or abs(sharpest) < _SHRUNK * abs(sharper):
        return value * 0
    return _evaluator(_DIGITS).rounded(sharpest)


def _agree(left: Any, right: Any) -> bool:
    if left is None or right is None:
        return left is right
    return bool(abs(left - right) <= _TOLERANCE * max(abs(left), abs(right)))


@lru_cache(maxsize=4)
def _evaluator(digits: int) -> NumericEvaluator:
    return NumericEvaluator(digits)


@lru_cache(maxsize=1024)
def _coordinate(name: str, index: int) -> Fraction:
    """Between 0.25 and 4.25 in size, negative at half of the points, without pattern between symbols."""
    mixed = zlib.crc32(f"{index}:{name}:prorl".encode())
    size = Fraction(mixed % 1_000_003, 250_000) + Fraction(1, 4)
    return -size if (mixed >> 21) + index & 1 else size
