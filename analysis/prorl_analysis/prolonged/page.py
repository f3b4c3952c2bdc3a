"""docs/results/prolonged.md, made of the kept runs: what did not show and what did not run stand first."""

from __future__ import annotations

from collections.abc import Sequence

from prorl_analysis.boundary import Boundary
from prorl_analysis.estimators import Estimate
from prorl_analysis.prolonged import claims, words
from prorl_analysis.prolonged.figures import CURVES, OVERVIEW, PASSES
from prorl_analysis.prolonged.findings import Kept, name, not_shown, shown
from prorl_analysis.prolonged.record import BaseRecord, Record, Reset

_HEAD = """# The prolonged run

Written by `make results` from docs/results/prolonged/*.json, which `make prolonged ARM=... SEED=...` leaves; do not
edit. [toy-world.md](../toy-world.md) describes world, base model, manifest and arms, and how to run them. Intervals
are 95 %, each for itself: with this many, one in twenty errs. Those over items speak of other items of the same runs,
not of other seeds (each depth is resampled by itself; where few items are solved at all they are too narrow, see
[evaluation.md](../evaluation.md)); those over seeds need three, and speak of other seeds of the same base on the same
items. The evaluated items are those of the validations that triggers see; nothing is trained on them.

Before reading: the base knows every function and was taught to stop after two of them. What training brings out at
depths 3 to 5 is for a good part the habit to go on ([toy-world.md](../toy-world.md) has the base's rates once it does),
and that is what "beyond the base" means here. The arms differ in more than one thing: a reset moves the reference and
clears the optimizer's state, and behind the first one the KL term is small. Equal steps are not equal training: a step
trains the groups that three rounds of sampling found a signal in (under Cost). The arm `supervised` is told what the
others have to find, and takes two optimizer steps at each step where they mostly take one: it says what this model
learns from being shown, and is left out of what is claimed of runs. The KL shown is the estimator k3, whose tail is
heavy; the loss has k2."""


def page(kept: Kept) -> str:
    """Return the page's text."""
    parts = [_HEAD, not_shown(kept), shown(kept), _arms(kept), _runs(kept)]
    if kept.base is not None:
        parts.append(_base(kept.base, kept.arms.evaluation.guess))
    if kept.records:
        parts.append(f"## Over the steps\n\n![held-out accuracy, KL, its share, entropy](prolonged/{CURVES})")
        parts.append(_resets(kept.records))
    if kept.judged:
        parts.append(f"## Base against the last checkpoint\n\n![pass@k by depth](prolonged/{PASSES})")
        parts += [_boundary_table(kept), _deep(kept), _novelty(kept)]
    parts.append(_cost(kept.records))
    return "\n\n".join(part for part in parts if part) + "\n"


def _base(base: BaseRecord, guess: float) -> str:
    rows = []
    for source, level in base.evaluation.levels.items():
        bound = f"below {words.percent(claims.bound_of_base(base, source))}"
        share = words.percent(level.right / level.judged) if level.right else bound
        rows.append([source, f"{level.right:,} of {level.judged:,}", share, f"{level.solved} of {len(level.items)}"])
    samples = base.evaluation.samples
    head = ["depth", "right samples", "a sample", f"items solved within {samples} samples"]
    guessed = (
        f"A sample that only guesses is right once in {1 / guess:,.0f}" if guess else "Nothing is right by guessing"
    )
    return (
        f"## The base\n\nWeights {base.base[:12]}. At the temperature of training, the only one tried. Where nothing "
        "was right stands the upper 95 % bound of the mean rate over these items. "
        f"{guessed}, so that {1 - (1 - guess) ** samples:.0%} of items are solved within {samples} samples by guessing "
        f"alone.\n\n{words.table(head, rows)}"
    )


def _arms(kept: Kept) -> str:
    found = kept.levels
    if not found or kept.base is None:
        return ""
    sources = [source for source in claims.UNEASY_SOURCES if source in kept.base.evaluation.levels]
    rows = [
        [level.arm, str(level.step), words.listed([str(seed) for seed in level.seeds])]
        + [f"{_over_seeds(level.means[source])}; {_range(level.solved[source])}" for source in sources]
        for level in found
    ]
    samples = kept.base.evaluation.samples
    text = (
        f"![held-out accuracy by arm; pass@1 by depth](prolonged/{OVERVIEW})\n\n"
        "pass@1, mean over seeds with Student's t interval from three seeds on; behind it the items of "
        f"{kept.arms.evaluation.items} that were solved within {samples} samples, fewest to most over seeds."
    )
    return f"## By arm\n\n{text}\n\n{words.table(['arm', 'step', 'seeds', *sources], rows)}"


def _over_seeds(values: Sequence[float]) -> str:
    found = claims.over_seeds(values)
    return words.estimate(found) if found is not None else f"{sum(values) / len(values):.3f}"


def _range(counts: Sequence[int]) -> str:
    return str(counts[0]) if len(set(counts)) == 1 else f"{min(counts)} to {max(counts)}"


def _runs(kept: Kept) -> str:
    rows = []
    titles = {arm.name: arm.title for arm in kept.arms.arms}
    for record in kept.records:
        accuracy = record.validations.get("all", ())
        rows.append(
            [
                name(record),
                titles[record.arm],
                f"{record.steps} of {record.planned_steps}",
                record.ended,
                str(len(record.resets)),
                f"{accuracy[0]:.3f}, {accuracy[-1]:.3f}" if accuracy else "-",
            ]
        )
    head = ["run", "arm", "steps", "how it ended", "resets", "held out: before, last"]
    return f"## Runs\n\n{words.table(head, rows)}"


def _resets(records: Sequence[Record]) -> str:
    applied = [_reset(record, reset) for record in records for reset in record.resets]
    recorded = [_reset(record, reset) for record in records for reset in record.only_recorded]
    head = ["run", "reset at step", "trigger", "evidence"]
    parts = [words.table(head, applied) if applied else "No reset was applied in any of these runs."]
    if recorded:
        parts.append("What the trigger would have reset where nothing was (`mode: dry-run`; the KL is to the base):")
        parts.append(words.table(["run", "at step", *head[2:]], recorded))
    return "\n\n".join(parts)


def _reset(record: Record, reset: Reset) -> list[str]:
    return [name(record), str(reset.step), reset.trigger, reset.reason]


def _boundary_table(kept: Kept) -> str:
    return _boundaries([(run.record, entry) for run in kept.judged for entry in run.boundaries])


def _deep(kept: Kept) -> str:
    """Say the same with more samples, where there are some."""
    found = [(run.record, entry) for run in kept.judged for entry in run.deep]
    if not found or kept.base is None or kept.base.deep is None:
        return ""
    samples, levels = kept.base.deep.samples, kept.base.deep.levels
    rows = [[source, f"{level.right:,} of {level.judged:,}"] for source, level in levels.items()]
    steps = words.listed([f"{name(run.record)} at step {max(run.record.deep)}" for run in kept.judged if run.deep])
    text = f"### With {samples:,} samples an item\n\nThe same items, base and last checkpoint of {steps}. The base:"
    return "\n\n".join([text, words.table(["depth", "right samples of the base"], rows), _boundaries(found)])


def _boundaries(found: Sequence[tuple[Record, Boundary]]) -> str:
    rows = []
    for record, entry in found:
        (_, first_base, first), (_, last_base, last) = entry.curve[0], entry.curve[-1]
        parts = (entry.shrunk, entry.expanded, entry.preserved, entry.out_of_reach)
        rows.append(
            [
                name(record),
                entry.source,
                f"{words.estimate(first_base)} → {words.estimate(first)}",
                f"{last_base.value:.3f} → {last.value:.3f}",
                " / ".join(str(len(part)) for part in parts),
                " / ".join(map(words.ratio, (entry.support_retention, entry.net_discovery, entry.net_change))),
                entry.regime,
            ]
        )
    largest = max(entry.k for _, entry in found)
    head = [
        "run", "depth", "pass@1", f"pass@{largest}", "shrunk / expanded / preserved / out of reach", "SRR / NDR / NSCR",
        "regime",
    ]  # fmt: skip
    return words.table(head, rows)


def _novelty(kept: Kept) -> str:
    rows = []
    for record in kept.records:
        for step, evaluation in sorted(record.evaluations.items()):
            for source, level in evaluation.levels.items():
                if level.novelty is None:
                    continue
                found = Estimate(
                    value=level.novelty, low=level.novelty_low, high=level.novelty_high, num_items=len(level.items)
                )
                before = kept.base.evaluation.levels[source].entropy if kept.base else 0.0
                spread = f"{before:.2f} → {level.entropy:.2f}"
                cells = [words.estimate(found), spread, f"{level.tokens:.1f}", words.percent(level.truncated)]
                rows.append([name(record), str(step), source, *cells])
    head = ["run", "step", "depth", "creativity index", "entropy of answers: base → checkpoint", "tokens", "cut"]
    text = (
        "## Novelty and spread\n\nThe creativity index (arXiv 2410.04265) of completions against the base's own of all "
        "depths together. Every sign is a word, spans have 5 to 11 of them: 0 is what the base has written too, 7 new "
        "in all spans (6 at depth 1, whose completions have 10 signs). What is new need not be right."
    )
    return f"{text}\n\n{words.table(head, rows)}"


def _cost(records: Sequence[Record]) -> str:
    rows = [
        [
            name(record),
            f"{record.cost.hours:.2f}",
            f"{record.cost.step_seconds:.2f}, {record.cost.step_seconds_high:.2f}",
            f"{record.cost.tokens_generated / 1e6:.1f}",
            _groups(record),
            str(record.cost.attempts),
        ]
        for record in records
    ]
    head = [
        "run",
        "hours of steps",
        "seconds a step: median, 9 in 10 below",
        "million tokens sampled",
        "groups trained a step",
        "starts",
    ]
    return (
        "## Cost\n\nWall time on whatever machine ran it, with whatever else ran there; validations and checkpoints "
        f"are in the hours, not in the seconds.\n\n{words.table(head, rows)}"
    )


def _groups(record: Record) -> str:
    known = [value for value in record.curves.get("groups_trained", ()) if value is not None]
    return f"{sum(known) / len(known):.1f}" if known else "-"
