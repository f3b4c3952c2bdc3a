"""Judges of our own for reasoning-gym tasks whose scorers evaluate the model's answer or pay for wrong ones.

The answer is read by a whitelist (`formulas`) and the score computed from what was read. Full score is what the
library's scorer means by it; partial score for the right content in another form is the library's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from prorl_verifiers.algebra.evaluation import NotExactError, NotFiniteError, NumericEvaluator, exact
from prorl_verifiers.algebra.polynomials import expand, is_expanded
from prorl_verifiers.algebra.tree import (
    Expression,
    Number,
    Product,
    Quotient,
    Sum,
    UnreadableError,
)
from prorl_verifiers.logic.formulas import read_formula, read_list
from prorl_verifiers.logic.readings import READINGS

Repair = Callable[[str, Mapping[str, Any]], float]
"""The score of an answer for an entry.

Raises KeyError, TypeError or ValueError for a broken entry and UnreadableError for an answer off the whitelist."""

_WHOLE = r"(0|-?[1-9][0-9]{0,30})"
_FRACTION = re.compile(rf"\\[dt]?frac\{{{_WHOLE}\}}\{{{_WHOLE}\}}|{_WHOLE}\s*/\s*{_WHOLE}")
_DELIMITED = re.compile(r"\$\$(.*)\$\$|\$(.*)\$|\\\((.*)\\\)|\\\[(.*)\\\]", re.DOTALL)
_LIST_SCORE = 0.1
_BOARD_LIST_SCORE = 0.5
_INTEGRATION_CONSTANT = "C"
_POINTS = (Fraction(137, 100), Fraction(-73, 100), Fraction(291, 100), Fraction(-211, 100), Fraction(47, 100))
_TOLERANCE = 1e-25
_MIN_FINITE_POINTS = 3


def numbers_to_target(answer: str, entry: Mapping[str, Any]) -> float:
    """countdown, puzzle24: an expression of exactly the given numbers that has the target's value."""
    metadata = entry["metadata"]
    target = Fraction(str(metadata.get("target", 24)))
    given = sorted(Fraction(str(number)) for number in metadata["numbers"])
    expression = read_formula(answer)
    used = _numbers_used(expression)
    try:
        return float(sorted(used) == given and exact(expression) == target)
    except (NotExactError, NotFiniteError):
        return 0.0


def _numbers_used(expression: Expression) -> list[Fraction]:
    match expression:
        case Number(value):
            return [abs(value)]
        case Product((Number(value), operand)) if value == -1:
            return _numbers_used(operand)
        case Sum(parts) | Product(parts):
            return [number for part in parts for number in _numbers_used(part)]
        case Quotient(left, right):
            return _numbers_used(left) + _numbers_used(right)
    raise UnreadableError("only + - * / and parentheses are allowed")


def expanded_polynomial(answer: str, entry: Mapping[str, Any]) -> float:
    """polynomial_multiplication: the same polynomial, multiplied out."""
    symbols = frozenset(str(name) for name in entry["metadata"]["variables"])
    expected = _of_entry(lambda: expand(read_formula(str(entry["answer"]), symbols=symbols)))
    read = read_formula(answer, symbols=symbols)
    return float(is_expanded(read) and expand(read) == expected)


def antiderivative(answer: str, entry: Mapping[str, Any]) -> float:
    """simple_integration, intermediate_integration: the derivative of the answer is the integrand."""
    variable = str(entry["metadata"]["variable"])
    integrand = _of_entry(
        lambda: read_formula(str(entry["metadata"]["integrand"]), symbols={variable}, with_functions=True)
    )
    read = read_formula(answer, symbols={variable, _INTEGRATION_CONSTANT}, with_functions=True)
    evaluator = NumericEvaluator(120)
    finite = 0
    for coordinate in _POINTS:
        point = {variable: coordinate, _INTEGRATION_CONSTANT: Fraction(5, 7)}
        try:
            wanted = evaluator.value(integrand, point)
            got = evaluator.derivative(read, variable, point)
        except NotFiniteError:
            continue
        if not abs(got - wanted) <= _TOLERANCE * max(1, abs(wanted)):
            return 0.0
        finite += 1
    return float(finite >= _MIN_FINITE_POINTS)


def matrix_lines(answer: str, entry: Mapping[str, Any]) -> float:
    """binary_matrix: the rows as lines; a list of lists earns the library's part."""
    expected = str(entry["answer"])
    if _same_lines(answer, expected):
        return 1.0
    return _LIST_SCORE * (_rows_as_lines(answer) == expected)


def queens(answer: str, entry: Mapping[str, Any]) -> float:
    """n_queens: one of the valid boards; a list of lists earns the library's part."""
    valid = [str(board) for board in entry["metadata"]["valid_answers"]]
    if any(_same_lines(answer, board) for board in valid):
        return 1.0
    return _BOARD_LIST_SCORE * (_rows_as_lines(answer) in valid)


def spiral(answer: str, entry: Mapping[str, Any]) -> float:
    """spiral_matrix: the numbers between spaces; a list earns the library's part."""
    expected = str(entry["answer"]).split()
    if answer.split() == expected:
        return 1.0
    return _LIST_SCORE * ([str(item) for item in read_list(answer, max_depth=1)] == expected)


def inserted_string(answer: str, entry: Mapping[str, Any]) -> float:
    """string_insertion: the string; a list of its characters earns the library's part."""
    expected = str(entry["answer"])
    if answer == expected:
        return 1.0
    return _LIST_SCORE * ("".join(str(item) for item in read_list(answer, max_depth=1)) == expected)


def json_value(answer: str, entry: Mapping[str, Any]) -> float:
    """codeio: the same JSON value; numbers alike as JSON writes them (1 is not true, but 1.0 is 1)."""
    expected = str(entry["answer"]).strip()
    if answer == expected:
        return 1.0
    wanted = json.loads(expected)
    try:
        given = json.loads(answer)
    except (ValueError, RecursionError) as error:
        raise UnreadableError("no JSON value") from error
    return float(_same_json(wanted, given))


def number_list(answer: str, entry: Mapping[str, Any]) -> float:
    """number_sorting: the same numbers in the same order, quoted or not."""
    expected = [Fraction(str(number)) for number in _of_entry(lambda: read_list(str(entry["answer"]), max_depth=1))]
    try:
        given = [Fraction(str(number)) for number in read_list(answer, max_depth=1)]
    except (ValueError, ZeroDivisionError) as error:
        raise UnreadableError("no list of numbers") from error
    return float(given == expected)


def fraction(answer: str, entry: Mapping[str, Any]) -> float:
    """fraction_simplification: numerator and denominator in lowest terms, as LaTeX or with a slash."""
    metadata = entry["metadata"]
    wanted = (int(metadata["simplified_numerator"]), int(metadata["simplified_denominator"]))
    delimited = _DELIMITED.fullmatch(answer)
    inner = next(part for part in delimited.groups() if part is not None) if delimited else answer
    given = _FRACTION.fullmatch(inner.strip())
    if given is None:
        raise UnreadableError("no fraction")
    return float(tuple(int(part) for part in given.groups() if part is not None) == wanted)


def assignments(answer: str, entry: Mapping[str, Any]) -> float:
    """knights_knaves: each person with the right kind, in any order, and nothing else."""
    return float(_clauses(answer) == _clauses(str(entry["answer"])))


def _clauses(text: str) -> frozenset[str]:
    parts = re.split(r",?\s+and\s+|,", text.strip().removesuffix(".").lower())
    return frozenset(" ".join(word for word in part.split() if word not in ("a", "an")) for part in parts)


def _same_json(left: object, right: object) -> bool:
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same_json(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(_same_json(one, other) for one, other in zip(left, right, strict=True))
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, int | float) and isinstance(right, int | float):
        return left == right or _are_near(left, right)
    return type(left) is type(right) and left == right


def _are_near(left: float, right: float) -> bool:
    """Return whether two numbers, of which one is a float, agree in nine digits."""
    if isinstance(left, int) and isinstance(right, int):
        return False
    try:
        return abs(left - right) <= 1e-9 * abs(left)
    except OverflowError:  # a whole number beyond all floats
        return False


def _of_entry(read: Callable[[], Any]) -> Any:
    """Return what an entry's own text reads as; an unreadable one is a broken entry."""
    try:
        return read()
    except UnreadableError as error:
        raise ValueError(str(error)) from error


def _same_lines(answer: str, expected: str) -> bool:
    return [line.split() for line in answer.strip().splitlines()] == [line.split() for line in expected.splitlines()]


def _rows_as_lines(answer: str) -> str:
    rows = read_list(answer, max_depth=2)
    return "\n".join(" ".join(str(cell) for cell in row) for row in rows if isinstance(row, list | tuple))


REPAIRS: Mapping[str, Repair] = {
    **READINGS,
    "binary_matrix": matrix_lines,
    "codeio": json_value,
    "countdown": numbers_to_target,
    "fraction_simplification": fraction,
    "game_of_life": json_value,
    "intermediate_integration": antiderivative,
    "knights_knaves": assignments,
    "n_queens": queens,
    "number_sorting": number_list,
    "polynomial_multiplication": expanded_polynomial,
    "puzzle24": numbers_to_target,
    "simple_integration": antiderivative,
    "spiral_matrix": spiral,
    "string_insertion": inserted_string,
}
"""By task."""
