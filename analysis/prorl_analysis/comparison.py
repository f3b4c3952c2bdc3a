"""Everything that is said of a base and one checkpoint, as values: what the terminal, the page and the JSON file
show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from prorl_analysis.boundary import Boundary, boundary
from prorl_analysis.competence import Point, correlation, item_points, task_points
from prorl_analysis.estimators import Estimate
from prorl_analysis.groups import Sweep, groups_of, is_trained, sweeps_of
from prorl_analysis.results import Item, Results
from prorl_analysis.scores import Gains, Scores, gains, scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One group of items: a source, or a task of one."""

    name: str
    is_trained: bool | None
    """False: out of distribution; None: the evaluations do not say."""
    boundary: Boundary
    base: Scores
    checkpoint: Scores
    gains: Gains
    competence: Estimate | None
    """Correlation over items of gain and the base's competence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A base and one checkpoint."""

    base: str
    checkpoint: str
    rows: tuple[Row, ...]
    warnings: tuple[str, ...]
    sweeps: tuple[Sweep, ...]
    tasks: tuple[Point, ...]
    task_competence: Estimate | None
    """Correlation over tasks; None: too few."""


def compare(base: Results, checkpoint: Results, *, k: int | None = None) -> Comparison:
    """Compare two evaluations of the same items.

    Args:
        base: Of the base model.
        checkpoint: Of the trained one.
        k: Samples of an item that are looked at; None: the fewest that any item of a group has.
    """
    groups = groups_of(base)
    warnings = _warnings(base, checkpoint)
    rows = []
    judged: dict[str, tuple[Item, ...]] = {}
    for name, every in groups.items():
        items = tuple(item for item in every if base.counts(item)[0] and checkpoint.counts(item)[0])
        fewest = min((min(base.counts(item)[0], checkpoint.counts(item)[0]) for item in items), default=0)
        warnings += _sample_warnings(name, len(every) - len(items), fewest, base.settings.samples, k)
        if fewest < max(1, k or 1):
            continue
        judged[name] = items
        rows.append(
            Row(
                name=name,
                is_trained=is_trained(base, name, groups),
                boundary=boundary(base, checkpoint, name, items=items, k=k),
                base=scores(base, items),
                checkpoint=scores(checkpoint, items),
                gains=gains(base, checkpoint, items),
                competence=correlation(item_points(base, checkpoint, items)),
            )
        )
    points = task_points(base, checkpoint, judged)
    return Comparison(
        base=base.path,
        checkpoint=checkpoint.path,
        rows=tuple(rows),
        warnings=tuple(warnings),
        sweeps=tuple(sweeps_of(list(judged))),
        tasks=tuple(points),
        task_competence=correlation(points),
    )


def _sample_warnings(name: str, num_unjudged: int, fewest: int, samples: int, k: int | None) -> list[str]:
    """Return what missing judgements do to a group."""
    if not fewest:
        return [f"{name}: no numbers. No item has a judged sample in both evaluations."]
    found = [f"{name}: {num_unjudged} items without a judged sample are left out."] if num_unjudged else []
    if k is not None and fewest < k:
        found.append(f"{name}: no numbers. An item has {fewest} judged samples, and {k} of every item are asked for.")
    elif k is None and fewest * 10 < samples * 9:
        found.append(f"{name}: k ends at {fewest}: an item has no more judged samples; {samples} were asked for.")
    return found


def _warnings(base: Results, checkpoint: Results) -> list[str]:
    """Return what a reader must know before any number."""
    found = []
    for source in base.settings.sources:
        touched = [side.settings.contamination.get(source) for side in (base, checkpoint)]
        worst = max((entry for entry in touched if entry), key=lambda entry: entry.touched, default=None)
        if worst is not None and worst.touched:
            found.append(
                f"{source}: {worst.touched} of {worst.items} items stand in files that the job trains on; "
                "what is gained on them may be memory."
            )
    digests = [side.settings.weights.rpartition("-")[2] for side in (base, checkpoint)]
    if digests[0] and digests[0] == digests[1]:
        found.append(f"Both evaluations sampled the same weights ({digests[0]}).")
    for side in (base, checkpoint):
        samples = [sample for found_samples in side.samples.values() for sample in found_samples]
        masked = sum(sample.reward is None for sample in samples)
        cut = sum(sample.is_truncated for sample in samples)
        if masked:
            found.append(f"{side.path}: {masked} of {len(samples)} samples could not be judged, and count neither way.")
        if cut * 20 > len(samples):
            found.append(
                f"{side.path}: {cut / len(samples):.0%} of the samples ran into {side.settings.max_completion_tokens} "
                "tokens; what they would have answered is not known."
            )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two checkpoints on the same group of items."""

    name: str
    earlier: str
    later: str
    gain: Estimate
    """avg@n, later less earlier, paired."""
    p_value: float | None


def consecutive(checkpoints: Sequence[Results]) -> list[Pair]:
    """Compare each checkpoint with the one before it, group by group."""
    pairs = []
    for earlier, later in pairwise(checkpoints):
        for name, items in groups_of(earlier).items():
            if all(earlier.counts(item)[0] and later.counts(item)[0] for item in items):
                found = gains(earlier, later, items)
                pairs.append(
                    Pair(name=name, earlier=earlier.path, later=later.path, gain=found.average, p_value=found.average_p)
                )
    return pairs
