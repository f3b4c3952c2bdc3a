"""Whether a whole text stands within one pair of double quotation marks."""

from __future__ import annotations

_PAIRS = {'"': '"', "＂": "＂", "“": "”", "„": "“”", "”": "”"}
_OPENING, _CLOSING = "“„", "”"


def is_one_quotation(text: str) -> bool:
    """Return whether the first character opens what the last one, and none before it, closes.

    A straight mark within opens behind white space, a bracket or a dash, and closes elsewhere; an escaped one is
    part of the text.
    """
    text = text.strip()
    if len(text) < 3 or text[0] not in _PAIRS or text[-1] not in _PAIRS[text[0]]:
        return False
    depth = 1
    for position in range(1, len(text) - 1):
        depth += _change(text, position)
        if depth < 1:
            return False
    return depth == 1 and text[-2] != "\\"


def _change(text: str, position: int) -> int:
    """Return 1 for a mark that opens, -1 for one that closes, 0 for anything else."""
    character, before = text[position], text[position - 1]
    if character in '"＂':
        if before == "\\":
            return 0
        return 1 if before.isspace() or (before in '([{—–-"＂' and not text[position + 1].isspace()) else -1
    return (character in _OPENING) - (character in _CLOSING)
