"""A policy's weights out of what a run keeps, on one process, whatever engine and however many ranks wrote them.

- the best policy: one safetensors file beside the references;
- engine `plain`, and `deepspeed` with ZeRO stage 0: `plain.pt`, in which every rank's copy is the same;
- ZeRO stages 1 and 2: every rank holds the whole policy, and the first one's file has it;
- ZeRO stage 3: shards in every rank's files, which DeepSpeed's own `zero_to_fp32` puts together.

Names are those of the model's parameters and buffers in transformers. Shards of stage 3 are pickles that DeepSpeed
reads with the right to run code: export run folders that you trust, as you would resume from them.
"""

from __future__ import annotations

import contextlib
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from prorl_api.errors import CheckpointError
from prorl_api.run_folder import RunFolder
from prorl_api.spec.values import Precision
from prorl_trainer.engines.build import DTYPES
from prorl_trainer.engines.deepspeed_backend import STATE_TAG, import_deepspeed
from prorl_trainer.engines.plain import STATE_FILE
from prorl_trainer.storage.checkpoints import CheckpointStore, LearnerState
from prorl_trainer.storage.choice import ChosenCheckpoint
from prorl_trainer.storage.fence import Fence
from prorl_trainer.storage.references import ReferenceStore

Weights = dict[str, Tensor]
_POLICY = "model."
"""Before each name in an engine's files: the policy wraps the model."""
_WHOLE = "mp_rank_00_model_states.pt"
_SHARD = "zero_pp_rank_*_mp_rank_00_model_states.pt"


def policy_weights(run: RunFolder, chosen: ChosenCheckpoint) -> Weights:
    """Return a policy's weights in the precision that it was trained in; large files are mapped, not read.

    Raises:
        CheckpointError: They are missing, damaged, or of a form that is not known, with the remedy.
    """
    if chosen.best_digest is not None:
        return _safetensors(ReferenceStore(run).verified_file(chosen.best_digest))
    folder = CheckpointStore(Fence(run, chosen.current.attempt)).engine_folder(chosen.current)
    try:
        return engine_weights(folder, chosen.state)
    except (OSError, RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"the weights in {folder} cannot be read ({what}); a run that is going on removes old checkpoints, and a "
            "copy may be half done: take another one with --checkpoint best, last or step-N, or copy the run again"
        ) from error


def engine_weights(folder: Path, state: LearnerState) -> Weights:
    """Return the policy out of what an engine's ranks have saved; `state` says what wrote it.

    Raises:
        CheckpointError: The files are of no form that is known, or not all there.
    """
    plain, ranks = folder / STATE_FILE, folder / STATE_TAG
    if plain.is_file():
        return _unwrapped(torch.load(plain, map_location="cpu", weights_only=True, mmap=True)["policy"])
    if (ranks / _WHOLE).is_file():
        return _unwrapped(torch.load(ranks / _WHOLE, map_location="cpu", weights_only=True, mmap=True)["module"])
    shards = sorted(ranks.glob(_SHARD))
    if shards:
        if len(shards) != state.num_ranks:
            raise CheckpointError(
                f"{ranks} has the shards of {len(shards)} ranks, and {state.num_ranks} wrote it; "
                "bring the files of every rank together in one folder, or take --checkpoint best, which is whole"
            )
        return _joined_shards(folder, DTYPES[Precision(state.precision)])
    raise CheckpointError(
        f"{folder} holds no weights of engine `{state.engine}` that this version knows "
        f"(neither {STATE_FILE} nor {STATE_TAG}/*_model_states.pt); take --checkpoint best, which is one safetensors "
        "file, or export with the version that wrote it"
    )


def _joined_shards(folder: Path, dtype: torch.dtype) -> Weights:
    """Put shards of ZeRO stage 3 together: its float32 masters, rounded as the policy's own weights are."""
    import_deepspeed(torch.device("cpu"))
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        found: dict[str, Tensor] = get_fp32_state_dict_from_zero_checkpoint(str(folder), tag=STATE_TAG)
    # Buffers come as float32 whatever they were, and the base model has them.
    return {name: tensor.to(dtype) for name, tensor in _unwrapped(found).items()}


def _unwrapped(policy: dict[str, Any]) -> Weights:
    return {name.removeprefix(_POLICY): tensor for name, tensor in policy.items()}


def _safetensors(file: Path) -> Weights:
    try:
        with safe_open(file, framework="pt") as stored:
            return {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - no mapping
    except SafetensorError as error:
        raise CheckpointError(f"{file} cannot be read ({error}); restore it from a backup") from error
