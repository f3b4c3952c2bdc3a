"""Whether two values are the same: expressions by `identity`, units by their table, roundings by their digits."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

from prorl_verifiers.algebra.evaluation import NotExactError, exact
from prorl_verifiers.algebra.identity import are_identical, is_exact, real_number
from prorl_verifiers.algebra.inspection import contains_infinity, holds_constant, symbols_of
from prorl_verifiers.algebra.tree import (
    Constant,
    Expression,
    Foreign,
    Number,
    Power,
    Product,
    Quotient,
    Sum,
    Symbol,
    TooCostlyError,
    Value,
)
from prorl_verifiers.algebra.unit_suffix import UNKNOWN
from prorl_verifiers.units import parse_unit

Ask = Callable[[str, str], bool]
"""Asks another checker whether two formulas are the same, the expected one first."""
_HUNDREDTH = Number(Fraction(1, 100))
_HALF_TURN_DEGREES = Number(Fraction(180))
_DECIMAL = re.compile(r"-?\s*[0-9]*\.([0-9]{6,40})")
_MIN_DIGITS = 6
_SCALE_OR_UNIT = frozenset(("K", "M", "B", "G", "T"))
"""42K is kelvin where kelvin are expected, and else may be thousands."""
_CURRENCIES = frozenset(("$", "euro", "cent", "pound sterling"))
_CENTS = {("$", "cent"): _HUNDREDTH, ("cent", "$"): Number(Fraction(100))}


def same_value(expected: Value, answer: Value, ask: Ask) -> bool:  # noqa: PLR0911  (one case a pair of units)
    """Return the expected one decides what a missing unit means.

    Raises:
        UnreadableError: A value cannot be computed, and the other checker is of no help.
        NotFiniteError: One has no finite value.
    """
    wanted, got = expected.unit, answer.unit
    if (got.startswith(UNKNOWN) and got != wanted) or (not wanted and got in _SCALE_OR_UNIT):
        return False
    if wanted == got:
        return _same(expected, answer, ask)
    if "%" in (wanted, got) and "" in (wanted, got):
        return _same_percentage(expected, answer, ask)
    if "deg" in (wanted, got) and "" in (wanted, got):
        return _same(expected, answer, ask) or _same_angle(expected, answer)
    if not wanted or not got:
        return _same(expected, answer, ask)
    factor = _conversion(wanted, got)
    if factor is None:
        return _are_both_counted(wanted, got) and _same(expected, answer, ask)
    return are_identical(expected.expression, Product((answer.expression, factor)))


def same_expression(left: Expression, right: Expression) -> bool:
    """Tell whether both are identical, also where only the exponents of huge powers can be computed.

    Raises:
        UnreadableError: A value cannot be computed.
        NotFiniteError: One has no finite value.
    """
    try:
        return are_identical(left, right)
    except TooCostlyError:
        match left, right:
            case Power(base, exponent), Power(other_base, other_exponent):
                if same_expression(base, other_base) and same_expression(exponent, other_exponent):
                    return True
        raise


def _same(expected: Value, answer: Value, ask: Ask) -> bool:
    left, right = expected.expression, answer.expression
    if isinstance(left, Foreign) or isinstance(right, Foreign):
        return left == right or ask(expected.text, answer.text)
    if same_expression(left, right):
        return True
    left, right = _with_one_constant(left), _with_one_constant(right)
    if (left, right) != (expected.expression, answer.expression) and same_expression(left, right):
        return True
    return _is_rounding(expected, answer) or _is_rounding(answer, expected)


def _with_one_constant(expression: Expression) -> Expression:
    """`... + C` and `... + c` alike: the constant of an integration, added as the last term."""
    match expression:
        case Sum((*terms, Symbol("C" | "c"))) if not {"C", "c"} & symbols_of(Sum(tuple(terms))):
            return Sum((*terms, Symbol("C")))
    return expression


def _is_rounding(rounded: Value, precise: Value) -> bool:
    """Tell whether one is a decimal of six digits or more that rounds the other, which has no such decimal itself."""
    written = _DECIMAL.fullmatch(rounded.text.strip())
    if written is None or not is_exact(rounded.expression) or not _has_no_decimal(precise.expression):
        return False
    if len(rounded.text.replace(".", "").lstrip("-0 ")) < _MIN_DIGITS:
        return False
    value = real_number(precise.expression)
    if value is None:
        return False
    literal = real_number(rounded.expression)
    return bool(2 * abs(value - literal) * 10 ** len(written.group(1)) <= 1)


def _has_no_decimal(expression: Expression) -> bool:
    if symbols_of(expression) or contains_infinity(expression):
        return False
    try:
        denominator = exact(expression).denominator
    except NotExactError:
        return True
    for factor in (2, 5):
        while denominator % factor == 0:
            denominator //= factor
    return denominator != 1


def _same_percentage(expected: Value, answer: Value, ask: Ask) -> bool:
    """50% for an expected 50 (of "how many percent"), or for an expected 1/2, and back. Not 0.5% for 0.5."""
    if expected.unit:
        as_fraction = Product((expected.expression, _HUNDREDTH))
        return _same(expected, answer, ask) or same_expression(as_fraction, answer.expression)
    if same_expression(expected.expression, Product((answer.expression, _HUNDREDTH))):
        return True
    return _exceeds_one(expected.expression) and same_expression(expected.expression, answer.expression)


def _exceeds_one(expression: Expression) -> bool:
    return is_exact(expression) and abs(exact(expression)) > 1


def _same_angle(expected: Value, answer: Value) -> bool:
    """30 degrees for a sixth of pi, and back, where pi is written."""
    degrees, radians = (expected, answer) if expected.unit == "deg" else (answer, expected)
    if not holds_constant(radians.expression, "pi"):
        return False
    factor = Quotient(Constant("pi"), _HALF_TURN_DEGREES)
    return are_identical(Product((degrees.expression, factor)), radians.expression)


def _conversion(expected: str, given: str) -> Expression | None:
    """Return the factor from one unit to another of the same dimension."""
    if (expected, given) in _CENTS:
        return _CENTS[expected, given]
    wanted, got = parse_unit(expected), parse_unit(given)
    if wanted is None or got is None or not wanted.can_be(got) or wanted.offset or got.offset:
        return None
    return Number(got.factor / wanted.factor)


def _are_both_counted(expected: str, given: str) -> bool:
    """Students and people may be the same; a unit or a currency is neither."""
    return all(parse_unit(unit) is None and unit not in _CURRENCIES for unit in (expected, given))
