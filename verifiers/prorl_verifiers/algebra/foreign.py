r"""Whether a formula that the own reader does not read is plain mathematics all through, so that another may be asked.

Only letters, numbers, brackets, arithmetic and the commands of sums, products, integrals, limits and functions: no
words, arrows, relations, dots or lists, which a lenient parser drops, and the rest of the text with them.
"""

from __future__ import annotations

import re

from prorl_verifiers.algebra.cursor import FUNCTION_WORDS, GREEK
from prorl_verifiers.algebra.tokens import Token

_COMMANDS = {
    "frac", "sqrt", "sum", "prod", "int", "iint", "oint", "lim", "partial", "infty", "cdot", "times", "div", "binom",
    "pi", "gcd", "max", "min", "det", "lfloor", "rfloor", "lceil", "rceil", "arccot", "arcsec", "arccsc", "log",
}  # fmt: skip
_ALLOWED = frozenset(f"\\{name}" for name in _COMMANDS | GREEK | FUNCTION_WORDS)
_SIGNS = frozenset("+-*/^_(){}[]|!")
_OPENING, _CLOSING = {"(": ")", "[": "]", "{": "}"}, frozenset(")]}")
# `\sum_{k=1}` and `\lim_{x \to 0}`: the only places for a relation sign or an arrow.
_RANGE = re.compile(r"\\(?:sum|prod)\s*_\s*\{\s*[A-Za-z]\s*=|\\lim\s*_\s*\{\s*[A-Za-z]\s*\\to(?![A-Za-z])")
_ARGUMENTS = re.compile(r"(\\(?:gcd|max|min)\s*\([^(),]*),([^(),]*\))")
_MAX_CHARACTERS = 300


def is_plain_formula(text: str, tokens: list[Token]) -> bool:
    """Whether the text (of these tokens) is one formula of the commands above, with balanced brackets."""
    if len(text) > _MAX_CHARACTERS or "=" in (bare := _RANGE.sub("", text)) or r"\to" in bare:
        return False
    num_ranges = len(_RANGE.findall(text)) + len(_ARGUMENTS.findall(text))
    open_brackets: list[str] = []
    before = ""
    for token in tokens:
        if token.text in _OPENING:
            open_brackets.append(_OPENING[token.text])
        elif token.text in _CLOSING and (not open_brackets or open_brackets.pop() != token.text):
            return False
        if token.kind == "number" and before == "number":
            return False
        if token.text in ("=", r"\to", ","):
            num_ranges -= 1
        elif not _is_allowed(token):
            return False
        before = token.kind
    return not open_brackets and num_ranges == 0


def _is_allowed(token: Token) -> bool:
    if token.kind == "word":
        return len(token.text) <= 2 or token.text in FUNCTION_WORDS
    if token.kind == "command":
        return token.text in _ALLOWED
    return token.kind == "number" or token.text in _SIGNS
