"""A first reward function for rows of one's own: it runs as it stands, or says what it still needs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from prorl_cli.data.importers.question_answer import ANSWERS

_HEAD = '''"""Your reward: called once for each completion, in a jail, with Python's standard library."""


def score(completion, row):
    """Return the reward from 0 to 1; None if this row cannot be judged. Never `eval` what a model wrote."""
    # Change this to what is right for you. The first row has: {fields}.
'''
_COMPARING = """    said = completion.strip().split("\\n")[0].strip(" .").casefold()
    return float(said == str(row[{name}]).strip().casefold())
"""
_MISSING = """    raise NotImplementedError("write what a completion earns into this function")
"""


def reward_file(row: Mapping[str, Any]) -> str:
    """Return a Python file for rows like this one: compared with its answer, if it has one under a usual name."""
    name = next((name for name in ANSWERS if name in row), None)
    head = _HEAD.format(fields=", ".join(map(json.dumps, row)) or "nothing")
    return head + (_COMPARING.format(name=json.dumps(name)) if name is not None else _MISSING)
