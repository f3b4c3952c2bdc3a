"""What the kept runs show and do not show, in sentences: what is missing and what failed to show stand first. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prorl_analysis.boundary import Boundary, Regime
from prorl_analysis.estimators import Direction, Estimate, at_most, direction
from prorl_analysis.prolonged import claims, words
from prorl_analysis.prolonged.arms import Arms
from prorl_analysis.prolonged.record import BaseRecord, Ending, Record
from prorl_api.errors import Fault, SpecError

_WANTED_SAMPLES = 1024
"""As those have them who dispute that training widens what a model can do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A run's last evaluation against the base."""

    record: Record
    boundaries: tuple[Boundary, ...]
    """By depth."""
    progress: tuple[claims.Step, ...]
    deep: tuple[Boundary, ...] = ()
    """The same with more samples an item, where both have them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Everything that is known."""

    arms: Arms
    base: BaseRecord | None
    records: tuple[Record, ...]
    """In the order of the arms, then of seeds."""
    judged: tuple[Judged, ...]
    """The runs that have an evaluation."""

    @property
    def judged_runs(self) -> tuple[Judged, ...]:
        """The runs of ProRL among the judged ones: what an arm that is shown solutions does is no claim of it."""
        return tuple(run for run in self.judged if not self.arms.arm(run.record.arm).supervised)

    @property
    def levels(self) -> list[claims.ArmLevels]:
        """What each arm came to over its seeds, in the order of the arms."""
        return [level for arm in self.arms.arms for level in claims.by_arm(self.records, arm.name)]


def judge(arms: Arms, base: BaseRecord | None, records: Sequence[Record]) -> Kept:
    """Return the runs in the order of the arms and seeds, with what their evaluations say, computed once.

    Raises:
        SpecError: A run is of an arm that the table does not have, or began with another base.
    """
    _require_one_base(base, records)
    order = {name: number for number, name in enumerate(arm.name for arm in arms.arms)}
    kept = tuple(sorted(records, key=lambda record: (order[arms.arm(record.arm).name], record.seed)))
    judged = tuple(
        Judged(
            record=record,
            boundaries=tuple(claims.boundaries(base, record.evaluations[step])),
            progress=tuple(claims.progress(base, record)),
            deep=_deep(base, record),
        )
        for record in kept
        if base is not None and (step := claims.last_step(record)) is not None
    )
    return Kept(arms=arms, base=base, records=kept, judged=judged)


def _deep(base: BaseRecord, record: Record) -> tuple[Boundary, ...]:
    if base.deep is None or not record.deep:
        return ()
    return tuple(claims.boundaries(BaseRecord(base=base.base, evaluation=base.deep), record.deep[max(record.deep)]))


def _require_one_base(base: BaseRecord | None, records: Sequence[Record]) -> None:
    digests = [base.base] if base is not None else [record.base for record in records[:1]]
    faults = [
        Fault(
            path=f"{record.arm}-seed-{record.seed}.json",
            got=f"a run of base {record.base[:12]}",
            want=f"base {digests[0][:12]}, as the others: another machine trains another one; keep them apart",
        )
        for record in records
        if record.base != digests[0]
    ]
    if faults:
        raise SpecError(faults, source="the kept runs")


def name(record: Record) -> str:
    """Return what a run is called on the page."""
    return f"{record.arm}, seed {record.seed}"


def not_shown(kept: Kept) -> str:
    """Return the page's first section: what is missing, and what the runs do not bear out."""
    lines = ["## What did not show, and what did not run", ""]
    lines += [f"- {text}" for text in (*_missing(kept), *_negative(kept))]
    return "\n".join(lines)


def _missing(kept: Kept) -> list[str]:
    done = {(record.arm, record.seed): record for record in kept.records}
    lacking = {arm.name: [seed for seed in kept.arms.seeds if (arm.name, seed) not in done] for arm in kept.arms.arms}
    absent = [f"{arm} with seed {words.listed(list(map(str, seeds)))}" for arm, seeds in lacking.items() if seeds]
    wanted = len(kept.arms.arms) * len(kept.arms.seeds)
    found = [f"{len(done)} of {wanted} runs are here. Not run: {'; '.join(absent) or 'none'}."]
    for record in kept.records:
        if record.ended is Ending.SHORTENED:
            found.append(f"{name(record)}: shortened to {record.steps} of {record.planned_steps} steps.")
        elif record.ended is Ending.UNFINISHED:
            found.append(f"{name(record)}: stands at step {record.steps} of {record.planned_steps}, not finished.")
        elif record.ended is Ending.FAILED:
            found.insert(
                1, f"{name(record)}: FAILED at step {record.steps} by itself (no signal, or no finite numbers)."
            )
        elif record.ended is Ending.MASTERED:
            found.append(f"{name(record)}: ended at step {record.steps}, where every group was right.")
        if not record.evaluations:
            found.append(f"{name(record)}: no checkpoint of it has been evaluated; only its training curves are here.")
    seeds = {
        arm.name: len({run.record.seed for run in kept.judged if run.record.arm == arm.name}) for arm in kept.arms.arms
    }
    few = [arm for arm, count in seeds.items() if 0 < count < claims.FEWEST_SEEDS]
    if few or not any(seeds.values()):
        found.append(f"Fewer than three seeds: {words.listed(few)}. Of these arms as such nothing can be said here.")
    samples = kept.arms.evaluation.samples
    if samples < _WANTED_SAMPLES:
        deep = [name(run.record) for run in kept.judged if run.deep and run.deep[0].k >= _WANTED_SAMPLES]
        but = f" (but of {words.listed(deep)})" if deep else ""
        found.append(
            f"pass@k goes to {samples}, not to {_WANTED_SAMPLES}{but}: four times the time for each evaluation."
        )
    return found


@dataclass(frozen=True, slots=True)
class _Finding:
    """One thing that one run shows; runs that show the same are told together."""

    what: str
    run: str
    figures: str


def _together(found: Sequence[_Finding], num_runs: int) -> list[str]:
    """Return one sentence for each thing that was found, in the order of depths and then of what came first."""
    runs: dict[str, dict[str, list[str]]] = {}
    for one in found:
        runs.setdefault(one.what, {}).setdefault(one.run, []).append(one.figures)
    return [
        f"{what}, in {len(by_run)} of {num_runs} runs: "
        + "; ".join(f"{run} ({', '.join(figures)})" for run, figures in by_run.items())
        + "."
        for what, by_run in sorted(runs.items(), key=lambda entry: entry[0].split(":")[0])
    ]


def _negative(kept: Kept) -> list[str]:
    """Return what ProRL's claims would have and the runs do not show."""
    runs = kept.judged_runs
    found = _together([one for run in runs for one in _lost_by(run)], len(runs))
    found += _together([one for run in runs for one in _not_gained_by(run, kept.arms)], len(runs))
    return found + [_sentence(contrast) for contrast in _contrasts(kept) if not _is_told(contrast)]


def _lost_by(run: Judged) -> list[_Finding]:
    found, which = [], name(run.record)
    for entry in run.boundaries:
        if entry.shrunk:
            what = f"{entry.source}: items that the base solved within {entry.k} samples were lost"
            found.append(_Finding(what, which, f"{len(entry.shrunk)}, and {len(entry.expanded)} gained"))
        if entry.regime is Regime.DIMINISHED:
            found.append(_Finding(f"{entry.source}: pass@{entry.k} fell", which, _gain(entry.last_gain)))
        if direction(entry.first_gain) is Direction.LOWER:
            found.append(_Finding(f"{entry.source}: pass@1 fell", which, _gain(entry.first_gain)))
    return found + [_Finding(f"{_PROGRESS} fell", which, _between(step)) for step in _steps(run, Direction.LOWER)]


def _not_gained_by(run: Judged, arms: Arms) -> list[_Finding]:
    found, which = [], name(run.record)
    for entry in run.boundaries:
        if entry.source not in claims.UNEASY_SOURCES or direction(entry.first_gain) is Direction.LOWER:
            continue
        if not claims.rises_above(entry.first_gain, arms.evaluation.guess):
            what = f"{entry.source}: pass@1 did not rise beyond doubt and guessing"
            found.append(_Finding(what, which, _gain(entry.first_gain)))
    found += [
        _Finding(f"{_PROGRESS} did not rise beyond doubt", which, _between(step))
        for step in _steps(run, Direction.NOT_TOLD_APART)
    ]
    return found


def shown(kept: Kept) -> str:
    """Return the section of what the data allow to be claimed."""
    base = kept.base
    runs = kept.judged_runs
    findings = [one for run in runs if base is not None for one in _shown_of(base, run, kept.arms)]
    found = _together(findings, len(runs))
    found += [_sentence(contrast) for contrast in _contrasts(kept) if _is_told(contrast)]
    return "\n".join(["## What showed", "", *(f"- {text}" for text in found or ["Nothing yet."])])


def _shown_of(base: BaseRecord, run: Judged, arms: Arms) -> list[_Finding]:
    found, which = [], name(run.record)
    for entry in run.boundaries:
        if claims.is_beyond_base(entry, arms.evaluation.guess):
            num_items = len(entry.expanded) + len(entry.out_of_reach)
            bound = words.percent(claims.bound_of_base(base, entry.source))
            what = (
                f"{entry.source}: the base solved none of {num_items} items within {entry.k} samples (its mean rate "
                f"over these items is below {bound}, that of one item below {words.percent(at_most(entry.k))}), the "
                "checkpoint some"
            )
            items = f"{len(entry.expanded)}; pass@1 {_gain(entry.first_gain)}"
            found.append(_Finding(what, which, items))
        elif entry.regime is Regime.SUSTAINED and entry.source in claims.UNEASY_SOURCES:
            found.append(_Finding(f"{entry.source}: pass@{entry.k} rose", which, _gain(entry.last_gain)))
        elif entry.source in claims.UNEASY_SOURCES and claims.rises_above(entry.first_gain, arms.evaluation.guess):
            found.append(_Finding(f"{entry.source}: pass@1 rose", which, _gain(entry.first_gain)))
    return found + [_Finding(f"{_PROGRESS} rose", which, _between(step)) for step in _steps(run, Direction.HIGHER)]


_PROGRESS = "pass@1 over depths 3 to 8, from one evaluation to the next,"


def _steps(run: Judged, wanted: Direction) -> list[claims.Step]:
    return [step for step in run.progress if direction(step.gain) is wanted]


def _between(step: claims.Step) -> str:
    return f"step {step.earlier} to {step.later}: {_gain(step.gain)}"


def _contrasts(kept: Kept) -> list[tuple[claims.Contrast, str]]:
    return [
        (contrast, each.asks)
        for each in kept.arms.contrasts
        for contrast in claims.contrasts(kept.records, each.arm, each.other)
    ]


def _is_told(contrast: tuple[claims.Contrast, str]) -> bool:
    gain = contrast[0].over_seeds
    return gain is not None and direction(gain) is not Direction.NOT_TOLD_APART


def _sentence(asked: tuple[claims.Contrast, str]) -> str:
    """Say how two arms stand to each other over seeds, and seed by seed over items."""
    found, asks = asked
    single = [
        f"seed {seed} {_gain(gain)} over items ({direction(gain)})" for seed, gain in sorted(found.by_seed.items())
    ]
    if found.over_seeds is None:
        over = f"{len(single)} of at least {claims.FEWEST_SEEDS} seeds"
    else:
        over = f"{_gain(found.over_seeds)} over {len(single)} seeds: {direction(found.over_seeds)}"
    which = f"{found.arm} less {found.other} ({asks}), pass@1 over depths 3 to 8 at step {found.step}"
    return f"{which}: {over}; {'; '.join(single)}."


def _gain(gain: Estimate) -> str:
    return words.estimate(gain, is_signed=True)
