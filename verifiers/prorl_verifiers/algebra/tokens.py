r"""Cut LaTeX or plain notation into tokens, with what is only layout or spelling taken away. Linear, bounded."""

from __future__ import annotations

import re
from dataclasses import dataclass

from prorl_verifiers.algebra.spelling import exact_decimals, respell
from prorl_verifiers.algebra.tree import UnreadableError

MAX_CHARACTERS = 2000
"""Longer answers are not read."""
MAX_TOKENS = 600
_SPACE = re.compile(r"\\(?:quad|qquad|enspace|thinspace|space)(?![A-Za-z])|(?<!\\)\\[;: ]|~")
_THOUSANDS = re.compile(r"(?<=[0-9])(?:\{,\}|\\,|\\!,|,\\!)(?=[0-9]{3}(?![0-9]))")
_SPACE_THOUSANDS = re.compile(
    r"(?<![0-9.,/^{] )(?<![0-9.,/A-Za-z}])[1-9][0-9]{0,2}(?: [0-9]{3})+(?! ?[0-9/]| *\\\\frac)(?![.,][0-9])"
)
_COMMA_THOUSANDS = re.compile(r"(?<![0-9.,])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9,]|\s*,)")
_RENAMED = {
    r"\dfrac": r"\frac", r"\tfrac": r"\frac", r"\cfrac": r"\frac", r"\leq": r"\le", r"\geq": r"\ge", r"\neq": r"\ne",
    r"\leqslant": r"\le", r"\geqslant": r"\ge", r"\lt": "<", r"\gt": ">", r"\ast": "*", r"\dbinom": r"\binom",
    r"\tbinom": r"\binom", r"\degree": r"\circ", r"\lbrace": r"\{", r"\rbrace": r"\}", r"\lbrack": "[",
    r"\rbrack": "]", r"\lvert": "|", r"\rvert": "|", r"\vert": "|", r"\mid": "|", r"\textrm": r"\text",
    r"\textbf": r"\text", r"\mathrm": r"\text", r"\mathbf": r"\text", r"\textit": r"\text", r"\mbox": r"\text",
    r"\operatorname": r"\text", r"\varnothing": r"\emptyset", r"\varphi": r"\phi", r"\dots": r"\ldots",
    r"\cdots": r"\ldots", r"\langle": "(", r"\rangle": ")", r"\backslash": r"\setminus", r"\colon": ":",
    r"\lor": r"\vee", r"\land": r"\wedge", r"\textsf": r"\text", r"\imath": "i", r"\arccot": r"\arccot",
}  # fmt: skip
_TOKEN = re.compile(r"\s+|([0-9]+(?:\.[0-9]+)?|\.[0-9]+)|(\\[A-Za-z]+|\\[{}|%$&#_,])|([A-Za-z]+)|(\\\\|[^\s\\])")


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of text: `number`, `command` (with backslash), `word` (letters) or `sign` (one other character)."""

    kind: str
    text: str
    start: int
    end: int
    """Positions in the normalised text."""


def normalise(text: str) -> str:
    """Return the same mathematics with one spelling for each sign and without dollar signs and layout commands.

    Raises:
        UnreadableError: It is too long, or only about something.
    """
    if len(text) > MAX_CHARACTERS:
        raise UnreadableError(f"{len(text)} characters")
    if text.lstrip().startswith("~"):
        raise UnreadableError("a sign of approximation")
    text = _THOUSANDS.sub("", respell(text.strip()))
    text = text.replace(r"\!", "").replace(r"\,", " ")
    text = _SPACE.sub(" ", text)
    for mark in (r"\(", r"\)", r"\[", r"\]", "$$"):
        text = text.replace(mark, " ")
    text = re.sub(r"(?<!\\)\$(?=[^$]*(?<!\\)\$)|(?<=[^\s$])(?<!\\)\$\s*$", " ", text)
    text = re.sub(r"\\[A-Za-z]+", lambda match: _RENAMED.get(match.group(), match.group()), text)
    return exact_decimals(text).strip().rstrip(".").strip()


def without_thousands_separators(text: str) -> str:
    """`1,234,567` without its commas, `12 500` without its space; commas only outside parentheses, brackets and sets:
    (1,234) is a pair."""

    def joined(match: re.Match[str]) -> str:
        before = text[: match.start()]
        is_outside = all(before.count(left) <= before.count(right) for left, right in ("()", "[]", ("\\{", "\\}")))
        return match.group().replace(",", "") if is_outside else match.group()

    text = _SPACE_THOUSANDS.sub(lambda match: match.group().replace(" ", ""), text)
    return _COMMA_THOUSANDS.sub(joined, text)


def tokenise(text: str) -> list[Token]:
    """Return the tokens of normalised text.

    Raises:
        UnreadableError: There are too many.
    """
    tokens: list[Token] = []
    for match in _TOKEN.finditer(text):
        if match.lastindex is None:
            continue
        kind = ("number", "command", "word", "sign")[match.lastindex - 1]
        tokens.append(Token(kind, match.group(), match.start(), match.end()))
        if len(tokens) > MAX_TOKENS:
            raise UnreadableError(f"more than {MAX_TOKENS} tokens")
    return tokens
