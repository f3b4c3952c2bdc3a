"""What the kept runs allow to be said, worded by their intervals. Pure.

Intervals over items speak of other items of these very runs. Whether another seed would do the same is said by runs
with other seeds alone: from three on there is an interval over seeds (Student's t), before that none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import stats

from prorl_analysis.boundary import Boundary, boundary
from prorl_analysis.estimators import (
    CONFIDENCE,
    Direction,
    Estimate,
    FloatArray,
    at_most,
    direction,
    mean_over_strata,
    moved,
    pass_at_k,
)
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
    """One arm against another: pass@1 on the same items at the same step of all seeds."""

    arm: str
    other: str
    step: int
    by_seed: Mapping[int, Estimate]
    """Arm less other over items."""
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


def is_beyond_base(found: Boundary, guess: float) -> bool:
    """Tell whether the base solved no item of a depth and the checkpoint more than chance and guessing explain.

    Args:
        found: One depth.
        guess: How often a sample that does not know the answer has it.
    """
    if found.preserved or found.shrunk or moved(len(found.expanded), 0) is not Direction.HIGHER:
        return False
    return rises_above(found.first_gain, guess)


def rises_above(gain: Estimate, guess: float) -> bool:
    """Tell whether a gain is one beyond doubt, and more than guessing brings."""
    low = gain.low if gain.low is not None else gain.value  # all items moved alike
    return direction(gain) is Direction.HIGHER and low > guess


def bound_of_base(base: BaseRecord, source: str) -> float:
    """Return the upper 95 % bound of the base's success in a sample where it had none, as if all of a depth's samples
    were independent and alike."""
    return at_most(base.evaluation.levels[source].judged)


def shares(evaluation: Evaluation, source: str) -> FloatArray:
    """Return pass@1 of every item of a depth."""
    items = evaluation.levels[source].items
    return pass_at_k([item.judged for item in items], [item.right for item in items], 1)


def mean_share(evaluation: Evaluation, source: str) -> float:
    """Return pass@1 of one depth, mean over items."""
    return float(np.mean(shares(evaluation, source)))


def difference(before: Evaluation, after: Evaluation) -> Estimate:
    """Return what pass@1 rose by on the same items, over all depths at which there is something to learn."""
    sources = [source for source in UNEASY_SOURCES if source in before.levels and source in after.levels]
    return mean_over_strata([shares(after, source) - shares(before, source) for source in sources])


def progress(base: BaseRecord, record: Record) -> list[Step]:
    """Return the gain from each evaluation of a run to the next, the base's first."""
    found = {0: base.evaluation, **record.evaluations}
    return [
        Step(
            earlier=earlier,
            later=later,
            gain=difference(found[earlier], found[later]),
        )
        for earlier, later in pairwise(sorted(found))
    ]


def by_arm(records: Sequence[Record], arm: str) -> list[ArmLevels]:
    """Return what an arm came to, over seeds: at the step at which most seeds have an evaluation, and at the last one
    of any seed where that is later. Empty where no seed has one."""
    found = {record.seed: record.evaluations for record in records if record.arm == arm and record.evaluations}
    return [
        _levels(arm, step, {seed: evaluations[step] for seed, evaluations in found.items() if step in evaluations})
        for step in _steps_to_tell([evaluations.keys() for evaluations in found.values()])
    ]


def _levels(arm: str, step: int, at: Mapping[int, Evaluation]) -> ArmLevels:
    sources, seeds = list(next(iter(at.values())).levels), sorted(at)
    return ArmLevels(
        arm=arm,
        step=step,
        seeds=tuple(seeds),
        means={source: [mean_share(at[seed], source) for seed in seeds] for source in sources},
        solved={source: [at[seed].levels[source].solved for seed in seeds] for source in sources},
    )


def contrasts(records: Sequence[Record], arm: str, other: str) -> list[Contrast]:
    """Compare two arms at the step at which most seeds have an evaluation of both, and at the last such step of any
    seed where that is later. Empty where no seed has both."""
    found = {(record.arm, record.seed): record.evaluations for record in records}
    seeds = sorted({record.seed for record in records})
    both = {seed: found.get((arm, seed), {}).keys() & found.get((other, seed), {}).keys() for seed in seeds}
    told = []
    for step in _steps_to_tell(list(both.values())):
        gains = {
            seed: difference(found[other, seed][step], found[arm, seed][step])
            for seed, steps in both.items()
            if step in steps
        }
        over = over_seeds([gain.value for gain in gains.values()])
        told.append(Contrast(arm=arm, other=other, step=step, by_seed=gains, over_seeds=over))
    return told


def _steps_to_tell(each: Sequence[Collection[int]]) -> list[int]:
    """Return the step that most have, of these the last, and the last step of all where it is later."""
    counts = Counter(step for steps in each for step in steps)
    if not counts:
        return []
    return sorted({max(counts, key=lambda step: (counts[step], step)), max(counts)})


def over_seeds(values: Sequence[float]) -> Estimate | None:
    """Return the mean over seeds with Student's t interval; None for fewer than three."""
    if len(values) < FEWEST_SEEDS:
        return None
    if len(set(values)) == 1:
        return Estimate(value=values[0], low=None, high=None, num_items=len(values))
    spread = stats.t.interval(CONFIDENCE, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    return Estimate(value=float(np.mean(values)), low=float(spread[0]), high=float(spread[1]), num_items=len(values))
