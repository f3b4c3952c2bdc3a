"""Find the program in a completion. Pure, linear in the length of the text, and it never raises.

What a model considers is not what it answers: only what follows the last `</think>` counts, and nothing does while a
`<think>` is open. There the last fenced block in the wanted language is the program; without one, the last block that
names no language. A block that is never closed was cut off and is not a program, nor is text outside of fences.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from prorl_verifiers.extraction import final_text

_FENCE = re.compile(r"^([ \t]*)(`{3,}|~{3,})[ \t]*([^\s`]*)([^`\n]*)$")
_LABEL = re.compile(r"[{.]*([\w+#-]*)")
"""The language in what stands behind a fence: `python`, `{.python}`, `python:main.py`, `python3.11`."""
_BEFORE = re.compile(r"^([ \t]*)(?:<[A-Za-z_]{1,32}>[ \t]*)+(?=`{3}|~{3})")
"""A tag on the line of a fence that opens: `<answer>` and its kin."""
_BEHIND = re.compile(r"(?<=```|~~~)[ \t]*(?:</[A-Za-z_]{1,32}>[ \t]*)+$")
_ITEM = re.compile(r"^([ \t]*(?:[-*+]|[0-9]{1,3}[.)])[ \t]+)(?=`{3}|~{3})")
"""The mark of a list's item, whose text begins with a fence."""


def find_program(completion: str, fences: frozenset[str]) -> str | None:
    """Return the program; None if there is none.

    Args:
        completion: What the model wrote.
        fences: What a block in the wanted language may call it, in lower case.
    """
    text = final_text(completion)
    named: str | None = None
    unnamed: str | None = None
    for label, content in _blocks(text):
        if label in fences:
            named = content
        elif not label:
            unnamed = content
    return named if named is not None else unnamed


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    """Return the label in lower case and the content of each closed block, as Markdown delimits them."""
    indent, fence, label = "", "", ""
    lines: list[str] = []
    for line in text.split("\n"):
        bare = line.rstrip("\r")
        if not fence:
            found = _FENCE.match(_BEFORE.sub(r"\1", _ITEM.sub(lambda match: " " * len(match[1]), bare)))
            if found:
                language = _LABEL.match(found[3].lower())
                indent, fence, label = found[1], found[2], language[1] if language and language[1] else found[3]
                lines = []
            continue
        found = _FENCE.match(_BEHIND.sub("", bare))
        if found and found[2].startswith(fence) and not found[3] and not found[4].strip():
            yield label, "\n".join(lines) + "\n"
            fence = ""
        else:
            lines.append(bare.removeprefix(indent))
