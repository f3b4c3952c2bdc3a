"""Whether two read answers are the same: shapes part by part, expressions by `identity`, units by their table.

No algebra is done and every value is bounded, so no input makes it slow.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from fractions import Fraction

from prorl_verifiers.algebra.evaluation import contains_infinity, exact, symbols_of
from prorl_verifiers.algebra.identity import (
    are_identical,
    are_proportional,
    differ_clearly,
    is_exact,
    values,
)
from prorl_verifiers.algebra.polynomial_difference import are_different_polynomials
from prorl_verifiers.algebra.tree import (
    Answer,
    Based,
    Bracketed,
    Collection,
    Expression,
    Matrix,
    Number,
    Product,
    Relation,
    Sum,
    Symbol,
    Union,
    Value,
    Words,
    negated,
)
from prorl_verifiers.units import parse_unit

_MAX_ITEMS = 32
_CURRENCIES = frozenset(("$", "euro", "cent"))
_HUNDREDTH = Number(Fraction(1, 100))


class Sameness(StrEnum):
    """What a comparison found."""

    SAME = "same"
    DIFFERENT = "different"
    """Not shown to be the same: another checker may know a convention that this one does not."""
    CONTRADICTORY = "contradictory"
    """Certainly not the same: two numbers, lone symbols or sums of powers that differ, or units that measure
    different things."""


def compare(expected: Answer, answer: Answer) -> Sameness:
    """Compare an answer with the expected one.

    Raises:
        UnreadableError: A value is too costly to compute.
        NotFiniteError: A value is not finite.
    """
    if _same(expected, answer):
        return Sameness.SAME
    # Before `x = ...` is stripped: x = 2 - x and x = 3x - 2 say the same with different right sides.
    if _are_different_polynomials(expected, answer):
        return Sameness.CONTRADICTORY
    expected, answer = _stripped(expected), _stripped(answer)
    return Sameness.CONTRADICTORY if _contradict(expected, answer) else Sameness.DIFFERENT


def check_finite(answer: Answer) -> None:
    """Evaluate every expression of an expected answer once.

    Raises:
        UnreadableError: A value is too costly to compute.
        NotFiniteError: A value is not finite.
    """
    match answer:
        case Value(expression):
            if not contains_infinity(expression) and not is_exact(expression):
                values(expression, symbols_of(expression))
        case Collection(parts) | Union(parts) | Bracketed(_, parts, _) | Relation(parts, _):
            for part in parts:
                check_finite(part)
        case Matrix(rows):
            for row in rows:
                for cell in row:
                    check_finite(cell)


def _same(left: Answer, right: Answer) -> bool:  # noqa: PLR0911, PLR0912  (one case a pair of shapes)
    match left, right:
        case Value(), Value():
            return _same_value(left, right)
        case Relation(), Relation():
            return _same_relation(left, right)
        case (Relation(), _) | (_, Relation()):
            bare_left, bare_right = _stripped(left), _stripped(right)
            if isinstance(bare_left, Relation) or isinstance(bare_right, Relation):
                return False
            return _same(bare_left, bare_right)
        case Collection(items), Collection(others):
            return _same_items(items, others)
        case (Collection((only,)), other) | (other, Collection((only,))):
            return _same(only, other)
        case Union(items), Union(others):
            return _same_items(items, others)
        case Bracketed(), Bracketed():
            has_same_brackets = (left.left, left.right) == (right.left, right.right)
            return has_same_brackets and _same_sequence(left.items, right.items)
        case Matrix(rows), Matrix(others):
            return len(rows) == len(others) and all(
                _same_sequence(row, other) for row, other in zip(rows, others, strict=True)
            )
        case Words(), Words():
            return _same_words(left.text, right.text)
        case (Words(text), Value(Symbol(name), "")) | (Value(Symbol(name), ""), Words(text)):
            return text == name
        case Based(), Based():
            return left == right
        case Based(digits), Value(expression, ""):
            # The expected answer names the base, which the question has named too.
            return is_exact(expression) and exact(expression) >= 0 and digits == str(exact(expression))
    return False


def _stripped(answer: Answer) -> Answer:
    """The right side of `x = ...` where the left side is a lone symbol; other answers as they are."""
    if isinstance(answer, Relation) and answer.operators == ("=",):
        name, value = answer.members
        if isinstance(name, Value) and isinstance(name.expression, Symbol):
            return value
    return answer


def _same_words(left: str, right: str) -> bool:
    """Case matters in abbreviations and names of points, such as AB."""
    if left.isupper() and len(left) <= 4:
        return left == right
    return left.lower() == right.lower()


def _same_sequence(left: Sequence[Answer], right: Sequence[Answer]) -> bool:
    return len(left) == len(right) and all(_same(one, other) for one, other in zip(left, right, strict=True))


def _same_items(left: Sequence[Answer], right: Sequence[Answer]) -> bool:
    """The same items in any order; each is matched once."""
    if len(left) != len(right) or len(left) > _MAX_ITEMS:
        return False
    unmatched = list(right)
    for item in left:
        match = next((other for other in unmatched if _same(item, other)), None)
        if match is None:
            return False
        unmatched.remove(match)
    return True


def _same_relation(left: Relation, right: Relation) -> bool:
    if _same_sequence(left.members, right.members) and left.operators == right.operators:
        return True
    if len(left.members) != 2 or left.operators != right.operators:
        return False
    operator = left.operators[0]
    if operator in ("=", "!=") and _same_sequence(left.members, right.members[::-1]):
        return True
    members = (*left.members, *right.members)
    if not all(isinstance(member, Value) and not member.unit for member in members):
        return False
    first, second, third, fourth = (member.expression for member in members if isinstance(member, Value))
    left_side, right_side = Sum((first, negated(second))), Sum((third, negated(fourth)))
    return are_proportional(left_side, right_side, positive=operator[0] == "<")


def _same_value(left: Value, right: Value) -> bool:
    """`left` is the expected one: it decides what a missing unit means."""
    if left.unit == right.unit or not right.unit:
        return are_identical(left.expression, right.expression)
    if right.unit == "%":
        # 50% for an expected 50 (of "how many percent"), or for an expected 1/2. Not 0.5% for an expected 0.5.
        as_fraction = Product((right.expression, _HUNDREDTH))
        if are_identical(left.expression, as_fraction):
            return not left.unit
        return not left.unit and are_identical(left.expression, right.expression) and _exceeds_one(left.expression)
    if not left.unit:
        return are_identical(left.expression, right.expression)
    factor = _conversion(left.unit, right.unit)
    return factor is not None and are_identical(left.expression, Product((right.expression, factor)))


def _exceeds_one(expression: Expression) -> bool:
    return is_exact(expression) and abs(exact(expression)) > 1


def _conversion(expected: str, given: str) -> Expression | None:
    """The factor from one unit to another of the same dimension."""
    wanted, got = parse_unit(expected), parse_unit(given)
    if wanted is None or got is None or wanted.dimension != got.dimension or wanted.offset or got.offset:
        return None
    return Number(got.factor / wanted.factor)


def _contradict(expected: Answer, answer: Answer) -> bool:  # noqa: PLR0911  (one case a pair of shapes)
    """Whether two answers that are not the same certainly differ."""
    match expected, answer:
        case Value(), Value():
            return _values_contradict(expected, answer)
        case (Based(), Based() | Value()) | (Value(), Based()):
            return True
        case _, Relation(members, operators) if set(operators) == {"="}:
            return any(map(_contradict_as_numbers, members, members[1:]))  # 41 = 42 is no way to say 42
        case Bracketed(items=items), Bracketed(items=others):
            if not (_is_plain(expected) and _is_plain(answer)):
                return False
            return len(items) != len(others) or any(map(_contradict, items, others))
        case Collection(items), Collection(others) if _is_plain(expected) and _is_plain(answer):
            if len(items) != len(others):
                return True
            return any(map(_contradict, sorted(items, key=_plain_value), sorted(others, key=_plain_value)))
    # One number against several.
    return _is_plain(expected) and _is_plain(answer)


def _are_different_polynomials(expected: Answer, answer: Answer) -> bool:
    match expected, answer:
        case Value(left, ""), Value(right, ""):
            return are_different_polynomials(left, right)
    return False


def _contradict_as_numbers(left: Answer, right: Answer) -> bool:
    return isinstance(left, Value) and isinstance(right, Value) and _is_plain(left) and _contradict(left, right)


def _is_plain(answer: Answer) -> bool:
    """Whether it is a rational number without unit, or a flat list, set or tuple of two or more of them."""
    match answer:
        case Value(expression, unit):
            return not unit and not contains_infinity(expression) and is_exact(expression)
        case Bracketed(left=":"):
            return False  # a ratio is a number as well
        case Collection(items) | Bracketed(items=items):
            return len(items) > 1 and all(isinstance(item, Value) and _is_plain(item) for item in items)
    return False


def _plain_value(answer: Answer) -> Fraction:
    assert isinstance(answer, Value)
    return exact(answer.expression)


def _values_contradict(expected: Value, answer: Value) -> bool:
    units = {expected.unit, answer.unit} - {""}
    if len(units) == 2:  # counted things, such as students and people, may be the same
        return all(unit in _CURRENCIES or parse_unit(unit) is not None for unit in units)
    if units:
        return False
    if isinstance(expected.expression, Symbol) and isinstance(answer.expression, Symbol):
        return True
    return differ_clearly(expected.expression, answer.expression)
