"""Read a model's formula in Python notation without evaluating it: Python's own parser, then a whitelist of nodes.

Text is screened before it is parsed (length, characters, depth of parentheses, digits in a row), so that neither the
parser nor what comes after sees anything large. The result is a tree of `algebra`, whose evaluation is bounded.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Set
from fractions import Fraction

from prorl_verifiers.algebra.tree import (
    Call,
    Constant,
    Expression,
    Number,
    Power,
    Product,
    Quotient,
    Sum,
    Symbol,
    UnreadableError,
    negated,
)

MAX_CHARACTERS = 2000
MAX_PARENTHESES = 30
MAX_OPERATORS = 300
"""Also bounds the depth of the tree, and so every recursion over it."""
_FORMULA = re.compile(r"[0-9A-Za-z+\-*/(). ]+")
_LONG_NUMBER = re.compile(r"[0-9.]{31}")
_LITERAL = re.compile(r"[\[\](),\s0-9A-Za-z_.'\"-]+")
_MAX_LITERAL_CHARACTERS = 8192
FUNCTIONS: Mapping[str, str] = {
    "sqrt": "sqrt", "exp": "exp", "log": "ln", "ln": "ln", "sin": "sin", "cos": "cos", "tan": "tan", "cot": "cot",
    "sec": "sec", "csc": "csc", "asin": "arcsin", "acos": "arccos", "atan": "arctan", "arcsin": "arcsin",
    "arccos": "arccos", "arctan": "arctan", "sinh": "sinh", "cosh": "cosh", "tanh": "tanh", "Abs": "abs", "abs": "abs",
}  # fmt: skip
"""Functions of one argument, by the names that sympy and people give them."""


def read_formula(text: str, *, symbols: Set[str] = frozenset(), with_functions: bool = False) -> Expression:
    """Return the tree of a formula of integers, decimals, + - * / **, the given symbols, and functions where allowed.

    Raises:
        UnreadableError: It is anything else, or larger than any answer needs to be.
    """
    text = text.strip().replace("^", "**")
    if len(text) > MAX_CHARACTERS or not _FORMULA.fullmatch(text) or _LONG_NUMBER.search(text):
        raise UnreadableError("no formula of the whitelist")
    if _depth(text, "(", ")") > MAX_PARENTHESES or sum(map(text.count, "+-*/")) > MAX_OPERATORS:
        raise UnreadableError("too many operators or parentheses")
    try:
        return _converted(ast.parse(text, mode="eval").body, symbols, with_functions)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise UnreadableError(f"no formula: {type(error).__name__}") from error


def _converted(node: ast.expr, symbols: Set[str], with_functions: bool) -> Expression:  # noqa: PLR0911  (one a node)
    match node:
        case ast.Constant(value=int(value)) if not isinstance(value, bool):
            return Number(Fraction(value))
        case ast.Constant(value=float(value)):
            return Number(Fraction(repr(value)))
        case ast.Name(id=name) if name in symbols:
            return Symbol(name)
        case ast.Name(id=("E" | "e" | "pi") as name) if with_functions:
            return Constant(name.lower())
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return negated(_converted(operand, symbols, with_functions))
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _converted(operand, symbols, with_functions)
        case ast.BinOp(left=left, op=operator, right=right):
            return _operation(
                operator, _converted(left, symbols, with_functions), _converted(right, symbols, with_functions)
            )
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if with_functions and name in FUNCTIONS:
            return Call(FUNCTIONS[name], (_converted(argument, symbols, with_functions),))
    raise UnreadableError(f"{type(node).__name__} is not in the whitelist")


def _operation(operator: ast.operator, left: Expression, right: Expression) -> Expression:
    match operator:
        case ast.Add():
            return Sum((*(left.terms if isinstance(left, Sum) else (left,)), right))
        case ast.Sub():
            return Sum((*(left.terms if isinstance(left, Sum) else (left,)), negated(right)))
        case ast.Mult():
            return Product((left, right))
        case ast.Div():
            return Quotient(left, right)
        case ast.Pow():
            return Power(left, right)
    raise UnreadableError(f"{type(operator).__name__} is not in the whitelist")


def read_list(text: str, *, max_depth: int) -> list[object]:
    """Return a Python list of numbers, words and such lists, nested at most `max_depth` deep.

    Raises:
        UnreadableError: It is anything else.
    """
    if len(text) > _MAX_LITERAL_CHARACTERS or not _LITERAL.fullmatch(text) or _depth(text, "[(", "])") > max_depth:
        raise UnreadableError("no list of the whitelist")
    try:
        value = ast.literal_eval(text.strip())
    except (SyntaxError, ValueError, TypeError, RecursionError) as error:
        raise UnreadableError(f"no list: {type(error).__name__}") from error
    if not isinstance(value, list | tuple):
        raise UnreadableError("no list")
    return list(value)


def _depth(text: str, opening: str, closing: str) -> int:
    depth = deepest = 0
    for character in text:
        depth += (character in opening) - (character in closing)
        deepest = max(deepest, depth)
    return deepest
