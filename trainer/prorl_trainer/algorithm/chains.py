"""Which pieces share a pack, which continue a prefix, and on which rank. Pure.

Runs of completions into which a group is cut may continue one prefix: then they are on one rank, one after another,
and their prompt is computed once. Or each has the prompt in front: then they may be anywhere. Taken is what leaves the
busiest rank fewer positions, of the two ways for all groups of an optimizer step.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from prorl_api.prompt_sharing import Load, busiest, continued_load, spread
from prorl_trainer.algorithm.pieces import Piece


@dataclass(frozen=True, slots=True)
class Chain:
    """Packs that one rank takes one after another: one pack, or a prefix and the packs that continue it."""

    pieces: tuple[Piece, ...]
    """Of the one pack; or one a pack, of the same group."""
    is_continued: bool

    @property
    def load(self) -> Load:
        """With the prefix."""
        continued = _continued_load(self.pieces) if self.is_continued else None
        return continued or Load(1, sum(piece.num_positions for piece in self.pieces))


def spread_chains(pieces: Sequence[Piece], limit: int, num_ranks: int, *, continue_prefixes: bool) -> list[list[Chain]]:
    """Give each rank its chains.

    Args:
        pieces: Of one optimizer step, in order.
        limit: Largest number of positions in a pack, its prefix included.
        num_ranks: To spread over.
        continue_prefixes: False: no chain has more than one pack.
    """
    ways = [_filled(pieces, limit)]
    if continue_prefixes:
        continued, others = _parted(pieces)
        ways.insert(0, [*continued, *_filled(others, limit)])
    loads = [[chain.load for chain in chains] for chains in ways]
    by_rank = [spread(of_way, num_ranks) for of_way in loads]
    best = min(range(len(ways)), key=lambda way: busiest(loads[way], by_rank[way]))
    return [[ways[best][index] for index in indices] for indices in by_rank[best]]


def _parted(pieces: Sequence[Piece]) -> tuple[list[Chain], list[Piece]]:
    """Part the groups that are cut, and for which continuing a prefix pays, from all other pieces."""
    continued: list[Chain] = []
    others: list[Piece] = []
    for _, run in itertools.groupby(pieces, key=lambda piece: piece.group):
        of_group = tuple(run)
        if of_group[0].shares and _continued_load(of_group) is not None:
            continued.append(Chain(of_group, is_continued=True))
        else:
            others += of_group
    return continued, others


def _continued_load(pieces: Sequence[Piece]) -> Load | None:
    return continued_load(len(pieces[0].prompt_ids), [piece.num_positions for piece in pieces])


def _filled(pieces: Sequence[Piece], limit: int) -> list[Chain]:
    """Put each piece into the first pack that has room."""
    bins: list[list[Piece]] = []
    free: list[int] = []
    for piece in pieces:
        size = piece.num_positions
        place = next((index for index, room in enumerate(free) if room >= size), None)
        if place is None:
            bins.append([piece])
            free.append(limit - size)
        else:
            bins[place].append(piece)
            free[place] -= size
    return [Chain(tuple(of_pack), is_continued=False) for of_pack in bins]
