"""The form that the whole answer of a task must have before its scorer sees it: scorers search for what they know and
overlook the rest."""

from __future__ import annotations

import re
from collections.abc import Mapping

_MOVE = r"(?:fill [A-Z]|empty [A-Z]|pour [A-Z]->[A-Z])"

FORMS: Mapping[str, re.Pattern[str]] = {
    task: re.compile(pattern)
    for task, pattern in {
        "cryptarithm": r"(?:([A-Z])\s*=\s*[0-9](?!.*\1\s*=)(?:,\s*(?!$)|$))+",
        "jugs": rf'\[\s*"{_MOVE}"(?:\s*,\s*"{_MOVE}")*\s*\]',
        "kakurasu": r"[01](?: [01])*(?:[ \t]*\n[01](?: [01])*)*",
        "power_function": r"[+-]?(?:0|[1-9][0-9]*)(?:\.[0-9]*)?(?:[eE][+-]?[0-9]{1,4})?",
        "quantum_lock": r"[A-C](?:\s*(?:→|->|,|\s)\s*[A-C])*",
        "rubiks_cube": r"[UDLRFBudlrfbMESxyz]w?['2]?(?: +[UDLRFBudlrfbMESxyz]w?['2]?)*",
        "rush_hour": r"[A-Z][+-][1-9](?:[ ,]+[A-Z][+-][1-9])*",
        "shortest_path": r"infeasible|(?:up|down|left|right)(?:\s+(?:up|down|left|right))*",
        "sokoban": r"[UDLR]+",
        "tower_of_hanoi": r"Move disk \d+ from Peg \d+ to Peg \d+(?:\s*\nMove disk \d+ from Peg \d+ to Peg \d+)*",
        "word_ladder": r"[A-Za-z]+(?:, ?[A-Za-z]+)+",
    }.items()
}
"""By task."""


def has_form(task: str, answer: str) -> bool:
    """Return whether an answer has the form of its task's answers, as far as one is laid down."""
    pattern = FORMS.get(task)
    return pattern is None or pattern.fullmatch(answer) is not None
