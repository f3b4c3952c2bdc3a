"""What `prorl export` and `prorl chat` do on this machine. They need the learner's packages, which they ask for."""

from __future__ import annotations

import importlib.util
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from prorl_api.errors import ProRLError
from prorl_api.run_folder import RunFolder

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


def export_here(run: Path, checkpoint: str, output: Path, model: str | None) -> str:
    """Export a checkpoint of a run on this machine; what to tell the person.

    Raises:
        ProRLError: It cannot be done, with the remedy; nothing is left behind.
    """
    require_learner_packages()
    from prorl_trainer.export.exporting import export, find_policy

    record = export(find_policy(RunFolder(run), checkpoint, model), output)
    return f"{_described(record)}\nwritten to {output}; ask it with: prorl chat {shlex.quote(str(output))}"


def _described(record: ExportRecord) -> str:
    accuracy = "" if record.accuracy is None else f", held-out accuracy {record.accuracy:.3f}"
    return f"{record.job}: checkpoint {record.checkpoint}, step {record.step}{accuracy}"
