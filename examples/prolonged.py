"""Run one arm of the prolonged run with one seed, or all of them: train, evaluate, keep what the page is made of.

Again to go on: training resumes from its checkpoint (what is shown solutions begins anew, and takes minutes), an
evaluation from its journal, and what has ended is left alone.
Run folders and samples lie in runs/prolonged/, what is kept of them in docs/results/prolonged/; with another base than
that of the runs there in runs/prolonged/results/. The page is written from what is kept, beside its folder.

Usage: python examples/prolonged.py ARM SEED | --all [--steps N] [--minutes M] [--checkpoints C] [--also-at STEP ...]
       [--deep]
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from prorl_analysis.prolonged import record, reduction
from prorl_analysis.prolonged.__main__ import main as write_page
from prorl_analysis.prolonged.arms import Arm, Arms, read_arms
from prorl_analysis.results import Results, read_results
from prorl_api.errors import ExitCode, Fault, ProRLError, RewardError, SpecError
from prorl_api.manifest import read_job
from prorl_api.model.digest import weights_digest
from prorl_api.run_folder import RunFolder
from prorl_api.spec.job import ProRLJob

HERE = Path(__file__).parent
MANIFEST, ARMS = HERE / "prolonged.yaml", HERE / "arms/prolonged.yaml"
RUNS, KEPT = Path("runs/prolonged"), Path("docs/results/prolonged")
OWN = RUNS / "results"
_FAILURES = frozenset({ExitCode.NO_SIGNAL, ExitCode.NON_FINITE})
"""The run itself came to nothing; with any other code it goes on at the next start."""
_STOPPED = 130
"""Exit code of `prorl` that was interrupted, with a checkpoint."""
_GRACE_SECONDS = 120.0


class Terminated(BaseException):
    """This process was asked to end (SIGTERM)."""


class NotWholeError(Exception):
    """A command was stopped or failed; carries the exit code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What this start is to do."""

    steps: int | None
    """Instead of the manifest's."""
    minutes: float | None
    """After so many a command is stopped, to go on at the next start."""
    checkpoints: int
    """Of a run that are evaluated, evenly up to the last one."""
    also_at: tuple[int, ...]
    """Steps at which a run is evaluated besides."""
    base: str
    """Digest of the model that runs begin with."""
    kept: Path
    """Folder of what is kept."""
    is_deep: bool
    """Base and last checkpoint are evaluated with more samples, too."""


def prorl(*arguments: str, minutes: float | None) -> None:
    """Run the command line; see `python`."""
    python("-m", "prorl_cli", *arguments, minutes=minutes)


def python(*arguments: str, minutes: float | None) -> None:
    """Run Python in a process of its own.

    Raises:
        NotWholeError: It failed, or was stopped because its time was over.
    """
    process = subprocess.Popen([sys.executable, *arguments])
    try:
        code = process.wait(None if minutes is None else minutes * 60)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
        code = process.wait(_GRACE_SECONDS) or _STOPPED
    except KeyboardInterrupt:
        code = process.wait(_GRACE_SECONDS)  # the terminal has told it, too
    except Terminated:
        process.send_signal(signal.SIGTERM)
        process.wait(_GRACE_SECONDS)
        raise
    if code:
        raise NotWholeError(code)


def evaluated(name: str, model: str | None, arms: Arms, asked: Asked) -> Results:
    """Return a model's evaluation, made if it is not there."""
    plan = arms.evaluation
    output = RUNS / "evaluations" / name
    if not (output / "results.jsonl").is_file():
        sources = [f"--source=depth-{depth}={plan.items}" for depth in plan.depths]
        how = [f"--samples={plan.samples}", f"--temperature={plan.temperature}", f"--top-p={plan.top_p}"]
        chosen = [] if model is None else [f"--model={model}"]
        # Minutes are of training: an evaluation is short, and goes on where it was if it is ended.
        prorl("evaluate", str(MANIFEST), f"--output={output}", "--plain", *sources, *how, *chosen, minutes=None)
    results = read_results(output / "results.jsonl")
    settings = results.settings
    had, want = (settings.samples, settings.temperature, settings.top_p), (plan.samples, plan.temperature, plan.top_p)
    if had != want:
        text = f"{output}: samples an item, temperature and top-p are {had}, wanted {want}"
        raise RewardError(f"{text}. Remove the folder and run the same command")
    unjudged = sum(not results.counts(item)[0] for item in results.samples)
    if unjudged:
        text = f"{output}: nobody judged any sample of {unjudged} items; run/logs/learner-0.log in it says why"
        raise RewardError(f"{text}. Put that right, remove the folder and run the same command")
    return results


def base(arms: Arms, asked: Asked) -> Results:
    """Return the base's evaluation, and keep what the page needs of it if nothing is kept of it yet.

    What is kept stays: kept runs were held against it, and samples of another machine are others.
    """
    results = evaluated(f"base-{asked.base[:12]}", None, arms, asked)
    path = asked.kept / "base.json"
    if not path.is_file() or record.read(path, record.BaseRecord).base != asked.base:
        record.write(path, record.BaseRecord(base=asked.base, evaluation=reduction.evaluation_of(results, None)))
    return results


def deepen(arms: Arms, path: Path, asked: Asked) -> None:
    """Evaluate base and last checkpoint of the run that is kept at `path` with more samples an item, if it is here."""
    kept = record.read(path, record.Record)
    step = max(kept.evaluations, default=None)
    if step is None or step in kept.deep:
        return
    policy = _policy_here(kept, RunFolder((RUNS / path.stem).absolute()), step, asked)
    if policy is None:
        sys.stdout.write(f"{path}: the run's folder is not here, so there is nothing to sample with more samples\n")
        return
    more = arms.model_copy(update={"evaluation": arms.evaluation.deep})
    of_base = asked.kept / "base.json"
    stored = record.read(of_base, record.BaseRecord)
    if stored.deep is None:
        results = evaluated(f"base-{asked.base[:12]}-deep", None, more, asked)
        record.write(of_base, stored.model_copy(update={"deep": reduction.evaluation_of(results, None)}))
    results = evaluated(f"{path.stem}-{kept.run[:36]}-step-{step}-deep", policy, more, asked)
    record.write(path, kept.model_copy(update={"deep": {step: reduction.evaluation_of(results, None)}}))


def _policy_here(kept: record.Record, run: RunFolder, step: int, asked: Asked) -> str | None:
    """Return the folder of a kept run's policy; None if what lies there is no run, or another one."""
    shown = run.path / f"step-{step}"
    if shown.is_dir():
        return str(shown) if weights_digest(shown) == kept.run else None
    if not run.identity.is_file() or reduction.uid_of(run) != kept.run:
        return None
    return _exported(run, step, asked)


def run_arm(arms: Arms, arm: Arm, seed: int, asked: Asked) -> None:
    """Train, evaluate and keep one arm with one seed; nothing to do where that has been done.

    Raises:
        NotWholeError: Something was stopped or failed; the same command goes on.
    """
    job = read_job(MANIFEST)
    steps = asked.steps or job.spec.schedule.total_steps
    path = asked.kept / f"{arm.name}-seed-{seed}.json"
    stored = record.read(path, record.Record) if path.is_file() else None
    if stored is not None and _is_done(stored, steps):
        return
    if arm.supervised:
        _show_solutions(arms, arm, seed, asked, job, path)
    else:
        _train(arms, arm, seed, asked, job, path, stored)


def _train(
    arms: Arms, arm: Arm, seed: int, asked: Asked, job: ProRLJob, path: Path, stored: record.Record | None
) -> None:
    """Run the manifest with the arm's changes, or go on with it, and keep it at `path`."""
    steps, total = asked.steps or job.spec.schedule.total_steps, job.spec.schedule.total_steps
    name = path.stem
    run = RunFolder((RUNS / name).absolute())
    goes_on = stored is not None and run.identity.is_file() and reduction.uid_of(run) == stored.run
    found = dict(stored.evaluations) if stored is not None and goes_on else {}
    changes = arm.assignments(seed, job.spec.algorithm.kl.coefficient, _resets(arms, seed, steps, asked))
    kept = reduction.Run(arm=arm.name, seed=seed, base=asked.base, assignments=changes, planned_steps=total)
    settings = [f"--set={change}" for change in (*changes, f"schedule.totalSteps={steps}")]
    ending = None
    try:
        prorl("run", str(MANIFEST), f"--run-dir={run.path}", "--plain", *settings, minutes=asked.minutes)
    except NotWholeError as error:
        ending = record.Ending.FAILED if error.args[0] in _FAILURES else record.Ending.UNFINISHED
        if run.metrics.is_file():
            record.write(path, reduction.record_of(run, kept, found, ending=ending))
        if ending is record.Ending.UNFINISHED:
            raise
    record.write(path, reduction.record_of(run, kept, found, ending=ending))
    against = reduction.corpus_of(base(arms, asked))
    last = reduction.last_checkpoint(run)
    for step in () if last is None else _evaluated_steps(arms, job, asked, last):
        results = evaluated(f"{name}-{reduction.uid_of(run)}-step-{step}", _exported(run, step, asked), arms, asked)
        found[step] = reduction.evaluation_of(results, against)
        record.write(path, reduction.record_of(run, kept, found, ending=ending))


def _show_solutions(arms: Arms, arm: Arm, seed: int, asked: Asked, job: ProRLJob, path: Path) -> None:
    """Fine-tune on worked solutions of the same prompts, and keep it at `path`: there is no run and its metrics."""
    total = job.spec.schedule.total_steps
    steps, output = asked.steps or total, (RUNS / path.stem).absolute()
    wanted = _evaluated_steps(arms, job, asked, steps)
    given = [str(MANIFEST), str(output), f"--seed={seed}", f"--steps={steps}", "--at", *map(str, wanted)]
    python(str(HERE / "supervised_arm.py"), *given, minutes=asked.minutes)
    against, folders = reduction.corpus_of(base(arms, asked)), {step: output / f"step-{step}" for step in wanted}
    digests = {step: str(weights_digest(folder)) for step, folder in folders.items()}
    found = {}
    for step, folder in folders.items():
        results = evaluated(f"{path.stem}-{digests[step][:12]}", str(folder), arms, asked)
        found[step] = reduction.evaluation_of(results, against)
    seconds = json.loads((output / "cost.json").read_text())["seconds"]
    kept = reduction.Run(arm=arm.name, seed=seed, base=asked.base, assignments=(f"seed={seed}",), planned_steps=total)
    record.write(path, reduction.record_of_shown(kept, steps, digests[steps], seconds, found))


def _evaluated_steps(arms: Arms, job: ProRLJob, asked: Asked, last: int) -> tuple[int, ...]:
    """Return the steps that are evaluated of an arm whose last one is `last`."""
    plan = arms.evaluation.model_copy(update={"checkpoints": asked.checkpoints})
    return plan.steps(last, job.spec.checkpoint.every_steps, asked.also_at)


def _is_done(stored: record.Record, steps: int) -> bool:
    if stored.ended is record.Ending.UNFINISHED or not stored.evaluations:
        return False
    return stored.ended is record.Ending.FAILED or (stored.steps >= steps and stored.steps in stored.evaluations)


def _resets(arms: Arms, seed: int, steps: int, asked: Asked) -> dict[str, int]:
    """Return the resets of the arms' runs with this seed, of those that have gone as far as is asked for."""
    counts = {
        arm.name: reduction.resets_stored(asked.kept / f"{arm.name}-seed-{seed}.json", steps) for arm in arms.arms
    }
    return {arm: count for arm, count in counts.items() if count is not None}


def _exported(run: RunFolder, step: int, asked: Asked) -> str:
    """Return the folder of a checkpoint's policy, written if it is not there."""
    folder = run.path / "policies" / f"step-{step}"
    if not (folder / "config.json").is_file():
        prorl("export", str(run.path), f"--checkpoint=step-{step}", f"--output={folder}", minutes=asked.minutes)
    return str(folder)


def _terminate(number: int, _frame: FrameType | None) -> None:
    raise Terminated(number)


def base_digest() -> str:
    """Return what identifies the base's weights.

    Raises:
        SpecError: It is not there.
    """
    path = MANIFEST.parent / read_job(MANIFEST).spec.model.path
    if (digest := weights_digest(path)) is None:
        raise SpecError([Fault(path=str(path), got="no weights", want="the base; `make toy-model` puts it there")])
    return digest


def kept_folder(digest: str) -> Path:
    """Return where what is kept of runs of this base belongs: not among those of another one."""
    stored = KEPT / "base.json"
    if not stored.is_file() or record.read(stored, record.BaseRecord).base == digest:
        return KEPT
    sys.stdout.write(f"{KEPT} holds runs of another base: what is kept of these goes to {OWN}\n")
    return OWN


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arm", nargs="?", help="of examples/arms/prolonged.yaml")
    parser.add_argument("seed", nargs="?", type=int)
    parser.add_argument("--all", action="store_true", dest="is_all", help="every arm with every seed, seed by seed")
    parser.add_argument("--steps", type=int, help="fewer than the manifest's: the page says that the run was shortened")
    parser.add_argument("--minutes", type=float, help="stop training after so many, to go on at the next start")
    parser.add_argument("--checkpoints", type=int, help="of a run that are evaluated, evenly up to the last one")
    parser.add_argument("--also-at", type=int, nargs="+", default=[], help="steps that are evaluated besides: 600")
    parser.add_argument("--deep", action="store_true", help="evaluate base and last checkpoint with 1,024 samples, too")
    given = parser.parse_args(arguments)
    if given.is_all == (given.arm is not None) or (given.arm is not None and given.seed is None):
        parser.error("give ARM and SEED, or --all")
    try:
        arms = read_arms(ARMS)
        digest = base_digest()
        asked = Asked(
            steps=given.steps,
            minutes=given.minutes,
            checkpoints=given.checkpoints or arms.evaluation.checkpoints,
            also_at=tuple(given.also_at),
            base=digest,
            kept=kept_folder(digest),
            is_deep=given.deep,
        )
        pairs = [(arm, seed) for seed in arms.seeds for arm in arms.arms]
        for arm, seed in pairs if given.is_all else [(arms.arm(given.arm), given.seed)]:
            run_arm(arms, arm, seed, asked)
            if asked.is_deep:
                deepen(arms, asked.kept / f"{arm.name}-seed-{seed}.json", asked)
    except NotWholeError as stopped:
        sys.stderr.write("not whole yet; the same command goes on\n")
        return int(stopped.args[0])
    except Terminated as stopped:
        return 128 + int(stopped.args[0])
    except ProRLError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return write_page(ARMS, asked.kept)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(main())
