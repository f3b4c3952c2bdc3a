"""What `prorl export` and `prorl chat` do on this machine. They need the learner's packages, which they ask for."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prorl_api.errors import Fault, ProRLError, SpecError
from prorl_api.run_folder import RunFolder
from prorl_cli.program import command

if TYPE_CHECKING:
    from prorl_api.export_record import ExportRecord

_NEEDED = ("torch", "transformers", "safetensors")


class MissingPackagesError(ProRLError):
    """The packages that read and write weights are not installed."""


def require_learner_packages() -> None:
    """Make sure that weights can be read here, and keep the libraries from talking.

    Raises:
        MissingPackagesError: They are not installed, with the remedy.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingPackagesError(
            f"{', '.join(missing)} cannot be imported; weights are read with the learner's packages: "
            "pip install 'prorl[learner]', or make setup"
        )
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # transformers imports DeepSpeed, which would look for one loudly
    from prorl_trainer.setup import quiet_libraries

    quiet_libraries()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOptions:
    """Options that mean something in a cluster only."""

    namespace: str | None
    should_apply: bool
    image: str | None
    secret: str | None


def export_anywhere(
    run: str, output: str, *, checkpoint: str, model: str | None, push: str | None, cluster: ClusterOptions
) -> str:
    """Export here, or have a cluster do it; what to tell the person.

    Raises:
        ProRLError: It cannot be done, with the remedy.
    """
    if cluster.namespace is None:
        given = {"--apply": cluster.should_apply, "--image": cluster.image, "--secret": cluster.secret}
        idle = [name for name, value in given.items() if value]
        if idle:
            want = "a job in a cluster: name its namespace with --namespace"
            faults = [Fault(path=name, got="a value", want=want) for name in idle]
            raise SpecError(faults, source="the command line")
        return _export_here(Path(run), checkpoint, Path(output), model, push)
    if model is not None:
        fault = Fault(path="--model", got=model, want="nothing: in a cluster the job's own model is taken")
        raise SpecError([fault], source="the command line")
    from prorl_cli.cluster_export import ClusterExport, export_in_cluster

    return export_in_cluster(
        ClusterExport(
            job=run,
            namespace=cluster.namespace,
            checkpoint=checkpoint,
            output=output,
            image=cluster.image,
            push=push,
            secret=cluster.secret,
            should_apply=cluster.should_apply,
        )
    )


def _export_here(run: Path, checkpoint: str, output: Path, model: str | None, repository: str | None) -> str:
    require_learner_packages()
    from prorl_trainer.export.exporting import export, find_policy
    from prorl_trainer.export.push import push, require_token

    if repository is not None:
        require_token(repository)
    record = export(find_policy(RunFolder(run), checkpoint, model), output)
    said = f"{_described(record)}\nwritten to {output}; ask it with: {command('chat', output)}"
    return said if repository is None else f"{said}\npushed to {push(output, repository, record)}"


def _described(record: ExportRecord) -> str:
    accuracy = "" if record.accuracy is None else f", held-out accuracy {record.accuracy:.3f}"
    return f"{record.job}: checkpoint {record.checkpoint}, step {record.step}{accuracy}"
