r"""Answers for every whole value of a parameter: `k\pi, k\in\mathbb{Z}`, whatever the parameter is called.

Two such values are the same family also where one parameter counts from elsewhere: a + bk and a' + bk, where a - a' is
a multiple of b.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

from prorl_verifiers.algebra.evaluation import NotFiniteError
from prorl_verifiers.algebra.identity import are_identical, real_number
from prorl_verifiers.algebra.inspection import holds_constant, symbols_of
from prorl_verifiers.algebra.solution_sets import is_assignment
from prorl_verifiers.algebra.tree import (
    Answer,
    Bracketed,
    Call,
    Collection,
    Expression,
    Family,
    Matrix,
    Number,
    Power,
    Product,
    Quotient,
    Relation,
    Sum,
    Symbol,
    Union,
    UnreadableError,
    Value,
    negated,
)

Same = Callable[[Answer, Answer], bool]
_ROUNDING = 1e-30
_INTEGER_LETTERS = frozenset("jklmnt")


def same_family(left: Answer, right: Answer, same: Same) -> bool:
    """Tell whether both are the same family.

    Where only one side declares its parameter, the other's is the one left.
    """
    if isinstance(right, Family) and right.domain != (left.domain if isinstance(left, Family) else "Z"):
        return False
    if isinstance(left, Family) or isinstance(right, Family):
        first, second = _parameter(left, right), _parameter(right, left)
        inner = (
            left.answer if isinstance(left, Family) else left,
            right.answer if isinstance(right, Family) else right,
        )
        if not first or not second:
            return False
        renamed = _renamed(inner[1], second, first)
        is_family = isinstance(left, Family) and left.domain == "Z"
        return same(inner[0], renamed) or (is_family and _is_shifted(inner[0], renamed, first))
    if not isinstance(left, Value) or not isinstance(right, Value) or left.unit or right.unit:
        return False
    return _same_multiples_of_pi(left.expression, right.expression)


def _same_multiples_of_pi(left: Expression, right: Expression) -> bool:
    """`k\\pi` and `n\\pi`, which need no declaration. Where nothing is declared, (n-2) pi may be a sum of angles: the
    letter may have another name, but must not count from elsewhere."""
    names, others = symbols_of(left), symbols_of(right)
    if len(names) != 1 or len(others) != 1 or names == others or not (names | others) <= _INTEGER_LETTERS:
        return False
    (name,), (other,) = names, others
    if not holds_constant(left, "pi") or not holds_constant(right, "pi") or _start_and_step(left, name) is None:
        return False
    return are_identical(left, _replaced(right, other, Symbol(name)))


def _parameter(side: Answer, other: Answer) -> str:
    """Return the declared parameter.

    Else the one letter for whole numbers that the other side does not use as a variable.
    """
    if isinstance(side, Family):
        return side.parameter
    assert isinstance(other, Family)
    letters = _symbols(side) - (_symbols(other.answer) - {other.parameter})
    return next(iter(letters)) if len(letters) == 1 and letters <= _INTEGER_LETTERS else ""


def _symbols(answer: Answer) -> frozenset[str]:
    match answer:
        case Value(expression):
            return symbols_of(expression)
        case Collection(parts) | Union(parts) | Bracketed(_, parts, _) | Relation(parts, _):
            return frozenset().union(*map(_symbols, parts))
        case Matrix(rows):
            return frozenset().union(*(_symbols(cell) for row in rows for cell in row))
    return frozenset()


def _renamed(answer: Answer, old: str, new: str) -> Answer:  # noqa: PLR0911  (one case a shape)
    if old == new:
        return answer
    match answer:
        case Value(expression, unit, text):
            return Value(_replaced(expression, old, Symbol(new)), unit, text)
        case Collection(parts, joint):
            return Collection(tuple(_renamed(part, old, new) for part in parts), joint)
        case Union(parts):
            return Union(tuple(_renamed(part, old, new) for part in parts))
        case Bracketed(opening, parts, closing):
            return Bracketed(opening, tuple(_renamed(part, old, new) for part in parts), closing)
        case Relation(parts, operators):
            return Relation(tuple(_renamed(part, old, new) for part in parts), operators)
    return answer


def _replaced(expression: Expression, name: str, by: Expression) -> Expression:  # noqa: PLR0911  (one a node)
    match expression:
        case Symbol(own):
            return by if own == name else expression
        case Sum(terms):
            return Sum(tuple(_replaced(term, name, by) for term in terms))
        case Product(factors):
            return Product(tuple(_replaced(factor, name, by) for factor in factors))
        case Quotient(upper, lower):
            return Quotient(_replaced(upper, name, by), _replaced(lower, name, by))
        case Power(base, exponent):
            return Power(_replaced(base, name, by), _replaced(exponent, name, by))
        case Call(function, arguments):
            return Call(function, tuple(_replaced(argument, name, by) for argument in arguments))
    return expression


def _is_shifted(left: Answer, right: Answer, parameter: str) -> bool:
    """Tell whether the values are `a + bk` and `a' + bk` (or `a' - bk`) of the same numbers."""
    left, right = _bare(left), _bare(right)
    if not isinstance(left, Value) or not isinstance(right, Value) or left.unit != right.unit:
        return False
    return _are_shifted(left.expression, right.expression, parameter)


def _bare(answer: Answer) -> Answer:
    if isinstance(answer, Relation) and is_assignment(answer):
        return answer.members[1]
    return answer


def _are_shifted(left: Expression, right: Expression, parameter: str) -> bool:
    try:
        one, other = _start_and_step(left, parameter), _start_and_step(right, parameter)
    except (UnreadableError, NotFiniteError):
        return False
    if one is None or other is None:
        return False
    ratio = real_number(Quotient(one[1], other[1]))
    shift = real_number(Quotient(Sum((one[0], negated(other[0]))), one[1]))
    if ratio is None or shift is None:
        return False
    is_same_step = abs(abs(ratio) - 1) < _ROUNDING
    return bool(is_same_step and abs(shift - round(shift)) < _ROUNDING)


def _start_and_step(expression: Expression, parameter: str) -> tuple[Expression, Expression] | None:
    """Return `a` and `b` of `a + bk`, None if it is no such sum."""
    at = [_replaced(expression, parameter, Number(Fraction(index))) for index in range(4)]
    steps = [Sum((upper, negated(lower))) for lower, upper in pairwise(at)]
    is_linear = are_identical(steps[0], steps[1]) and are_identical(steps[1], steps[2])
    if not is_linear or symbols_of(at[0]) or real_number(steps[0]) in (None, 0):
        return None
    return at[0], steps[0]
