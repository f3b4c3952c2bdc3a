"""From a run folder and its evaluations to the small record that is kept of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prorl_analysis.answers import answer_entropy
from prorl_analysis.corpus import CorpusIndex
from prorl_analysis.estimators import mean_over_items
from prorl_analysis.novelty import LONGEST, SHORTEST, coverage, creativity
from prorl_analysis.prolonged.record import Cost, Ending, Evaluation, Level, Record, Reset, counted
from prorl_analysis.results import Item, Results
from prorl_api.manifest import read_job
from prorl_api.metrics import STEP_PARTS, surviving
from prorl_api.resets import ResetCondition, ResetRecord
from prorl_api.run_folder import RunFolder
from prorl_api.run_identity import RunIdentity

EVERY = 10
"""Steps whose mean is one point of a curve."""
CURVES = (
    "reward_mean",
    "kl",
    "kl_loss_share",
    "entropy",
    "gradient_norm",
    "completion_length",
    "groups_kept",
    "groups_trained",
)
_BY_SOURCE = "accuracy_sampled/"
_VALIDATION, _VALIDATION_BY_SOURCE = "validation_accuracy", "validation_source_accuracy/"
_NOT_OF_A_STEP = ("seconds_validating", "seconds_checkpointing", "seconds_waiting", "seconds_resetting")
_DIGITS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Which run it is."""

    arm: str
    seed: int
    base: str
    assignments: tuple[str, ...]
    planned_steps: int


def record_of(
    run: RunFolder, which: Run, evaluations: Mapping[int, Evaluation], *, ending: Ending | None = None
) -> Record:
    """Return what is kept of a run folder as it stands.

    Args:
        run: The folder.
        which: Of the table of arms.
        evaluations: By step.
        ending: Why it has not come to its end; None: it has.
    """
    lines = lines_of(run)
    steps = int(lines[-1]["step"])
    validation_steps, validations = validations_of(lines)
    return Record(
        arm=which.arm,
        seed=which.seed,
        base=which.base,
        run=uid_of(run),
        assignments=which.assignments,
        planned_steps=which.planned_steps,
        steps=steps,
        ended=ending or _ending(run, steps, which.planned_steps),
        every=EVERY,
        curves=curves_of(lines),
        validation_steps=validation_steps,
        validations=validations,
        resets=resets_of(run),
        only_recorded=resets_of(run, only_recorded=True),
        cost=cost_of(lines),
        evaluations=evaluations,
    )


def record_of_shown(
    which: Run, steps: int, digest: str, seconds: float, evaluations: Mapping[int, Evaluation]
) -> Record:
    """Return what is kept of an arm that was shown worked solutions: nothing was sampled, and nothing reset.

    Args:
        which: Of the table of arms.
        steps: That were done.
        digest: Of the weights that it ended with.
        seconds: What all steps took.
        evaluations: By step.
    """
    each = rounded(seconds / steps)
    return Record(
        arm=which.arm,
        seed=which.seed,
        base=which.base,
        run=digest,
        assignments=which.assignments,
        planned_steps=which.planned_steps,
        steps=steps,
        ended=Ending.FINISHED if steps >= which.planned_steps else Ending.SHORTENED,
        every=EVERY,
        curves={},
        validation_steps=(),
        validations={},
        resets=(),
        cost=Cost(
            hours=rounded(seconds / 3600), step_seconds=each, step_seconds_high=each, tokens_generated=0, attempts=1
        ),
        evaluations=evaluations,
    )


def uid_of(run: RunFolder) -> str:
    """Return the uid of a run that has begun."""
    return RunIdentity.model_validate_json(run.identity.read_bytes()).uid


def _ending(run: RunFolder, steps: int, planned: int) -> Ending:
    if steps >= planned:
        return Ending.FINISHED
    total = read_job(run.effective_manifest).spec.schedule.total_steps
    return Ending.SHORTENED if steps >= total else Ending.MASTERED


def lines_of(run: RunFolder) -> list[dict[str, Any]]:
    """Return the surviving line of each step, ascending; step 0 is the model before training."""
    text = run.metrics.read_text(encoding="utf-8")
    return surviving(json.loads(line) for line in text.split("\n") if line.endswith("}"))


def curves_of(lines: Sequence[Mapping[str, Any]], every: int = EVERY) -> dict[str, tuple[float | None, ...]]:
    """Return the metrics as means over blocks of steps; None: no step of a block has the metric.

    Block b holds the steps b x every + 1 to (b + 1) x every; the last one may have fewer.
    """
    steps = [line for line in lines if line["step"] > 0]
    names = [*CURVES, *sorted({key for line in steps for key in line if key.startswith(_BY_SOURCE)})]
    num_blocks = -(-steps[-1]["step"] // every) if steps else 0
    found: dict[str, list[list[float]]] = {name: [[] for _ in range(num_blocks)] for name in names}
    for line in steps:
        for name in names:
            if (value := line.get(name)) is not None:
                found[name][(line["step"] - 1) // every].append(float(value))
    return {
        name: tuple(rounded(float(np.mean(block))) if block else None for block in blocks)
        for name, blocks in found.items()
        if any(blocks)
    }


def validations_of(lines: Sequence[Mapping[str, Any]]) -> tuple[tuple[int, ...], dict[str, tuple[float, ...]]]:
    """Return the validated steps, and by source (and `all`) the accuracies there."""
    validated = [line for line in lines if _VALIDATION in line]
    names = sorted({key for line in validated for key in line if key.startswith(_VALIDATION_BY_SOURCE)})
    steps = tuple(int(line["step"]) for line in validated)
    found = {name.removeprefix(_VALIDATION_BY_SOURCE): name for name in names} | {"all": _VALIDATION}
    return steps, {
        name: tuple(rounded(float(line[key])) for line in validated if key in line) for name, key in found.items()
    }


def resets_of(run: RunFolder, *, only_recorded: bool = False) -> tuple[Reset, ...]:
    """Return the applied resets in order, or those that a run in dry-run mode only recorded."""
    records = [ResetRecord.model_validate_json(path.read_bytes()) for path in sorted(run.resets.glob("*.json"))]
    wanted = [
        Reset(step=step, trigger=record.evidence.trigger, reason=record.evidence.reason)
        for record in records
        if record.dry_run is only_recorded
        and (step := record.evidence_step if only_recorded else record.applied_step) is not None
        and (only_recorded or record.condition is ResetCondition.APPLIED)
    ]
    return tuple(sorted(wanted, key=lambda reset: reset.step))


def cost_of(lines: Sequence[Mapping[str, Any]]) -> Cost:
    """Return what the surviving steps took; what was done twice after a kill does not count."""
    steps = [line for line in lines if line["step"] > 0]
    parts = [part for part in STEP_PARTS if part not in _NOT_OF_A_STEP]
    plain = [sum(float(line.get(part) or 0.0) for part in parts) for line in steps]
    return Cost(
        hours=rounded(sum(float(line.get("seconds_total") or 0.0) for line in lines) / 3600),
        step_seconds=rounded(float(np.median(plain))) if plain else 0.0,
        step_seconds_high=rounded(float(np.quantile(plain, 0.9))) if plain else 0.0,
        tokens_generated=int(sum(float(line.get("tokens_generated") or 0) for line in lines)),
        attempts=len({line["attempt"] for line in lines}),
    )


def spaced(completion: str) -> str:
    """Return a completion in which each sign is a word of its own, for novelty.

    Case does not count there, so that a function's name becomes a digit: `Cab` is `3 a b`.
    """
    signs = (str(ord(sign) - ord("A") + 1) if sign.isupper() else sign for sign in completion.replace("</think>", "|"))
    return " ".join(signs)


def corpus_of(base: Results) -> CorpusIndex:
    """Return the base's own completions as the corpus that novelty is held against."""
    return CorpusIndex([[spaced(sample.completion)] for samples in base.samples.values() for sample in samples])


def evaluation_of(results: Results, corpus: CorpusIndex | None) -> Evaluation:
    """Reduce an evaluation to what is kept of it.

    Args:
        results: All samples.
        corpus: What novelty is held against; None: novelty says nothing, as of the base against itself.
    """
    settings = results.settings
    digest = hashlib.sha256(json.dumps(sorted(settings.sources.items())).encode()).hexdigest()
    return Evaluation(
        samples=settings.samples,
        temperature=settings.temperature,
        top_p=settings.top_p,
        items_digest=digest,
        levels={
            source: _level(results, [item for item in results.samples if item[0] == source], corpus)
            for source in sorted(settings.sources)
        },
    )


def _level(results: Results, items: Sequence[Item], corpus: CorpusIndex | None) -> Level:
    samples = [sample for item in items for sample in results.samples[item]]
    novelty = None if corpus is None else mean_over_items(_novelties(results, items, corpus))
    return Level(
        items=tuple(counted(sample.reward for sample in results.samples[item]) for item in sorted(items)),
        entropy=rounded(float(np.mean([answer_entropy(results.samples[item]) for item in items]))),
        tokens=rounded(float(np.mean([sample.num_tokens for sample in samples]))),
        truncated=rounded(float(np.mean([sample.is_truncated for sample in samples]))),
        novelty=None if novelty is None else rounded(novelty.value),
        novelty_low=None if novelty is None or novelty.low is None else rounded(novelty.low),
        novelty_high=None if novelty is None or novelty.high is None else rounded(novelty.high),
    )


def _novelties(results: Results, items: Sequence[Item], corpus: CorpusIndex) -> list[float]:
    """Return the creativity index of each item: the sum of 1 - coverage(L), mean over its completions."""
    found = []
    for item in items:
        shares = coverage(corpus, [spaced(sample.completion) for sample in results.samples[item]], SHORTEST, LONGEST)
        counted_rows = shares[~np.isnan(shares[:, 0])]
        if len(counted_rows):
            found.append(float(creativity(counted_rows).mean()))
    return found


def rounded(value: float) -> float:
    """Return a value with four significant digits: files stay small and differences readable."""
    return float(f"{value:.{_DIGITS}g}")


def last_checkpoint(run: RunFolder) -> int | None:
    """Return the step of the last checkpoint, of a run that failed not the last step; None: there is none."""
    lines = lines_of(run)
    return max(
        (int(line["step"]) for line in lines if run.checkpoint(line["attempt"], int(line["step"])).is_dir()),
        default=None,
    )


def resets_stored(path: Path, steps: int) -> int | None:
    """Return how many resets a stored run had; None if it has not ended, or went less far than `steps`."""
    if not path.is_file():
        return None
    stored = json.loads(path.read_text(encoding="utf-8"))
    is_whole = stored["ended"] != Ending.UNFINISHED and (stored["steps"] >= steps or stored["ended"] == Ending.MASTERED)
    return len(stored["resets"]) if is_whole else None
