"""propositional_logic: whether a formula follows from premises and says something that none of them says.

Formulas have capital letters, ¬ ∧ ∨ → ↔ and parentheses. As in the library, ↔ binds weakest, then →, ∨, ∧, and chains
group to the left; ¬ binds tightest. Anything left over makes a text no formula.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence

from prorl_verifiers.algebra.tree import UnreadableError

Assignment = Mapping[str, bool]
Formula = Callable[[Assignment], bool]

_TOKEN = re.compile(r"\s*([A-Z()¬∧∨→↔])")
_MAX_TOKENS = 400
_MAX_DEPTH = 40
_MAX_VARIABLES = 10
_LEVELS: Sequence[tuple[str, Callable[[bool, bool], bool]]] = (
    ("↔", lambda left, right: left == right),
    ("→", lambda left, right: not left or right),
    ("∨", lambda left, right: left or right),
    ("∧", lambda left, right: left and right),
)


class _Reader:
    """Reads one formula by recursive descent."""

    def __init__(self, text: str) -> None:
        tokens: list[str] = _TOKEN.findall(text)
        if _TOKEN.sub("", text).strip() or not 0 < len(tokens) <= _MAX_TOKENS:
            raise UnreadableError("no formula")
        self._tokens, self._position, self._depth = [*tokens, ""], 0, 0

    def read(self) -> Formula:
        formula = self._chain(0)
        if self._token():
            raise UnreadableError("something is left over behind the formula")
        return formula

    def _token(self) -> str:
        return self._tokens[self._position]

    def _chain(self, level: int) -> Formula:
        """Read a chain of one operator over what binds tighter."""
        if level == len(_LEVELS):
            return self._operand()
        sign, operation = _LEVELS[level]
        left = self._chain(level + 1)
        while self._token() == sign:
            self._position += 1
            left = _combined(operation, left, self._chain(level + 1))
        return left

    def _operand(self) -> Formula:
        token = self._token()
        self._position += 1
        self._depth += 1
        if not token or self._depth > _MAX_DEPTH:
            raise UnreadableError("the formula ends too early, or is nested too deep")
        if token == "¬":
            operand = self._operand()
            formula: Formula = lambda values: not operand(values)  # noqa: E731  (the others are closures too)
        elif token == "(":
            formula = self._chain(0)
            if self._token() != ")":
                raise UnreadableError("a parenthesis is not closed")
            self._position += 1
        elif token.isalpha():
            formula = _variable(token)
        else:
            raise UnreadableError(f"{token} stands where a formula must begin")
        self._depth -= 1
        return formula


def _variable(name: str) -> Formula:
    return lambda values: values[name]


def _combined(operation: Callable[[bool, bool], bool], left: Formula, right: Formula) -> Formula:
    return lambda values: operation(left(values), right(values))


def is_conclusion(answer: str, premises: Sequence[str], variables: Sequence[str]) -> bool:
    """Return whether the answer follows, is no single letter, no tautology and no premise in other words.

    Raises:
        UnreadableError: The answer is no formula over the variables.
        ValueError: A premise is none, or they contradict each other.
    """
    if not set(re.findall("[A-Z]", answer)) <= set(variables) or len(variables) > _MAX_VARIABLES:
        raise UnreadableError("it has letters that the premises do not have")
    conclusion = _Reader(answer).read()
    try:
        given = [_Reader(premise).read() for premise in premises]
    except UnreadableError as error:
        raise ValueError(str(error)) from error
    rows = [dict(zip(variables, row, strict=True)) for row in itertools.product((False, True), repeat=len(variables))]
    said = [conclusion(row) for row in rows]
    allowed = [all(premise(row) for premise in given) for row in rows]
    if not any(allowed):
        raise ValueError("the premises contradict each other: anything follows")
    follows = all(value for is_allowed, value in zip(allowed, said, strict=True) if is_allowed)
    is_new = all(said != [premise(row) for row in rows] for premise in given)
    return follows and not all(said) and is_new and re.fullmatch(r"[\s()]*[A-Z][\s()]*", answer) is None
