r"""Read an answer: its shape (set, tuple, interval, relation, matrix, words, number with unit) and its expressions.

Called for expected answers and for models' answers alike, so that each convention (a mixed number, a thousands
separator, a dropped `x =`) holds on both sides. What is outside the grammar or ambiguous is refused, never guessed.
"""

from __future__ import annotations

import re
from fractions import Fraction

from prorl_verifiers.algebra.expressions import parse_expression
from prorl_verifiers.algebra.tokens import (
    Token,
    normalise,
    tokenise,
    without_thousands_separators,
)
from prorl_verifiers.algebra.tree import (
    Answer,
    Based,
    Bracketed,
    Collection,
    Matrix,
    Number,
    Relation,
    Symbol,
    Union,
    UnreadableError,
    Value,
    Words,
)
from prorl_verifiers.algebra.unit_suffix import split_unit
from prorl_verifiers.extraction import boxed_contents

_MAX_SHAPE_DEPTH = 8
_OPENING = frozenset(("(", "[", "{", r"\{", r"\lfloor", r"\lceil", r"\begin"))
_CLOSING = frozenset((")", "]", "}", r"\}", r"\rfloor", r"\rceil", r"\end"))
_RELATIONS = {
    "=": ("=", False), "<": ("<", False), ">": ("<", True), r"\le": ("<=", False), r"\ge": ("<=", True),
    r"\ne": ("!=", False),
}  # fmt: skip
_REPEATING = re.compile(r"([0-9]+)\.([0-9]*)\\overline\s*\{([0-9]+)\}")
_SCIENTIFIC = re.compile(r"(?<![A-Za-z0-9.])([0-9]+(?:\.[0-9]+)?)[eE]([+-]?[0-9]{1,4})(?![A-Za-z0-9.])")
_RATIO = re.compile(r"[0-9]{1,9}(?: ?: ?[0-9]{1,9}){1,3}")  # or a time of day
_BASED = re.compile(r"([0-9A-Za-z]*[0-9][0-9A-Za-z]*)_\{?\s*(?:\\text\{\s*)?([0-9]{1,2})\s*\}?\s*\}?")
_WORDS = re.compile(r"[A-Za-z][A-Za-z'-]*(?: [A-Za-z][A-Za-z'-]*){0,7}")
_TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")


def read(text: str) -> Answer:
    """The answer that a text states.

    Raises:
        UnreadableError: The reader does not know what it means, with certainty.
    """
    normal = without_thousands_separators(_unboxed(normalise(text)))
    normal = _REPEATING.sub(_repeating_as_fraction, normal)
    normal = _SCIENTIFIC.sub(r"(\1*10^{\2})", normal)
    words = _words(normal)
    if words is not None:
        return words
    if _RATIO.fullmatch(normal):
        parts = tuple(Value(Number(Fraction(part))) for part in normal.split(":"))
        return Bracketed(":", parts, ":")
    tokens = tokenise(normal)
    if not tokens:
        raise UnreadableError("an empty answer")
    return _shape(normal, tokens, 0)


def _unboxed(text: str) -> str:
    """The content of a box that is the whole text, as some data sets give their answers."""
    boxes = list(boxed_contents(text)) if text.startswith(r"\boxed") else []
    return boxes[-1].strip() if boxes and text.endswith(boxes[-1] + "}") else text


def _repeating_as_fraction(match: re.Match[str]) -> str:
    whole, fixed, repeating = match.groups()
    if len(fixed) + len(repeating) > 60:
        raise UnreadableError("a long repeating decimal")
    denominator = (10 ** len(repeating) - 1) * 10 ** len(fixed)
    numerator = int(whole + fixed + repeating) - int(whole + fixed)
    return rf"(\frac{{{numerator}}}{{{denominator}}})"


def _words(text: str) -> Words | None:
    """The answer as words if it is nothing but words of two or more letters, or any text in `\\text{}`."""
    wrapped = _TEXT.fullmatch(text)
    plain = (wrapped.group(1) if wrapped else text).strip().rstrip(".")
    plain = " ".join(plain.strip("()").split())
    if not _WORDS.fullmatch(plain):
        return None
    if not wrapped and (max(map(len, plain.split())) == 1 or plain in ("pi", "infinity", "oo", "U")):
        return None
    if not wrapped and any(word in ("or", "and") for word in plain.split()):
        return None
    return Words(plain)


def _shape(text: str, tokens: list[Token], depth: int) -> Answer:
    """The shape of some tokens of the text."""
    if not tokens:
        raise UnreadableError("an empty part")
    if depth > _MAX_SHAPE_DEPTH:
        raise UnreadableError(f"shapes nested more than {_MAX_SHAPE_DEPTH} deep")
    parts = _split_list(tokens)
    if len(parts) > 1:
        return Collection(tuple(_shape(text, part, depth + 1) for part in parts))
    parts = _split(tokens, (r"\cup",))
    if len(parts) > 1:
        return Union(tuple(_shape(text, part, depth + 1) for part in parts))
    relation = _relation(text, tokens, depth)
    if relation is not None:
        return relation
    enclosed = _enclosed(text, tokens, depth)
    return enclosed if enclosed is not None else _single(text, tokens, depth)


def _split(tokens: list[Token], separators: tuple[str, ...]) -> list[list[Token]]:
    """Cut at separators outside all brackets."""
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        depth += (token.text in _OPENING) - (token.text in _CLOSING)
        if depth == 0 and token.text in separators:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _split_list(tokens: list[Token]) -> list[list[Token]]:
    """Cut at commas, semicolons, and the words `and` and `or`."""
    unwrapped: list[Token] = []
    position = 0
    while position < len(tokens):
        texts = [token.text for token in tokens[position : position + 4]]
        is_joining_text = len(texts) == 4 and texts[0] == r"\text" and texts[2].lower() in ("or", "and")
        if is_joining_text and texts[3] == "}":
            unwrapped.append(Token("word", texts[2].lower(), tokens[position].start, tokens[position + 3].end))
            position += 4
            continue
        unwrapped.append(tokens[position])
        position += 1
    parts = _split(unwrapped, (",", ";", "or", "and", r"\lor"))
    # "1, 2, and 3" has an empty part between comma and word.
    filled = [part for index, part in enumerate(parts) if part or index in (0, len(parts) - 1)]
    return filled if len(filled) > 1 else [tokens]


def _relation(text: str, tokens: list[Token], depth: int) -> Answer | None:
    membership = _split(tokens, (r"\in",))
    if len(membership) == 2 and len(membership[0]) == 1 and membership[0][0].kind in ("word", "command"):
        return _shape(text, membership[1], depth + 1)
    signs = [token.text for token in _outside_brackets(tokens) if token.text in _RELATIONS]
    if not signs:
        return None
    members = [_shape(text, part, depth + 1) for part in _split(tokens, tuple(_RELATIONS))]
    operators = [_RELATIONS[sign][0] for sign in signs]
    turned = {_RELATIONS[sign][1] for sign in signs if sign not in ("=", r"\ne")}
    if len(turned) > 1:
        raise UnreadableError("a chain of relations in both directions")
    if turned == {True}:
        members, operators = members[::-1], operators[::-1]
    return Relation(tuple(members), tuple(operators))


def _outside_brackets(tokens: list[Token]) -> list[Token]:
    depth = 0
    outside = []
    for token in tokens:
        depth += (token.text in _OPENING) - (token.text in _CLOSING)
        if depth == 0:
            outside.append(token)
    return outside


def _enclosed(text: str, tokens: list[Token], depth: int) -> Answer | None:  # noqa: PLR0911  (one case a bracket)
    """A set, tuple, interval or matrix that spans all tokens."""
    first, last = tokens[0].text, tokens[-1].text
    if len(tokens) == 1 and first == r"\emptyset":
        return Collection(())
    if first == r"\begin":
        return _matrix(text, tokens, depth)
    if not _spans(tokens):
        return None
    inner = tokens[1:-1]
    if (first, last) == (r"\{", r"\}"):
        if any(token.text in ("|", ":") for token in inner):
            raise UnreadableError("a set described by a condition")
        if not inner:
            return Collection(())
        content = _shape(text, inner, depth + 1)
        return content if isinstance(content, Collection) else Collection((content,))
    if first in ("(", "[") and last in (")", "]"):
        parts = _split(inner, (",", ";"))
        if len(parts) > 1:
            return Bracketed(first, tuple(_shape(text, part, depth + 1) for part in parts), last)
        if first == "(" and last == ")" and any(token.text in _RELATIONS for token in _outside_brackets(inner)):
            return _shape(text, inner, depth + 1)
    return None


def _spans(tokens: list[Token]) -> bool:
    """Whether the first token's bracket closes at the last token."""
    depth = 0
    for index, token in enumerate(tokens):
        depth += (token.text in _OPENING) - (token.text in _CLOSING)
        if depth == 0:
            return index == len(tokens) - 1 > 0
    return False


def _matrix(text: str, tokens: list[Token], depth: int) -> Answer:
    names = [token.text for token in tokens[1:4]]
    ends = [token.text for token in tokens[-4:]]
    if len(names) < 3 or not names[1].endswith("matrix") or ends != [r"\end", "{", names[1], "}"]:
        raise UnreadableError("an environment that is not one matrix")
    rows = [row for row in _split(tokens[4:-4], ("\\\\",)) if row]
    cells = tuple(tuple(_shape(text, cell, depth + 1) for cell in _split(row, ("&",))) for row in rows)
    if not cells or len({len(row) for row in cells}) != 1 or names[1] == "vmatrix":
        raise UnreadableError("rows of unequal length, or a determinant")
    return Matrix(cells)


def _single(text: str, tokens: list[Token], depth: int) -> Answer:
    """A value with its unit, digits with a base, words, or two values joined by a plus-minus sign."""
    piece = text[tokens[0].start : tokens[-1].end]
    plus_minus = piece.count(r"\pm")
    if plus_minus == 1 and r"\mp" not in piece:
        pair = (piece.replace(r"\pm", sign) for sign in ("+", "-"))
        return Collection(tuple(_shape(one, tokenise(one), depth + 1) for one in pair))
    based = _BASED.fullmatch(piece.replace(" ", ""))
    if based and 2 <= int(based.group(2)) <= 36:
        return Based(based.group(1).lower().lstrip("0") or "0", int(based.group(2)))
    number, unit = split_unit(piece)
    words = _words(number) if not unit else None
    if words is not None:
        return words
    applied = re.fullmatch(r"([A-Za-z]) ?\(([A-Za-z])\)", number)
    if applied and applied.group(1) in "fghFGHPpQqyu":
        return Value(Symbol(f"{applied.group(1)}({applied.group(2)})"))
    return Value(parse_expression(tokenise(number)), unit)
