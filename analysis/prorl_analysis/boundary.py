"""What training moved across the boundary of the base model, item by item, at equal numbers of samples.

An item counts as solved at k if one of its first k judged samples is correct. Measures after "The Invisible Leash"
(arXiv 2507.14843): with P items preserved, E expanded, S shrunk, support retention SRR = P / (P + S), net discovery
NDR = E / (P + E), and NSCR = (E - S) / (P + E + S). Regimes are ProRL's names (arXiv 2505.24864 figure 4) by rules that
the paper does not give; ours are in `regime`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from prorl_analysis.estimators import (
    Direction,
    Estimate,
    direction,
    mean_over_items,
    moved,
    paired_difference,
    pass_at_k,
)
from prorl_analysis.results import Item, Results
from prorl_api.wire.sandbox import CORRECT_REWARD


class Regime(StrEnum):
    """How a source's pass@1 and pass@K moved."""

    DIMINISHED = "diminished"
    PLATEAU = "plateau"
    SUSTAINED = "sustained"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Boundary:
    """Base against one checkpoint on one source."""

    source: str
    k: int
    """Samples of an item that were looked at."""
    shrunk: tuple[Item, ...]
    expanded: tuple[Item, ...]
    preserved: tuple[Item, ...]
    out_of_reach: tuple[Item, ...]
    """Solved by neither: within so many samples, which is a bound and no more."""
    curve: tuple[tuple[int, Estimate, Estimate], ...]
    """(k, base's pass@k, the checkpoint's) at powers of two and K."""
    means: tuple[tuple[float, float], ...]
    """Base's pass@k and the checkpoint's at every k from 1 to K."""
    first_gain: Estimate
    """pass@1, checkpoint less base, paired."""
    last_gain: Estimate
    """pass@K, checkpoint less base, paired."""

    @property
    def support_retention(self) -> float | None:
        """SRR; None: the base solved nothing."""
        return _share(len(self.preserved), len(self.preserved) + len(self.shrunk))

    @property
    def net_discovery(self) -> float | None:
        """NDR; None: the checkpoint solved nothing."""
        return _share(len(self.expanded), len(self.preserved) + len(self.expanded))

    @property
    def net_change(self) -> float | None:
        """NSCR; None: neither solved anything."""
        moved = len(self.expanded) - len(self.shrunk)
        return _share(moved, len(self.preserved) + len(self.expanded) + len(self.shrunk))

    @property
    def regime(self) -> Regime:
        """Diminished: more items were lost than gained; sustained: more gained than lost, by McNemar's exact test.
        Plateau: pass@1 rose, and neither. Undecided otherwise: the data allow no word."""
        match moved(len(self.expanded), len(self.shrunk)):
            case Direction.HIGHER:
                return Regime.SUSTAINED
            case Direction.LOWER:
                return Regime.DIMINISHED
            case Direction.NOT_TOLD_APART:
                is_better = direction(self.first_gain) is Direction.HIGHER
                return Regime.PLATEAU if is_better else Regime.UNDECIDED


def boundary(
    base: Results, checkpoint: Results, source: str, *, items: Sequence[Item] | None = None, k: int | None = None
) -> Boundary:
    """Compare two evaluations of the same items of one source.

    Args:
        base: Of the base model.
        checkpoint: Of the trained one.
        source: What the items are called together.
        items: None: those of the source that both have.
        k: Samples of an item that are looked at; None: the fewest that any of them has.

    Raises:
        ValueError: An item has no judged sample in one of the two, or fewer than k.
    """
    if items is None:
        items = [item for item in base.samples if item[0] == source and item in checkpoint.samples]
    counts = {item: (base.counts(item), checkpoint.counts(item)) for item in items}
    judged = min((min(first[0], second[0]) for first, second in counts.values()), default=0)
    if judged < 1:
        raise ValueError(f"source {source}: an item has no judged sample in one of the evaluations")
    if k is not None and judged < k:
        raise ValueError(f"source {source}: an item has {judged} judged samples, fewer than k = {k}")
    k = k or judged
    solved = {item: (_is_solved(base, item, k), _is_solved(checkpoint, item, k)) for item in items}
    first, second = ([counts[item][side] for item in items] for side in (0, 1))
    at = {size: (_pass(first, size), _pass(second, size)) for size in powers(k)}
    return Boundary(
        source=source,
        k=k,
        shrunk=tuple(item for item in items if solved[item] == (True, False)),
        expanded=tuple(item for item in items if solved[item] == (False, True)),
        preserved=tuple(item for item in items if solved[item] == (True, True)),
        out_of_reach=tuple(item for item in items if solved[item] == (False, False)),
        curve=tuple((size, mean_over_items(before), mean_over_items(after)) for size, (before, after) in at.items()),
        means=tuple(
            (float(np.mean(_pass(first, size))), float(np.mean(_pass(second, size)))) for size in range(1, k + 1)
        ),
        first_gain=paired_difference(*at[1]),
        last_gain=paired_difference(*at[k]),
    )


def powers(k: int) -> list[int]:
    """1, 2, 4, ... below k, and k."""
    return [*(2**exponent for exponent in range(k.bit_length()) if 2**exponent < k), k]


def _is_solved(results: Results, item: Item, k: int) -> bool:
    return max(results.rewards(item)[:k]) >= CORRECT_REWARD


def _pass(counts: list[tuple[int, int]], k: int) -> list[float]:
    values: list[float] = pass_at_k([n for n, _ in counts], [c for _, c in counts], k).tolist()
    return values


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
