r"""Whether a formula that the own reader does not read is plain mathematics all through, so that another may be asked.

Only letters, numbers, brackets, arithmetic and the commands of sums, products, integrals, limits and functions: no
words, arrows, relations, dots or lists, which a lenient parser drops, and the rest of the text with them.
"""

from __future__ import annotations

import re

from prorl_verifiers.algebra.cursor import ENGLISH_WORDS, FUNCTION_WORDS, GREEK
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
# What a subscript may stand behind: a sign with a range or base, or a letter.
_WITH_SUBSCRIPT = frozenset(f"\\{name}" for name in {"sum", "prod", "int", "iint", "oint", "lim", "log"} | GREEK)
# Side by side with a number in parentheses, or behind a bare zero: no product that anybody writes.
_NO_PRODUCT = re.compile(r"(?<![0-9.])0\s*(?=[A-Za-z\\({])|[0-9]\s*\(\s*[-0-9.]+\s*\)")


def is_plain_formula(text: str, tokens: list[Token]) -> bool:
    """Tell whether the text (of these tokens) is one formula of the commands above, with balanced brackets."""
    if (
        len(text) > _MAX_CHARACTERS
        or "=" in (bare := _RANGE.sub("", text))
        or r"\to" in bare
        or _NO_PRODUCT.search(text)
    ):
        return False
    num_ranges = len(_RANGE.findall(text)) + len(_ARGUMENTS.findall(text))
    open_brackets: list[str] = []
    before: Token | None = None
    for token in tokens:
        if token.text in _OPENING:
            open_brackets.append(_OPENING[token.text])
        elif token.text in _CLOSING and (not open_brackets or open_brackets.pop() != token.text):
            return False
        if before is not None and not _may_follow(before, token):
            return False
        if token.text in ("=", r"\to", ","):
            num_ranges -= 1
        elif not _is_allowed(token):
            return False
        before = token
    return not open_brackets and num_ranges == 0


def _may_follow(before: Token, token: Token) -> bool:
    if token.text == "_":
        return before.kind == "word" or before.text in _WITH_SUBSCRIPT
    return token.kind != "number" or before.kind != "number"


def _is_allowed(token: Token) -> bool:
    if token.kind == "word":
        return token.text in FUNCTION_WORDS or (len(token.text) <= 2 and token.text not in ENGLISH_WORDS)
    if token.kind == "command":
        return token.text in _ALLOWED
    return token.kind == "number" or token.text in _SIGNS
