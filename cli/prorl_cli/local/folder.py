"""The run folder as the body keeps it: identity, lock, accepted manifest. One `prorl run` at a time drives it."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from pydantic import ValidationError
from ulid import ULID

from prorl_api.errors import Fault, SpecError
from prorl_api.manifest import read_job
from prorl_api.run_folder import RunFolder
from prorl_api.run_identity import RunIdentity
from prorl_api.spec.edits import FieldChange, changes, immutable_faults
from prorl_api.spec.job import ProRLJob
from prorl_api.status import ConditionStatus, ConditionType, JobStatus
from prorl_api.wording import reason_of
from prorl_cli.errors import RunFolderError, storage_error
from prorl_cli.local.files import reading, write_atomically
from prorl_cli.local.inputs import MODEL, digests_of, other_weights, with_paths_of

_LOOK_SECONDS = 0.2
"""Nobody looks at whether a folder is driven for so long; a page that is open looks every other second."""


@contextmanager
def locked(run: RunFolder) -> Iterator[None]:
    """Hold the run folder, which is made if need be.

    Raises:
        RunFolderError: Another process holds it, or the folder holds something else.
        StorageError: It cannot be written.
    """
    try:
        run.create()
        _refuse_foreign(run)
        descriptor = os.open(run.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise storage_error(error, run.path) from error
    try:
        if not _taken(descriptor):
            holder = os.pread(descriptor, 64, 0).decode(errors="replace").strip() or "unknown"
            raise RunFolderError(
                f"{run.path} is driven by another `prorl run` (process {holder}); stop that one first, or choose "
                "another folder with --run-dir"
            )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    """Take the lock, unless a body holds it; whoever only looks (`is_driven`) has let go of it at the second try."""
    for wait in (0.0, _LOOK_SECONDS):
        time.sleep(wait)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        return True
    return False


def is_driven(run: RunFolder) -> bool:
    """Tell whether some process holds the run folder."""
    try:
        descriptor = os.open(run.lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _refuse_foreign(run: RunFolder) -> None:
    # A first start that was killed leaves the lock, the manifest and hidden temporary files.
    names = {entry.name for entry in run.path.iterdir() if not entry.name.startswith(".")}
    if not run.identity.exists() and names - {run.lock.name, run.manifest.name}:
        raise RunFolderError(f"{run.path} is not empty and holds no run; choose another folder with --run-dir")


def read_identity(run: RunFolder) -> RunIdentity | None:
    """`run.json`, or None before the first start."""
    try:
        with reading(run.identity):
            return RunIdentity.model_validate_json(run.identity.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValidationError, UnicodeDecodeError) as error:
        raise RunFolderError(
            f"{run.identity} is damaged: {reason_of(error)}; restore it or choose another --run-dir"
        ) from error


def read_status(run: RunFolder) -> JobStatus | None:
    """`status.json`; None if there is none or it cannot be understood: it can be rebuilt by observation.

    Raises:
        RunFolderError: It is there and cannot be read.
    """
    try:
        with reading(run.status):
            return JobStatus.model_validate_json(run.status.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValidationError, UnicodeDecodeError):
        return None


def existing(path: Path) -> RunFolder:
    """Return a run folder that exists.

    Raises:
        RunFolderError: There is no run at `path`, or it is not to be looked into.
    """
    run = RunFolder(path)
    with reading(path):
        has_identity = run.identity.exists()
    if not has_identity:
        raise RunFolderError(f"{path} is no run folder: it has no run.json; `prorl run` makes them under runs/")
    return run


def begin(
    run: RunFolder,
    text: str,
    *,
    manifest_folder: Path,
    model: str | None,
    digests: Mapping[str, str] = MappingProxyType({}),
) -> RunIdentity:
    """Write the manifest and then the identity of a new run."""
    identity = RunIdentity(
        uid=str(ULID()),
        created=time.time(),
        manifest_folder=str(manifest_folder),
        model=model,
        digests=dict(digests),
    )
    try:
        write_atomically(run.manifest, text)
        write_atomically(run.identity, identity.model_dump_json(indent=2))
        for folder in (run.logs, run.resets):
            folder.mkdir(exist_ok=True)
    except OSError as error:
        raise storage_error(error, run.path) from error
    return identity


def adopt_changes(
    run: RunFolder, before: RunIdentity, now: RunIdentity, job: ProRLJob, effective: ProRLJob, text: str
) -> list[FieldChange]:
    """Compare the manifest with the accepted one, take it over if it may change so, and say what changed.

    Args:
        run: The folder.
        before: As it is recorded.
        now: With the `--model` and the manifest's folder of this start.
        job: As accepted.
        effective: As it runs here.
        text: What is stored of it.

    Raises:
        SpecError: A field differs that is fixed once a run has begun.
    """
    accepted = read_job(run.manifest)
    if before.model is not None:
        accepted = with_model(accepted, before.model)
    faults = refused_changes(accepted, job, effective, before, has_checkpoint=run.current.exists())
    if faults:
        raise SpecError(faults, source=f"the manifest, compared with {run.manifest},")
    found = changes(accepted, job)
    if missing := digests_of(
        effective, known=before.digests
    ):  # of a new source, or a run that an earlier version began
        now = now.model_copy(update={"digests": missing | before.digests})
    try:
        if found:
            write_atomically(run.manifest, text)
        if now != before:
            write_atomically(run.identity, now.model_dump_json(indent=2))
    except OSError as error:
        raise storage_error(error, run.path) from error
    return found


def refused_changes(
    accepted: ProRLJob, job: ProRLJob, effective: ProRLJob, identity: RunIdentity, *, has_checkpoint: bool = True
) -> list[Fault]:
    """Name what a begun run cannot take. What it was begun with may have been moved: content counts, not paths.

    Args:
        accepted: The job as it was accepted.
        job: As it is asked for.
        effective: The same as it would run here.
        identity: Of the run.
        has_checkpoint: Whether engine and precision are fixed.
    """
    found = changes(accepted, with_paths_of(accepted, job, effective, identity.digests))
    if not other_weights(effective, identity.digests):
        return immutable_faults(found, has_checkpoint=has_checkpoint)
    got = f"{effective.spec.model.path}, with other weights than those that this run began with"
    want = "the same model, wherever it lies now, or a new run with another --run-dir (initFrom continues this one)"
    others = [change for change in found if change.path not in (MODEL, "spec.local.modelPath")]
    return [*immutable_faults(others, has_checkpoint=has_checkpoint), Fault(path=MODEL, got=got, want=want)]


def with_model(job: ProRLJob, model: str) -> ProRLJob:
    """Return the job with another base model, as `--model` asks."""
    spec = job.spec
    local = spec.local.model_copy(update={"model_path": None})
    updates = {"model": spec.model.model_copy(update={"path": model}), "local": local}
    return job.model_copy(update={"spec": spec.model_copy(update=updates)})


def has_finished(run: RunFolder, total_steps: int) -> bool:
    """Tell whether an earlier start ended with every step done."""
    status = read_status(run)
    succeeded = status.condition(ConditionType.SUCCEEDED) if status is not None else None
    return (
        status is not None
        and succeeded is not None
        and succeeded.status is ConditionStatus.TRUE
        and status.step >= total_steps
    )
