"""When completions of one prompt share it, and which rank takes which packs, for the learner and for a plan of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

SHARING_SAVES = 0.02
"""Share of a group's positions that a shared prompt must save to be worth it. What it costs: each completion's
attention is put together of two parts, and a group that stays together leaves more of a pack empty."""

CONTINUING_SAVES = 0.05
"""Share of a group's positions that a prefix which several packs continue must save: it is a pack of its own, which
goes forward and backward and has its gradients summed over ranks."""


def computed_positions(completion: int) -> int:
    """Return how many of a completion's tokens are computed: from the last one nothing is predicted."""
    return completion - 1


def sharing_pays(prompt: int, num_completions: int, completion_positions: int) -> bool:
    """Tell whether completions share their prompt.

    Args:
        prompt: Its tokens.
        num_completions: Of the prompt.
        completion_positions: Of all of them together.
    """
    return prompt * (num_completions - 1) >= SHARING_SAVES * (prompt * num_completions + completion_positions)


class Load(NamedTuple):
    """Packs that one rank takes one after another, and their positions together."""

    packs: int
    positions: int


def continued_load(prompt: int, pieces: Sequence[int]) -> Load | None:
    """Return what a group takes whose packs continue one prefix; None: that does not pay.

    The prefix is the prompt without its last token, with which each of the packs begins.

    Args:
        prompt: Its tokens.
        pieces: Positions of each part of the group, with the whole prompt in each.
    """
    saved = (len(pieces) - 1) * (prompt - 1)
    if saved <= 0 or saved < CONTINUING_SAVES * sum(pieces):
        return None
    return Load(len(pieces) + 1, sum(pieces) - saved)


def spread(loads: Sequence[Load], num_ranks: int) -> list[list[int]]:
    """Return the indices of each rank's loads.

    Most positions first, each to the rank with the fewest positions so far among those with the fewest packs.
    """
    taken: list[list[int]] = [[] for _ in range(num_ranks)]
    sums = [Load(0, 0)] * num_ranks
    for index in sorted(range(len(loads)), key=lambda index: -loads[index].positions):
        rank = min(range(num_ranks), key=sums.__getitem__)
        taken[rank].append(index)
        sums[rank] = Load(sums[rank].packs + loads[index].packs, sums[rank].positions + loads[index].positions)
    return taken


def busiest(loads: Sequence[Load], by_rank: Sequence[Sequence[int]]) -> int:
    """Return the positions of the rank that has most of them."""
    return max(sum(loads[index].positions for index in indices) for indices in by_rank)
