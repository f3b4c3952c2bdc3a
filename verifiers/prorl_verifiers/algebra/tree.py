"""What the reader makes of an answer: expressions, and the shapes that answers have around them.

Nothing here computes: a tree of hostile size costs only its nodes, whose number the tokenizer bounds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction


class UnreadableError(Exception):
    """The text is outside the reader's grammar, ambiguous, or too costly to evaluate. The message says which."""


class TooCostlyError(UnreadableError):
    """The text is read, but its value is too large or too slow to compute."""


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


@dataclass(frozen=True, slots=True)
class Foreign:
    """One formula of harmless LaTeX that this reader does not read (a sum, an integral); another one may."""

    text: str


Expression = Number | Symbol | Constant | Sum | Product | Quotient | Power | Call | Foreign

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
    text: str = field(default="", compare=False)
    """The expression as written, normalised."""


@dataclass(frozen=True, slots=True)
class Words:
    """An answer in words, white space normalised."""

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
    joint: str = field(default="", compare=False)
    """`and` or `or` where such a word joins the items, `set` where braces do."""


@dataclass(frozen=True, slots=True)
class Bracketed:
    """A tuple or interval: order and brackets count. With colons for brackets a ratio or time (`am:`, `pm:`), with
    dots a list that goes on (`1, 2, ..., n`)."""

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


@dataclass(frozen=True, slots=True)
class Family:
    """An answer for every whole value of a parameter, such as `k\\pi, k \\in \\mathbb{Z}`."""

    answer: Answer
    parameter: str
    domain: str
    """`Z`, or `N` for natural numbers."""


@dataclass(frozen=True, slots=True)
class Congruence:
    """`name \\equiv residues \\pmod{modulus}`; the name may be empty."""

    name: str
    residues: tuple[Answer, ...]
    modulus: int


@dataclass(frozen=True, slots=True)
class Cases:
    """A function by cases: pairs of a value and its condition, in any order."""

    rows: tuple[tuple[Answer, Answer], ...]


@dataclass(frozen=True, slots=True)
class Labelled:
    """An option's letter with the option's text: `\\textbf{(B)}\\ 42`."""

    letter: str
    answer: Answer


Answer = (
    Value | Words | Based | Collection | Bracketed | Union | Matrix | Relation | Family | Congruence | Cases | Labelled
)


def foreign_formulas(answer: Answer) -> list[str]:
    """Return the formulas in an answer that are kept as text."""
    match answer:
        case Value(Foreign(), _, text):
            return [text]
        case Collection(parts) | Union(parts) | Bracketed(_, parts, _) | Relation(parts, _) | Congruence(_, parts, _):
            return [formula for part in parts for formula in foreign_formulas(part)]
        case Matrix(rows) | Cases(rows):
            return [formula for row in rows for cell in row for formula in foreign_formulas(cell)]
        case Family(inner) | Labelled(_, inner):
            return foreign_formulas(inner)
    return []
