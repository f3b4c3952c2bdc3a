r"""Read an answer: its shape (set, tuple, interval, relation, matrix, words, number with unit) and its expressions.

Called for expected answers and for models' answers alike, so that each convention (a mixed number, a thousands
separator) holds on both sides. What is outside the grammar or ambiguous is refused, never guessed. A part that is
plain mathematics beyond the grammar (a sum, an integral) is kept as text, for a checker that reads it.
"""

from __future__ import annotations

import re

from prorl_verifiers.algebra.cursor import GREEK
from prorl_verifiers.algebra.expressions import parse_expression
from prorl_verifiers.algebra.foreign import is_plain_formula
from prorl_verifiers.algebra.forms import DOTS, whole_form, without_quantifier
from prorl_verifiers.algebra.notations import special_notation
from prorl_verifiers.algebra.shapes import RELATIONS, outside_brackets, spans, split, split_list
from prorl_verifiers.algebra.solution_sets import REAL_LINE, named_values, set_of_condition
from prorl_verifiers.algebra.tokens import (
    Token,
    normalise,
    tokenise,
    without_thousands_separators,
)
from prorl_verifiers.algebra.tree import (
    Answer,
    Bracketed,
    Cases,
    Collection,
    Family,
    Foreign,
    Matrix,
    Relation,
    Symbol,
    Union,
    UnreadableError,
    Value,
    Words,
)
from prorl_verifiers.algebra.unit_suffix import split_unit

_MAX_SHAPE_DEPTH = 8
_SCIENTIFIC = re.compile(r"(?<![A-Za-z0-9.])([0-9]+(?:\.[0-9]+)?)[eE]([+-]?[0-9]{1,4})(?![A-Za-z0-9.])")
_MIXED = re.compile(r"(?<![0-9./^{}A-Za-z])(?<![0-9./^{}A-Za-z,] )([0-9]+) ([0-9]+)/([0-9]+)(?![0-9/.!^])")
_WORD = r"[A-Za-z]+(?:(?<=[A-Za-z]{2})['-][A-Za-z]+|-[A-Za-z]{3,})*"
_WORDS = re.compile(rf"{_WORD}(?: {_WORD}){{0,7}}")
_TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")
_BUILDER = re.compile(r"\\\{\s*(?:\(?([a-z])\)?\s*(?:\\in\s*\\mathbb\{R\})?)\s*[|:](.+)\\\}")
_FAMILY_SET = re.compile(r"\\\{(.+)[|:](\s*[a-z]\s*\\in\s*\\mathbb\{[ZN]\}[^{}]*)\\\}")


def read(text: str) -> Answer:
    """Return the answer that a text states.

    Raises:
        UnreadableError: The reader does not know what it means, with certainty.
    """
    normal = without_thousands_separators(normalise(text))
    if not _has_as_many_closing(normal):
        raise UnreadableError("a bracket without its partner")
    wrapped = _TEXT.fullmatch(normal)
    if wrapped and re.search("[0-9]", wrapped.group(1)):
        normal = wrapped.group(1).strip()
    normal = _MIXED.sub(_mixed_number, _SCIENTIFIC.sub(r"(\1*10^{\2})", normal))
    return _read_normal(without_quantifier(normal))


def _has_as_many_closing(text: str) -> bool:
    """As many closing as opening brackets; half-open intervals pair a parenthesis with a bracket."""
    has_braces = text.count("{") == text.count("}")
    return has_braces and text.count("(") + text.count("[") == text.count(")") + text.count("]")


def is_written_alike(left: str, right: str) -> bool:
    """Tell whether two texts are the same up to layout and white space."""
    try:
        one, other = ("".join(normalise(text).split()) for text in (left, right))
    except UnreadableError:
        return False
    return bool(one) and one == other


def _read_normal(text: str) -> Answer:
    words = _words(text)
    if words is not None:
        return words
    tokens = tokenise(text)
    if not tokens:
        raise UnreadableError("an empty answer")
    form = whole_form(text, _read_normal)
    return form if form is not None else _shape(text, tokens, 0)


def _mixed_number(match: re.Match[str]) -> str:
    whole, upper, lower = match.groups()
    return rf"{whole}\frac{{{upper}}}{{{lower}}}" if 0 < int(upper) < int(lower) else match.group()


def _words(text: str) -> Words | None:
    """Return the answer as words if it is nothing but words of two or more letters, or any text in `\\text{}`."""
    wrapped = _TEXT.fullmatch(text)
    plain = (wrapped.group(1) if wrapped else text).strip().rstrip(".")
    plain = plain[1:-1] if plain[:1] + plain[-1:] == "()" else plain
    plain = " ".join(plain.split())
    if not _WORDS.fullmatch(plain):
        return None
    if not wrapped and (max(map(len, plain.split())) == 1 or plain in ("pi", "infinity", "oo", "U")):
        return None
    if not wrapped and any(word in ("or", "and", "to", "mod") for word in plain.split()):
        return None
    return Words(plain)


def _shape(text: str, tokens: list[Token], depth: int) -> Answer:
    """Return the shape of some tokens of the text."""
    if not tokens:
        raise UnreadableError("an empty part")
    if depth > _MAX_SHAPE_DEPTH:
        raise UnreadableError(f"shapes nested more than {_MAX_SHAPE_DEPTH} deep")
    parts, joint = split_list(tokens)
    if len(parts) > 1:
        shapes = [_shape(text, part, depth + 1) for part in parts]
        if joint != "or" and any(isinstance(shape, Relation) for shape in shapes):
            shapes = [shape for part, shape in zip(parts, shapes, strict=True) if not _is_real(part, shape)]
        return _listed(shapes, joint) if len(shapes) > 1 else shapes[0]
    parts = split(tokens, (r"\cup",))
    if len(parts) > 1:
        return Union(tuple(_set_like(_shape(text, part, depth + 1)) for part in parts))
    relation = _relation(text, tokens, depth)
    if relation is not None:
        return relation
    enclosed = _enclosed(text, tokens, depth)
    return enclosed if enclosed is not None else _single(text, tokens, depth)


def _is_real(tokens: list[Token], shape: Answer) -> bool:
    r"""Tell whether it only says `x \in \mathbb{R}`, beside what else is said of x."""
    return shape == REAL_LINE and any(token.text == r"\in" for token in tokens)


def _listed(items: list[Answer], joint: str) -> Answer:
    """Return a list; with dots, one that goes on, whose order counts."""
    if Value(DOTS) in items:
        return Bracketed("...", tuple(items), "...")
    return named_values(Collection(tuple(items), joint))


def _set_like(answer: Answer) -> Answer:
    if isinstance(answer, Value) and answer.expression == Symbol("U"):
        return answer
    if not isinstance(answer, Collection | Bracketed | Union | Relation | Family) or (
        isinstance(answer, Relation) and "=" in answer.operators
    ):
        raise UnreadableError("a set is expected here")
    return answer


def _relation(text: str, tokens: list[Token], depth: int) -> Answer | None:
    membership = split(tokens, (r"\in",))
    if len(membership) == 2 and len(membership[0]) == 1 and _is_variable(membership[0][0]):
        return _set_like(_shape(text, membership[1], depth + 1))
    signs = [token.text for token in outside_brackets(tokens) if token.text in RELATIONS]
    if not signs:
        return None
    members = [_shape(text, part, depth + 1) for part in split(tokens, tuple(RELATIONS))]
    operators = [RELATIONS[sign][0] for sign in signs]
    turned = {RELATIONS[sign][1] for sign in signs if sign not in ("=", r"\ne")}
    if len(turned) > 1:
        raise UnreadableError("a chain of relations in both directions")
    if turned == {True}:
        members, operators = members[::-1], operators[::-1]
    return named_values(Relation(tuple(members), tuple(operators)))


def _is_variable(token: Token) -> bool:
    if token.kind == "command":
        return token.text[1:] in GREEK
    return token.kind == "word" and len(token.text) == 1 and token.text not in "ei"


def _enclosed(text: str, tokens: list[Token], depth: int) -> Answer | None:  # noqa: PLR0911  (one case a bracket)
    """Return a set, tuple, interval or matrix that spans all tokens."""
    first, last = tokens[0].text, tokens[-1].text
    if len(tokens) == 1 and first == r"\emptyset":
        return Collection((), "set")
    if first == r"\begin":
        return _environment(text, tokens, depth)
    if first.isalpha() and first.isupper() and len(first) == 1 and spans(tokens[1:]) and tokens[1].text == "(":
        point = _enclosed(text, tokens[1:], depth)
        return point if isinstance(point, Bracketed) else None
    if not spans(tokens):
        return None
    inner = tokens[1:-1]
    if (first, last) == (r"\{", r"\}"):
        return _set(text, tokens, depth)
    if (first, last) == ("{", "}"):
        content = _shape(text, inner, depth + 1) if inner else None
        return Collection(content.items, "set") if isinstance(content, Collection) else content
    if first in ("(", "[") and last in (")", "]"):
        parts = split(inner, (",", ";"))
        if len(parts) > 1:
            return Bracketed(first, tuple(_shape(text, part, depth + 1) for part in parts), last)
        is_matrix = bool(inner) and inner[0].text == r"\begin" and first + last in ("()", "[]")
        if is_matrix or ((first, last) == ("(", ")") and _has_relation(inner)):
            return _shape(text, inner, depth + 1)
    return None


def _has_relation(tokens: list[Token]) -> bool:
    return any(token.text in RELATIONS for token in outside_brackets(tokens))


def _set(text: str, tokens: list[Token], depth: int) -> Answer:
    inner = tokens[1:-1]
    if not inner:
        return Collection((), "set")
    piece = text[tokens[0].start : tokens[-1].end]
    family = _FAMILY_SET.fullmatch(piece)
    if family:
        return _read_normal(f"{family.group(1).strip()}, {family.group(2)}")
    builder = _BUILDER.fullmatch(piece)
    if builder:
        return set_of_condition(builder.group(1), _read_normal(builder.group(2).strip()))
    if any(token.text in ("|", ":") for token in outside_brackets(inner)):
        raise UnreadableError("a set described by a condition")
    content = _shape(text, inner, depth + 1)
    if isinstance(content, Relation):
        raise UnreadableError("a set of relations")
    is_list = isinstance(content, Collection) and content.joint != "set"
    return Collection(content.items if is_list and isinstance(content, Collection) else (content,), "set")


def _environment(text: str, tokens: list[Token], depth: int) -> Answer:
    """Return a matrix, a function by cases, or a system of equations."""
    names = [token.text for token in tokens[1:4]]
    ends = [token.text for token in tokens[-4:]]
    is_known = len(names) == 3 and (names[1].endswith("matrix") or names[1] == "cases")
    if not is_known or ends != [r"\end", "{", names[1], "}"] or names[1] == "vmatrix":
        raise UnreadableError("an environment that is neither matrix nor cases, or a determinant")
    rows = [row for row in split(tokens[4:-4], ("\\\\",)) if row]
    pieces = [split(row, ("&",)) for row in rows]
    if names[1] == "cases" and pieces and all(len(row) == 2 for row in pieces):
        return Cases(tuple((_cell(text, value, depth), _cell(text, condition, depth)) for value, condition in pieces))
    cells = tuple(tuple(_shape(text, cell, depth + 1) for cell in row) for row in pieces)
    if not cells or len({len(row) for row in cells}) != 1:
        raise UnreadableError("rows of unequal length")
    if names[1] == "cases":
        if len(cells[0]) != 1 or not all(isinstance(row[0], Relation) for row in cells):
            raise UnreadableError("cases without conditions")
        return Collection(tuple(row[0] for row in cells), "and")
    return Matrix(cells)


def _cell(text: str, tokens: list[Token], depth: int) -> Answer:
    """Return a cell of a function by cases: without a comma at its end or `\\text{if}` before its condition."""
    while tokens and tokens[-1].text in (",", ";", "."):
        tokens = tokens[:-1]
    texts = [token.text for token in tokens[:4]]
    if texts[:2] == [r"\text", "{"] and texts[2].lower() in ("if", "for", "when") and texts[3] == "}":
        tokens = tokens[4:]
    return _shape(text, tokens, depth + 1)


def _single(text: str, tokens: list[Token], depth: int) -> Answer:
    """Return a value with its unit, digits with a base, words, or two values joined by a plus-minus sign."""
    piece = text[tokens[0].start : tokens[-1].end]
    plus_minus = piece.count(r"\pm")
    if plus_minus == 1 and r"\mp" not in piece:
        pair = (piece.replace(r"\pm", sign) for sign in ("+", "-"))
        return Collection(tuple(_shape(one, tokenise(one), depth + 1) for one in pair), "or")
    special = special_notation(piece, _read_normal)
    if special is not None:
        return special
    number, unit = split_unit(piece)
    words = _words(number) if not unit else None
    if words is not None:
        return words
    tokens = tokenise(number)
    try:
        return Value(parse_expression(tokens), unit, number)
    except UnreadableError:
        if not tokens or not is_plain_formula(number, tokens):
            raise
        return Value(Foreign(number.strip()), unit, number)
