"""Notations that are no expression: dots, the real line, digits with a base, names of figures and derivatives."""

from __future__ import annotations

import re
from collections.abc import Callable

from prorl_verifiers.algebra.forms import DOTS
from prorl_verifiers.algebra.solution_sets import REAL_LINE, punctured_line
from prorl_verifiers.algebra.tree import Answer, Based, Symbol, Value, Words
from prorl_verifiers.number_words import number_of_words

_BASED = re.compile(
    r"\(?([0-9A-Za-z]*[0-9][0-9A-Za-z]*)\)?_\{?(?:\\text\{)?([0-9]{1,2}|[a-z]{3,8}(?:-[a-z]{3,5})?)\}?\}?"
)
_FUNCTION = re.compile(r"([A-Za-z]) ?\(([A-Za-z])\)")
_PRIMED = re.compile(r"[A-Za-z](?:_\{?[A-Za-z0-9]{1,3}\}?)?'{1,3}(?:\([A-Za-z]\))?")
_DERIVATIVE = re.compile(r"\\frac\s*\{d([a-z])\}\s*\{d([a-z])\}")
_FIGURE = re.compile(r"(?:m ?)?(\\(?:angle|overline|triangle|vec))\s*\{?\s*([A-Z]{1,3})\s*\}?")
_NUMBER_SET = re.compile(r"\\mathbb\s*\{\s*([A-Z])\s*\}")
_LENGTH = re.compile(r"\|\s*([A-Z]{2})\s*\|")
_PUNCTURED = re.compile(r"\\mathbb\{R\}\s*(?:\\setminus|-)\s*(\\\{.*\\\})")
_LINE = r"\mathbb{R}"


def special_notation(piece: str, read: Callable[[str], Answer]) -> Answer | None:  # noqa: PLR0911  (one a notation)
    """Return the answer, if the piece of text is one of these; `read` reads a set within it.

    Raises:
        UnreadableError: It is, with a part that cannot be read.
    """
    if piece == r"\ldots":
        return Value(DOTS)
    if piece.replace(" ", "") == _LINE:
        return REAL_LINE
    punctured = _PUNCTURED.fullmatch(piece)
    if punctured:
        return punctured_line(read(punctured.group(1)))
    based = _BASED.fullmatch(piece.replace(" ", ""))
    if based:
        base = int(based.group(2)) if based.group(2).isdigit() else number_of_words(based.group(2)) or 0
        if 2 <= base <= 36:
            return Based(based.group(1).lower().lstrip("0") or "0", base)
    applied = _FUNCTION.fullmatch(piece)
    if applied and applied.group(1) in "fghFGHPpQqyu":
        return Value(Symbol(f"{applied.group(1)}({applied.group(2)})"))
    if _PRIMED.fullmatch(piece):
        return Value(Symbol(piece.replace(" ", "")))
    derivative = _DERIVATIVE.fullmatch(piece)
    if derivative:
        return Value(Symbol(f"d{derivative.group(1)}/d{derivative.group(2)}"))
    number_set = _NUMBER_SET.fullmatch(piece)
    if number_set:
        return Words(f"\\mathbb {number_set.group(1)}")
    length = _LENGTH.fullmatch(piece)
    if length:
        return Words(length.group(1))
    figure = _FIGURE.fullmatch(piece)
    return Words(f"{figure.group(1)} {figure.group(2)}") if figure else None
