"""How fast a run's tokens come: one measure for console, status, report and plan. Pure.

Completion tokens per second of sampling, and packed positions per second of updating, over the steps that have both.
What a step takes besides is told as its seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

SAMPLED = "tokens/s sampled"
"""Said behind the first."""
TRAINED = "positions/s trained"


def sampled_per_second(lines: Sequence[Mapping[str, Any]]) -> float | None:
    """Return completion tokens per second of sampling; None where no line says both."""
    return _rate(lines, "tokens_generated", "seconds_sampling")


def trained_per_second(lines: Sequence[Mapping[str, Any]]) -> float | None:
    """Return packed positions per second of updating; None where no line says both."""
    return _rate(lines, "positions_trained", "seconds_updating")


def _rate(lines: Sequence[Mapping[str, Any]], amount: str, seconds: str) -> float | None:
    """Return the total amount over the total time."""
    pairs = [(done, spent) for line in lines if (done := _number(line, amount)) and (spent := _number(line, seconds))]
    return sum(done for done, _ in pairs) / sum(spent for _, spent in pairs) if pairs else None


def _number(line: Mapping[str, Any], name: str) -> float:
    """Return a value of a line that may be damaged; 0 for none."""
    found = line.get(name)
    return float(found) if isinstance(found, int | float) and math.isfinite(found) else 0.0
