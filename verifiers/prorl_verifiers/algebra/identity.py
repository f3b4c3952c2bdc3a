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
    contains_infinity,
    exact,
    symbols_of,
)
from prorl_verifiers.algebra.tree import Call, Expression, Power, Product, Quotient, Sum

_DIGITS = 60
_TOLERANCE = 1e-40
_SUSPICIOUSLY_SMALL = 1e-40
_ROUNDING_ONLY = 1e-100
_ROUNDED = Fraction(1, 10**5)
_POINTS = 6
_MIN_FINITE_POINTS = 4


def is_exact(expression: Expression) -> bool:
    """Whether it is a rational number that is cheap to compute."""
    try:
        exact(expression)
    except NotExactError:
        return False
    return True


def are_identical(left: Expression, right: Expression) -> bool:
    """Whether both have the same value wherever they have one.

    Raises:
        UnreadableError: A value is too costly to compute.
        NotFiniteError: One of them has hardly any values.
    """
    if left == right:
        return True
    if contains_infinity(left) or contains_infinity(right):
        return False  # equal ones are equal as written
    if is_exact(left) and is_exact(right):
        return exact(left) == exact(right)
    names = symbols_of(left) | symbols_of(right)
    pairs = zip(values(left, names), values(right, names), strict=True)
    return all(_agree(one, other) for one, other in pairs)


def are_proportional(left: Expression, right: Expression, *, positive: bool) -> bool:
    """Whether `left` is a real (`positive`: positive) constant times `right`, so that they vanish together."""
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


def differ_clearly(left: Expression, right: Expression) -> bool:
    """Whether both are numbers that no rounding explains: further apart than one part in 100,000 of the left one.

    Raises:
        UnreadableError: A value is too costly to compute.
        NotFiniteError: One of them has no finite value.
    """
    if any(symbols_of(side) or contains_infinity(side) or _has_open_logarithm(side) for side in (left, right)):
        return False
    if is_exact(left) and is_exact(right):
        return abs(exact(left) - exact(right)) > _ROUNDED * abs(exact(left))
    (wanted,), (got,) = values(left, frozenset()), values(right, frozenset())
    return bool(abs(wanted - got) > float(_ROUNDED) * abs(wanted))


def _has_open_logarithm(expression: Expression) -> bool:
    """Whether it holds a `log` without base, which may be the natural or the decimal one."""
    match expression:
        case Call("log", (_,)):
            return True
        case Sum(parts) | Product(parts) | Call(_, parts):
            return any(map(_has_open_logarithm, parts))
        case Quotient(left, right) | Power(left, right):
            return _has_open_logarithm(left) or _has_open_logarithm(right)
    return False


def values(expression: Expression, names: frozenset[str]) -> list[Any]:
    """The values at the test points, None where there is none; one value if there are no names.

    Raises:
        UnreadableError: A value is too costly to compute.
        NotFiniteError: There are hardly any values.
    """
    if not names:
        return [_value(expression, {})]
    found: list[Any] = []
    for index in range(_POINTS):
        try:
            found.append(_value(expression, {name: _coordinate(name, index) for name in names}))
        except NotFiniteError:
            found.append(None)
    if sum(value is not None for value in found) < _MIN_FINITE_POINTS:
        raise NotFiniteError("it has hardly any finite values")
    return found


def _value(expression: Expression, symbols: Mapping[str, Fraction]) -> Any:
    value = _evaluator(_DIGITS).value(expression, symbols)
    if abs(value) < _SUSPICIOUSLY_SMALL and abs(_evaluator(2 * _DIGITS).value(expression, symbols)) < _ROUNDING_ONLY:
        return value * 0
    return value


def _agree(left: Any, right: Any) -> bool:
    if left is None or right is None:
        return left is right
    return bool(abs(left - right) <= _TOLERANCE * max(abs(left), abs(right)))


@lru_cache(maxsize=2)
def _evaluator(digits: int) -> NumericEvaluator:
    return NumericEvaluator(digits)


@lru_cache(maxsize=1024)
def _coordinate(name: str, index: int) -> Fraction:
    """Between 0.25 and 4.25 in size, negative at half of the points, without pattern between symbols."""
    mixed = zlib.crc32(f"{index}:{name}:prorl".encode())
    size = Fraction(mixed % 1_000_003, 250_000) + Fraction(1, 4)
    return -size if (mixed >> 21) + index & 1 else size
