"""What the kept runs allow to be said, worded by their intervals. Pure.

Intervals over items speak of other items of these very runs. Whether another seed would do the same is said by runs
with other seeds alone: from three on there is an interval over seeds (Student's t), before that none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import stats

from prorl_analysis.boundary import Boundary, boundary
from prorl_analysis.estimators import CONFIDENCE, Estimate, at_most, paired_difference, pass_at_k
from prorl_analysis.prolonged.record import BaseRecord, Evaluation, Record, as_results
from prorl_analysis.results import require_comparable

FEWEST_SEEDS = 3
UNEASY_SOURCES = ("depth-3", "depth-4", "depth-5", "depth-6", "depth-7", "depth-8")
"""Where there is something to learn: the base solves the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What happened between two evaluations of one run, over all items that there is something to learn on."""

    earlier: int
    later: int
    gain: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """One arm against another: pass@1 on the same items at the same step, seed by seed."""

    arm: str
    other: str
    at: tuple[tuple[int, int, Estimate], ...]
    """(seed, step, arm less other over items)."""
    over_seeds: Estimate | None
    """None: fewer than three seeds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmLevels:
    """One arm at one step, over its seeds."""

    arm: str
    step: int
    seeds: tuple[int, ...]
    means: Mapping[str, list[float]]
    """By depth: pass@1, mean over items, of each seed."""
    solved: Mapping[str, list[int]]
    """By depth: items with a right sample, of each seed."""


def last_step(record: Record) -> int | None:
    """Return the last evaluated step; None if none was."""
    return max(record.evaluations, default=None)


def boundaries(base: BaseRecord, evaluation: Evaluation) -> list[Boundary]:
    """Return what training moved, depth by depth, at as many samples as both have.

    Raises:
        SpecError: The two are of other items or other settings.
    """
    before, after = as_results(base.evaluation, "base"), as_results(evaluation, "checkpoint")
    require_comparable(before, after)
    return [boundary(before, after, source) for source in base.evaluation.levels if source in evaluation.levels]


def is_beyond_base(found: Boundary) -> bool:
    """Tell whether the base solved no item of a depth within k samples, and the checkpoint some."""
    return not found.preserved and not found.shrunk and bool(found.expanded)


def bound_of_base(base: BaseRecord, source: str) -> float:
    """Return the upper 95 % bound of the base's success in a sample where it had none, as if all of a depth's samples
    were independent and alike."""
    return at_most(sum(item.judged for item in base.evaluation.levels[source].items))


def shares(evaluation: Evaluation, sources: Sequence[str]) -> list[float]:
    """Return pass@1 of every item of some depths, one depth behind the other."""
    items = [item for source in sources if source in evaluation.levels for item in evaluation.levels[source].items]
    return pass_at_k([item.judged for item in items], [item.right for item in items], 1).tolist()  # type: ignore[no-any-return]


def mean_share(evaluation: Evaluation, source: str) -> float:
    """Return pass@1 of one depth, mean over items."""
    return float(np.mean(shares(evaluation, [source])))


def progress(base: BaseRecord, record: Record) -> list[Step]:
    """Return the gain from each evaluation of a run to the next, the base's first."""
    found = {0: base.evaluation, **record.evaluations}
    return [
        Step(
            earlier=earlier,
            later=later,
            gain=paired_difference(shares(found[earlier], UNEASY_SOURCES), shares(found[later], UNEASY_SOURCES)),
        )
        for earlier, later in pairwise(sorted(found))
    ]


def by_arm(records: Sequence[Record], arm: str) -> ArmLevels | None:
    """Return what an arm came to, over seeds: at the last step at which all its evaluated seeds have an evaluation.

    Returns:
        None where no seed has an evaluation, or they have none at the same step.
    """
    evaluated = [record for record in records if record.arm == arm and record.evaluations]
    common = set.intersection(*(set(record.evaluations) for record in evaluated)) if evaluated else set()
    if not common:
        return None
    step = max(common)
    found = [record.evaluations[step] for record in evaluated]
    means = {source: [mean_share(evaluation, source) for evaluation in found] for source in found[0].levels}
    solved = {
        source: [sum(item.right > 0 for item in evaluation.levels[source].items) for evaluation in found]
        for source in found[0].levels
    }
    return ArmLevels(arm=arm, step=step, seeds=tuple(record.seed for record in evaluated), means=means, solved=solved)


def contrast(records: Sequence[Record], arm: str, other: str) -> Contrast | None:
    """Compare two arms where both have an evaluation at the same step; the last such step of each seed counts."""
    at = []
    by = {(record.arm, record.seed): record.evaluations for record in records}
    for seed in sorted({record.seed for record in records}):
        first, second = by.get((arm, seed), {}), by.get((other, seed), {})
        if common := first.keys() & second.keys():
            step = max(common)
            gain = paired_difference(shares(second[step], UNEASY_SOURCES), shares(first[step], UNEASY_SOURCES))
            at.append((seed, step, gain))
    if not at:
        return None
    return Contrast(arm=arm, other=other, at=tuple(at), over_seeds=over_seeds([gain.value for _, _, gain in at]))


def over_seeds(values: Sequence[float]) -> Estimate | None:
    """Return the mean over seeds with Student's t interval; None for fewer than three or where all are equal."""
    if len(values) < FEWEST_SEEDS or len(set(values)) == 1:
        return None
    spread = stats.t.interval(CONFIDENCE, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    return Estimate(value=float(np.mean(values)), low=float(spread[0]), high=float(spread[1]), num_items=len(values))


def verdict(gain: Estimate) -> str:
    """Return what an interval allows to say of a difference."""
    if gain.low is not None and gain.low > 0:
        return "higher"
    if gain.high is not None and gain.high < 0:
        return "lower"
    return "not told apart"
