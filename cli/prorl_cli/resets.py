"""What the `prorl resets` commands do: they read and write records; the body that runs picks them up."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from rich.console import Console
from ulid import ULID

from prorl_api.errors import Fault, SpecError
from prorl_api.manifest import read_job
from prorl_api.metrics import surviving
from prorl_api.resets import ResetRecord
from prorl_api.run_folder import RunFolder
from prorl_api.spec.values import OptimizerAction, ResetSource
from prorl_cli.errors import RunFolderError
from prorl_cli.local.files import METRICS_KEYS, read_lines
from prorl_cli.local.folder import existing, is_driven, read_status
from prorl_cli.local.reset_files import ResetFiles
from prorl_control.resets.decide import replay
from prorl_control.resets.records import MANUAL_TRIGGER, approved, requested, superseded, vetoed


def approve(path: Path, name: str) -> str:
    """Approve a pending reset; what to tell the person."""
    run = existing(path)
    files = ResetFiles(run)
    # The body notes a superseded one in its next pass; before that, or while none runs, it is refused here.
    record = files.update(name, lambda record: approved(superseded(record, files.read())))
    return f"{record.name} approved; {_when(run)}"


def veto(path: Path, name: str) -> str:
    """Veto a pending reset; what to tell the person."""
    record = ResetFiles(existing(path)).update(name, vetoed)
    return f"{record.name} vetoed; its trigger waits for another cooldown"


def request(path: Path, source: str | None, optimizer: str | None) -> str:
    """Record a reset that a person asks for; what to tell the person."""
    run = existing(path)
    job = read_job(run.manifest)
    policy = job.spec.reference_reset
    wanted_source = policy.source if source is None else _choice("--source", source, list(ResetSource))
    wanted_action = policy.optimizer if optimizer is None else _choice("--optimizer", optimizer, list(OptimizerAction))
    status = read_status(run)
    uid = str(ULID())
    record = ResetFiles(run).create(
        lambda number: requested(
            job_name=job.metadata.name,
            number=number,
            uid=uid,
            now=time.time(),
            attempt=status.attempt if status is not None else 0,
            step=status.step if status is not None else 0,
            source=ResetSource(wanted_source),
            optimizer=OptimizerAction(wanted_action),
        )
    )
    return f"{record.name} recorded; {_when(run)}"


def print_records(records: tuple[ResetRecord, ...], console: Console) -> None:
    """Return every record with its evidence."""
    if not records:
        console.print("no resets yet", highlight=False)
        return
    for record in records:
        console.print(describe_record(record), markup=False, highlight=False, soft_wrap=True)


def describe_record(record: ResetRecord) -> str:
    """Describe one record in a few lines."""
    evidence = record.evidence
    is_manual = evidence.trigger == MANUAL_TRIGGER  # its reason says all of that
    what = f"reference := {record.source.value} policy, optimizer {record.optimizer.value}"
    state = f"{record.condition.value} (dry run)" if record.dry_run else record.condition.value
    if record.applied_step is not None:
        state += f" at step {record.applied_step}"
    lines = [
        f"{record.name}  {state}: {what}",
        f"  {evidence.reason}"
        if is_manual
        else f"  {evidence.trigger} at step {record.evidence_step}: {evidence.reason}",
    ]
    if record.validation_before is not None or record.validation_after is not None:
        before, after = _accuracy(record.validation_before), _accuracy(record.validation_after)
        lines.append(f"  held-out accuracy {before} before, {after} after")
    if record.message:
        lines.append(f"  {record.message}")
    return "\n".join(lines)


def print_replay(series: Path, manifest: Path, console: Console) -> None:
    """Return the resets that the manifest's policy would have proposed over a stored series.

    Raises:
        RunFolderError: There is no series.
    """
    policy = read_job(manifest).spec.reference_reset
    path = RunFolder(series).metrics if series.is_dir() else series
    if not path.is_file():
        raise RunFolderError(f"there is no {path}; give the folder of a run that has done a step, or a metrics.jsonl")
    lines = read_lines(path, *METRICS_KEYS)
    proposals = replay(policy, lines)
    steps = [line["step"] for line in surviving(lines)]
    where = f"steps {steps[0]}-{steps[-1]}" if steps else "an empty series"
    console.print(f"{len(proposals)} reset(s) over {where}:", highlight=False)
    for proposal in proposals:
        evidence = proposal.evidence
        console.print(
            f"  step {proposal.evidence_step}  {evidence.trigger}: {evidence.reason}", markup=False, highlight=False
        )
    if proposals:
        console.print("each is taken as applied at once; what it would have changed later cannot be known")


def _choice(option: str, value: str, known: list[Any]) -> Any:
    if value not in known:
        want = " or ".join(item.value for item in known)
        raise SpecError([Fault(path=option, got=value, want=want)], source="the command line")
    return value


def _when(run: RunFolder) -> str:
    if is_driven(run):
        return "the run posts it to the learner, which applies it at the next step boundary"
    return "it is posted when the run is resumed"


def _accuracy(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"
