"""Dynamic sampling (DAPO, arXiv 2503.14476 section 3.2; ProRL section 2.3).

A group whose rewards are all equal has zero advantage everywhere: it costs an update and teaches nothing, so it is
dropped and another prompt takes its place. The filter looks at what completions have earned (`length_shaping`): the
verifier's reward times `stopProperly` where they were cut, before any penalty by length. A group in which all are right
and some were cut teaches to stop, and is kept; one whose only right completion was cut with a factor of 0 teaches
nothing, and is dropped. The penalties do not count: with them hardly two rewards of a group are equal, and groups that
are all wrong would be trained for length alone.
"""

from __future__ import annotations

from collections.abc import Sequence

MIN_SCORED = 2
"""Fewer scored rollouts than this have no group statistic."""


def has_signal(rewards: Sequence[float | None]) -> bool:
    """Tell whether a group can teach something: at least two scored rollouts that differ."""
    known = [reward for reward in rewards if reward is not None]
    return len(known) >= MIN_SCORED and max(known) > min(known)


def is_scored(rewards: Sequence[float | None]) -> bool:
    """Tell whether a group has enough scored rollouts for a statistic, signal or not."""
    return sum(reward is not None for reward in rewards) >= MIN_SCORED
