"""From a manifest file to what runs on this machine: read, overlaid, paths absolute, checked."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from prorl_api.errors import Fault, SpecError
from prorl_api.manifest import read_job
from prorl_api.run_folder import RunFolder
from prorl_api.spec.job import ProRLJob
from prorl_api.spec.merge import on_one_machine
from prorl_cli.local.folder import read_identity, with_model
from prorl_cli.local.machine import check_machine, with_absolute_paths


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalJob:
    """A job that can run here."""

    accepted: ProRLJob
    """As in the manifest, with `--model` applied."""
    effective: ProRLJob
    """`spec.local` applied, paths absolute."""
    text: str
    """The manifest as its file has it."""
    manifest_folder: Path
    is_changed: bool
    """The command line changed the job: the file alone is not it."""

    @property
    def stored(self) -> str:
        """What is stored as `job.yaml`: the text as given, or the job as the command line changed it."""
        if not self.is_changed:
            return self.text
        document = self.accepted.model_dump(mode="json", by_alias=True, exclude_none=True)
        return json.dumps(document, indent=2, ensure_ascii=False)


def load_local_job(
    path: Path,
    model: str | None,
    run_dir: Callable[[str], Path] | None = None,
    *,
    assignments: Sequence[str] = (),
) -> LocalJob:
    """Read a manifest and check everything that can be checked before a process starts.

    Args:
        path: The manifest.
        model: `--model`: a folder relative to the current one, or a hub name; None: as the manifest says.
        run_dir: From the job's name to the folder it is to run in; None: none in particular.
        assignments: `--set`, each `path=value`.

    Raises:
        SpecError: With every fault that one stage of checking finds.
    """
    job = read_local_job(path, model, assignments)
    has_checkpoint = run_dir is not None and RunFolder(run_dir(job.accepted.metadata.name)).current.exists()
    check_machine(job.effective, has_checkpoint=has_checkpoint)
    return job


def read_local_job(path: Path, model: str | None, assignments: Sequence[str] = ()) -> LocalJob:
    """Read a manifest as `load_local_job` does, without a look at this machine.

    Raises:
        SpecError: With every fault of the manifest itself.
    """
    accepted = read_job(path, assignments)
    if model is not None:
        accepted = with_model(accepted, model)
    folder = base_folder(path.resolve())
    effective = with_absolute_paths(on_one_machine(accepted), folder)
    return LocalJob(
        accepted=accepted,
        effective=effective,
        text=path.read_text(encoding="utf-8"),
        manifest_folder=folder,
        is_changed=model is not None or bool(assignments),
    )


def load_cluster_job(path: Path, model: str | None, assignments: Sequence[str] = ()) -> ProRLJob:
    """Read a manifest and judge it as the operator does; what is on this machine does not matter.

    Raises:
        SpecError: With every fault.
    """
    from prorl_operator.manifests import cluster_faults

    job = read_job(path, assignments)
    if model is not None:
        job = with_model(job, model)
    if faults := cluster_faults(job):
        raise SpecError(faults, source="in a cluster the manifest")
    return job


def base_folder(path: Path) -> Path:
    """Return the folder that paths in a manifest start from: its own, or, of a run's copy, that of the original.

    So a run's `job.yaml` can be run again.
    """
    run = RunFolder(path.parent)
    if path != run.manifest:
        return path.parent
    identity = read_identity(run)
    return path.parent if identity is None else Path(identity.manifest_folder)


def kept_model(run: RunFolder) -> str | None:
    """Return what `--model` was at earlier starts; None if there was none, or if that folder is gone.

    Then what the manifest names is taken, if it is the same model.
    """
    identity = read_identity(run)
    if identity is None or identity.model is None:
        return None
    path = Path(identity.model)
    return None if path.is_absolute() and not path.exists() else identity.model


def model_argument(model: str | None) -> str | None:
    """`--model` as it is stored: a folder becomes absolute, a hub name stays.

    Raises:
        SpecError: It looks like a folder and is none.
    """
    if model is None:
        return None
    path = Path(model).expanduser()
    if path.is_dir():
        return str(path.absolute())
    if path.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1:
        got = f"{model}, which is {'a file' if path.exists() else 'not there'}"
        fault = Fault(path="--model", got=got, want="a folder in Hugging Face format")
        raise SpecError([fault], source="the command line")
    return model
