"""A reward of one's own: how near a sentence comes to the wanted number of words, and whether it has the wanted word.

It runs in a jail, a fresh one for each completion, with Python's standard library.
"""

import re
from typing import Any


def score(completion: str, row: dict[str, Any]) -> float | None:
    """Return the reward of a completion, from 0 to 1; None would say that this row cannot be judged."""
    words = re.findall(r"[\w'-]+", completion.lower())
    wanted: int = row["words"]
    nearness = max(0.0, 1 - abs(len(words) - wanted) / wanted)
    return 0.5 * nearness + 0.5 * float(row["must"] in words)
