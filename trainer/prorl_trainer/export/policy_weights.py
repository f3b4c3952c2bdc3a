"""A policy's weights out of what a run keeps, on one process, whatever engine and however many ranks wrote them.

- the best policy: one safetensors file beside the references;
- any other: the masters in the files of all ranks, rounded as the policy's own weights are.

Names are those of the model's parameters in transformers.
"""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from prorl_api.errors import CheckpointError
from prorl_api.run_folder import RunFolder
from prorl_api.spec.values import Precision
from prorl_trainer.engines.build import DTYPES
from prorl_trainer.engines.state_files import StoredState
from prorl_trainer.storage.checkpoints import CheckpointStore, LearnerState
from prorl_trainer.storage.choice import ChosenCheckpoint
from prorl_trainer.storage.fence import Fence
from prorl_trainer.storage.references import ReferenceStore

Weights = dict[str, Tensor]


def policy_weights(run: RunFolder, chosen: ChosenCheckpoint) -> Weights:
    """Return a policy's weights in the precision that it was trained in.

    Raises:
        CheckpointError: They are missing, damaged, or of an earlier version, with the remedy.
    """
    if chosen.best_digest is not None:
        return _safetensors(ReferenceStore(run).verified_file(chosen.best_digest))
    folder = CheckpointStore(Fence(run, chosen.current.attempt)).engine_folder(chosen.current)
    return engine_weights(folder, chosen.state)


def engine_weights(folder: Path, state: LearnerState) -> Weights:
    """Return the policy out of what an engine's ranks have saved, one parameter after another.

    Raises:
        CheckpointError: The files are not all there, damaged, or of an earlier version.
    """
    stored, dtype = StoredState(folder), DTYPES[Precision(state.precision)]
    return {name: stored.whole(name).to(dtype) for name in stored.shapes}


def _safetensors(file: Path) -> Weights:
    try:
        with safe_open(file, framework="pt") as stored:
            return {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - no mapping
    except SafetensorError as error:
        raise CheckpointError(f"{file} cannot be read ({error}); restore it from a backup") from error
