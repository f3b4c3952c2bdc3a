"""What the `prorl resets` commands do: they read and write records; the body that runs picks them up."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from ulid import ULID

from prorl_api.errors import Fault, SpecError
from prorl_api.manifest import read_job
from prorl_api.resets import ResetRecord
from prorl_api.run_folder import RunFolder
from prorl_api.spec.job import ProRLJob
from prorl_api.spec.values import OptimizerAction, ResetSource
from prorl_cli.errors import RunFolderError
from prorl_cli.local.folder import existing, is_driven, read_status
from prorl_cli.local.reset_files import ResetFiles
from prorl_cli.replaying import StoredSeries, outcome, print_notes, print_outcome, print_sweep, stored_series, swept
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


def records_of(path: Path) -> tuple[ResetRecord, ...]:
    """Return every record of a run; of one in a cluster, whose records are objects, what its learner noted.

    Raises:
        RunFolderError: There is no run, or what it holds cannot be read.
    """
    from prorl_cli.report.loading import noted_resets

    run, notes = existing(path), list[str]()
    found = ResetFiles(run).read() or tuple(noted_resets(run, notes))
    if notes:
        raise RunFolderError(notes[0])
    return found


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
    if record.kl_before is not None and record.judgement is not None and record.judgement.kl_after is not None:
        lines.append(f"  KL {record.kl_before} before, {record.judgement.kl_after} after")
    if record.judgement is not None:
        lines.append(f"  {record.judgement}")
    if record.message:
        lines.append(f"  {record.message}")
    return "\n".join(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRequest:
    """What is to be replayed: a stored series, or what a Prometheus holds."""

    series: Path
    """The series; with a Prometheus the manifest."""
    manifest: Path | None
    sweeps: Sequence[str] = ()
    prometheus: str | None = None
    job: str | None = None
    start: str | None = None
    end: str | None = None
    credentials: Path | None = None
    headers: Sequence[str] = ()


def print_replay(request: ReplayRequest, console: Console) -> None:
    """Print the resets that the manifest's policy, or each of a sweep, would have proposed.

    Raises:
        RunFolderError: There is no series.
        SpecError: The command line contradicts itself.
    """
    manifest, series = _replayed(request)
    policy = manifest.spec.reference_reset
    if not request.sweeps:
        print_outcome(outcome(policy, series), series, console)
        return
    print_notes(series, console)
    print_sweep([outcome(tried, series, name) for name, tried in swept(policy, request.sweeps)], console)


def _replayed(request: ReplayRequest) -> tuple[ProRLJob, StoredSeries]:
    if request.prometheus is None:
        given = {
            "--job": request.job,
            "--from": request.start,
            "--to": request.end,
            "--credentials": request.credentials,
            "--header": ", ".join(request.headers) or None,
        }
        for option, value in given.items():
            if value is not None:
                raise _misused(option, str(value), "nothing without --prometheus")
        if request.manifest is None:
            raise _misused("MANIFEST", "nothing", "the manifest whose triggers are tried, after the series")
        return read_job(request.manifest), stored_series(request.series)
    if request.manifest is not None:
        raise _misused("MANIFEST", str(request.manifest), "the manifest alone, where --prometheus has the series")
    if request.job is None or request.start is None:
        raise _misused("--prometheus", request.prometheus, "--job and --from beside it")
    from prorl_cli.prometheus_series import StoredAt, read_series

    job = read_job(request.series)
    stored = StoredAt(
        url=request.prometheus,
        job=request.job,
        start=request.start,
        end=request.end,
        credentials=request.credentials,
        headers=request.headers,
    )
    return job, read_series(stored, job.spec)


def _misused(option: str, got: str, want: str) -> SpecError:
    return SpecError([Fault(path=option, got=got, want=want)], source="the command line")


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
