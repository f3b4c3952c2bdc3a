"""Which rectangles of a pack's attention are computed, and which are left out. Pure.

A pack of T positions has T x T pairs of which few are allowed: a position attends within its own sequence alone. Here
they are cut into blocks, query range x key range, whose allowed pairs are all of a pack's, each in exactly one block. A
position may have keys in several blocks: who computes them puts the parts together.

A pack that continues a prefix is planned as if the prefix were in front; then the prefix's own queries are left out.
Positions here are those of both together.

Cost rule: a block costs its pairs, allowed or not, and `call_cost` pairs for being a call of its own. Of a group's ways
the cheapest is taken: all of it under one small mask (short completions), or the prompt, the completions on the prompt,
and the completions on themselves apart, the latter each for itself or together under one mask.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from prorl_trainer.algorithm.types import Pack

CALL_COST = 1024
"""Pairs that take as long as one more call does: 100 microseconds forward and backward at 9 heads of 64."""
_MOST_PAIRS_MASKED = 2**20
"""Of a block with a mask. Masks are the only thing here that has an entry for each pair."""
_FEWEST_ROWS, _MOST_ROWS = 64, 512
"""Of a block in a sliding window: few rows have few pairs for nothing, many rows few calls."""


class Kind(Enum):
    """Which of a block's pairs are allowed."""

    FULL = "all"
    CAUSAL = "the lower triangle of a square"
    MASKED = "what a mask says"


@dataclass(frozen=True, slots=True)
class Block:
    """Queries of one range of positions, keys of another."""

    start: int
    stop: int
    key_start: int
    key_stop: int
    kind: Kind

    @property
    def num_pairs(self) -> int:
        """Query-key pairs, allowed or not."""
        return (self.stop - self.start) * (self.key_stop - self.key_start)


@dataclass(frozen=True, slots=True)
class Span:
    """A range of positions."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """Positions."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class GroupSpans:
    """Where a prompt and its completions lie in a pack, one after another."""

    prompt: Span
    completions: tuple[Span, ...]

    @property
    def whole(self) -> Span:
        """All of the group."""
        return Span(self.prompt.start, (self.completions or (self.prompt,))[-1].stop)

    @property
    def longest(self) -> int:
        """Positions of the longest sequence: the prompt with one completion."""
        return self.prompt.length + max((completion.length for completion in self.completions), default=0)


def spans_of(pack: Pack) -> list[GroupSpans]:
    """Return the groups of a pack in order, a prefix in front; padding is a prompt without completions."""
    group_ids, branch_ids, _ = pack.seen
    changes = np.flatnonzero((np.diff(group_ids) != 0) | (np.diff(branch_ids) != 0)) + 1
    edges = [0, *changes.tolist(), len(group_ids)]
    groups: list[list[Span]] = []
    for start, stop in itertools.pairwise(edges):
        if branch_ids[start] == 0:
            groups.append([])
        groups[-1].append(Span(start, stop))
    return [GroupSpans(prompt, tuple(completions)) for prompt, *completions in groups]


def plan_blocks(pack: Pack, window: int | None = None, call_cost: int = CALL_COST) -> tuple[Block, ...]:
    """Cut a pack's attention into blocks.

    Args:
        pack: Its groups lie one after another, each a prompt and then its completions.
        window: Positions of its sequence that a position sees, its own included; None: all before it.
        call_cost: In pairs; 0 takes everything apart.
    """
    blocks: list[Block] = []
    for group in spans_of(pack):
        binding = window if window is not None and window < group.longest else None
        ways = _ways(group, binding, call_cost, pack.prefix_length)
        blocks += _cheapest((list(_asking(way, pack.prefix_length)) for way in ways), call_cost)
    return tuple(blocks)


def _asking(blocks: Sequence[Block], first: int) -> Iterator[Block]:
    """Leave out the queries before a position."""
    for block in blocks:
        start = max(block.start, first)
        if start >= block.stop:
            continue
        is_last_row = block.kind is Kind.CAUSAL and start > block.start  # of the prompt: it sees all
        assert not is_last_row or start == block.stop - 1, "a prefix is all of its prompt but the last token"
        yield replace(block, start=start, kind=Kind.FULL if is_last_row else block.kind)


def _ways(group: GroupSpans, window: int | None, call_cost: int, prefix_length: int) -> Iterator[list[Block]]:
    whole = group.whole
    if len(group.completions) < (1 if prefix_length else 2):  # one sequence
        yield [_causal(whole)] if window is None else list(_in_window(whole, window))
    elif window is None:
        yield list(_apart(group, call_cost))
    else:
        yield list(_apart_in_window(group, window))
    if whole.length**2 <= _MOST_PAIRS_MASKED:
        yield [_masked(whole, whole)]


def _cheapest(ways: Iterator[list[Block]], call_cost: int) -> list[Block]:
    return min(ways, key=lambda blocks: sum(block.num_pairs + call_cost for block in blocks))


def _apart(group: GroupSpans, call_cost: int) -> Iterator[Block]:
    """Nothing is computed that is not allowed, but for the upper triangles."""
    prompt, completions = group.prompt, Span(group.prompt.stop, group.whole.stop)
    yield _causal(prompt)
    yield Block(completions.start, completions.stop, prompt.start, prompt.stop, Kind.FULL)
    together = [_masked(completions, completions)] if completions.length**2 <= _MOST_PAIRS_MASKED else None
    each = [_causal(completion) for completion in group.completions]
    yield from each if together is None else _cheapest(iter((each, together)), call_cost)


def _apart_in_window(group: GroupSpans, window: int) -> Iterator[Block]:
    yield from _in_window(group.prompt, window)
    for completion in group.completions:
        yield from _on_the_prompts_end(group.prompt, completion, window)
        yield from _in_window(completion, window)


def _in_window(sequence: Span, window: int) -> Iterator[Block]:
    """Cut a sequence on itself."""
    for rows in _rows(sequence, window):
        yield _masked(rows, Span(max(sequence.start, rows.start - window + 1), rows.stop))


def _on_the_prompts_end(prompt: Span, completion: Span, window: int) -> Iterator[Block]:
    """Cut the first tokens of a completion, as far as their window reaches back, on the prompt."""
    reaching = Span(completion.start, min(completion.stop, completion.start + window - 1))
    for rows in _rows(reaching, min(window, prompt.length)):
        first_seen = prompt.stop - (window - 1) + (rows.start - completion.start)
        yield _masked(rows, Span(max(prompt.start, first_seen), prompt.stop))


def _rows(span: Span, window: int) -> Iterator[Span]:
    """Cut into runs of about as many rows as a window has keys, within bounds."""
    size = min(max(window, _FEWEST_ROWS), _MOST_ROWS, max(1, _MOST_PAIRS_MASKED // window))
    for start in range(span.start, span.stop, size):
        yield Span(start, min(start + size, span.stop))


def _causal(span: Span) -> Block:
    return Block(span.start, span.stop, span.start, span.stop, Kind.CAUSAL)


def _masked(rows: Span, keys: Span) -> Block:
    return Block(rows.start, rows.stop, keys.start, keys.stop, Kind.MASKED)


def first_parts(blocks: Sequence[Block], num_positions: int) -> list[bool]:
    """Return for each block whether none of its queries has had a part of its attention before."""
    seen, first = np.zeros(num_positions, dtype=bool), []
    for block in blocks:
        first.append(not seen[block.start : block.stop].any())
        seen[block.start : block.stop] = True
    return first
