"""What the reader makes of an answer: expressions, and the shapes that answers have around them.

Nothing here computes: a tree of hostile size costs only its nodes, whose number the tokenizer bounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


class UnreadableError(Exception):
    """The text is outside the reader's grammar, ambiguous, or too costly to evaluate. The message says which."""


@dataclass(frozen=True, slots=True)
class Number:
    """A literal; decimals are exact."""

    value: Fraction


@dataclass(frozen=True, slots=True)
class Symbol:
    """A variable, its subscript included: `x`, `a_{n+1}`."""

    name: str


@dataclass(frozen=True, slots=True)
class Constant:
    """`pi`, `e`, `i` or `infinity`."""

    name: str


@dataclass(frozen=True, slots=True)
class Sum:
    """Two or more terms."""

    terms: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Product:
    """Two or more factors."""

    factors: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Quotient:
    """`numerator / denominator`."""

    numerator: Expression
    denominator: Expression


@dataclass(frozen=True, slots=True)
class Power:
    """`base ^ exponent`."""

    base: Expression
    exponent: Expression


@dataclass(frozen=True, slots=True)
class Call:
    """A known function of `evaluation.FUNCTIONS` with its arguments."""

    function: str
    arguments: tuple[Expression, ...]


Expression = Number | Symbol | Constant | Sum | Product | Quotient | Power | Call

MINUS_ONE = Number(Fraction(-1))


def negated(expression: Expression) -> Expression:
    """`-expression`."""
    if isinstance(expression, Number):
        return Number(-expression.value)
    return Product((MINUS_ONE, expression))


@dataclass(frozen=True, slots=True)
class Value:
    """An expression with the unit that stood beside it ("" if none, "%" for percent)."""

    expression: Expression
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Words:
    """An answer in words, lower case, white space normalised."""

    text: str


@dataclass(frozen=True, slots=True)
class Based:
    """Digits with the base they are written in, such as 101_2."""

    digits: str
    base: int


@dataclass(frozen=True, slots=True)
class Collection:
    """Several answers in any order: a set, or a list without brackets."""

    items: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Bracketed:
    """A tuple or interval, or with colons for brackets a ratio or time: order and brackets count."""

    left: str
    items: tuple[Answer, ...]
    right: str


@dataclass(frozen=True, slots=True)
class Union:
    """Parts joined by a union sign, in any order."""

    parts: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of equal length."""

    rows: tuple[tuple[Answer, ...], ...]


@dataclass(frozen=True, slots=True)
class Relation:
    """Members with an operator between each two: `=`, `!=`, `<`, `<=`; larger-than signs are turned around."""

    members: tuple[Answer, ...]
    operators: tuple[str, ...]


Answer = Value | Words | Based | Collection | Bracketed | Union | Matrix | Relation
