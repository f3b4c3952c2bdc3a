"""Cutting tokens at the signs that give an answer its shape: lists, relations, brackets."""

from __future__ import annotations

from prorl_verifiers.algebra.tokens import Token

OPENING = frozenset(("(", "[", "{", r"\{", r"\lfloor", r"\lceil", r"\begin"))
CLOSING = frozenset((")", "]", "}", r"\}", r"\rfloor", r"\rceil", r"\end"))
RELATIONS = {
    "=": ("=", False), "<": ("<", False), ">": ("<", True), r"\le": ("<=", False), r"\ge": ("<=", True),
    r"\ne": ("!=", False),
}  # fmt: skip
"""The sign, the operator it is read as, and whether the sides are turned around for it."""
_JOINTS = {"or": "or", "and": "and", r"\vee": "or", r"\wedge": "and"}


def split(tokens: list[Token], separators: tuple[str, ...]) -> list[list[Token]]:
    """Return the parts between separators outside all brackets."""
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        depth += (token.text in OPENING) - (token.text in CLOSING)
        if depth == 0 and token.text in separators:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def split_list(tokens: list[Token]) -> tuple[list[list[Token]], str]:
    """Return the parts between commas, semicolons, and the words `and` and `or`.

    And the one such word, if there is one.
    """
    unwrapped = _with_bare_joints(tokens)
    parts = split(unwrapped, (",", ";", *_JOINTS))
    # "1, 2, and 3" has an empty part between comma and word.
    filled = [part for index, part in enumerate(parts) if part or index in (0, len(parts) - 1)]
    if len(filled) < 2:
        return [tokens], ""
    joints = {_JOINTS[token.text] for token in outside_brackets(unwrapped) if token.text in _JOINTS}
    return filled, joints.pop() if len(joints) == 1 else ""


def _with_bare_joints(tokens: list[Token]) -> list[Token]:
    r"""`\text{ or }` and `\text{, and }` as one word."""
    unwrapped: list[Token] = []
    position = 0
    while position < len(tokens):
        if tokens[position].text == r"\text":
            inside = [token.text.lower() for token in tokens[position + 1 : position + 6]]
            length = next((size for size in (3, 4) if inside[size - 1 : size] == ["}"]), 0)
            words = [word for word in inside[1 : length - 1] if word != ","]
            if length and len(words) == 1 and words[0] in ("or", "and"):
                end = position + length
                unwrapped.append(Token("word", words[0], tokens[position].start, tokens[end].end))
                position = end + 1
                continue
        unwrapped.append(tokens[position])
        position += 1
    return unwrapped


def outside_brackets(tokens: list[Token]) -> list[Token]:
    """Return the tokens at depth zero."""
    depth = 0
    outside = []
    for token in tokens:
        depth += (token.text in OPENING) - (token.text in CLOSING)
        if depth == 0:
            outside.append(token)
    return outside


def spans(tokens: list[Token]) -> bool:
    """Tell whether the first token's bracket closes at the last token."""
    depth = 0
    for index, token in enumerate(tokens):
        depth += (token.text in OPENING) - (token.text in CLOSING)
        if depth == 0:
            return index == len(tokens) - 1 > 0
    return False
