"""A policy as a model of transformers: to be saved as a Hugging Face folder, or to be asked.

The base model's folder gives the configuration, the tokenizer and the generation settings, which training leaves as
they are; the run gives the weights.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from prorl_api.errors import CheckpointError, Fault, SpecError
from prorl_trainer.export.policy_weights import Weights
from prorl_trainer.model_folder import companion_files, load_tokenizer

MAX_SHARD_SIZE = "5GB"
"""Of one weights file, as `save_pretrained` has it."""
_ABOUT_THE_BASE = (
    "README.md", ".gitattributes", "all_results.json", "eval_results.json", "train_results.json", "trainer_state.json",
    "solved.json",  # of examples/prepare_toy_model.py
)  # fmt: skip
"""Of the base model's folder: its card, how it was trained and how good it was, none of which holds for the policy."""
_LEFT_OUT = (*_ABOUT_THE_BASE, "config.json")  # which is written anew
_MODES = (0o644, 0o755)
"""Of files and folders: pods and servers that load the model run as somebody else."""


def write_model(folder: Path, base: Path, weights: Weights) -> None:
    """Write weights, configuration, generation settings and tokenizer into an existing folder.

    Raises:
        SpecError: The base model's folder is not one.
        CheckpointError: The weights are not this model's.
        OSError: The file system refuses.
    """
    load_tokenizer(base)  # judged before anything large is written
    model = _described(base, next(iter(weights.values())).dtype)
    _take_over(model, weights, base)
    for file in companion_files(base).values():
        if file.name not in _LEFT_OUT:
            shutil.copyfile(file, folder / file.name)
    generation = folder / "generation_config.json"
    kept = generation.read_bytes() if generation.is_file() else None
    try:
        model.save_pretrained(folder, max_shard_size=MAX_SHARD_SIZE)
    except SafetensorError as error:  # it wraps the operating system's error
        raise OSError(str(error)) from error
    if kept is not None:
        generation.write_bytes(kept)
    for path in (folder, *folder.iterdir()):
        path.chmod(_MODES[path.is_dir()])


def loaded_model(base: Path, weights: Weights) -> Any:
    """Return the policy, ready to generate on the CPU.

    Raises:
        SpecError: The base model's folder is not one.
        CheckpointError: The weights are not this model's.
    """
    from transformers import AutoModelForCausalLM

    dtype = next(iter(weights.values())).dtype
    try:
        model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype, local_files_only=True)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise _no_model(base, error) from error
    _take_over(model, weights, base)
    return model.eval()


def _described(base: Path, dtype: torch.dtype) -> Any:
    """Return the model without weights: names, shapes, and how a checkpoint of it is written."""
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(base, local_files_only=True)
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, dtype=dtype)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise _no_model(base, error) from error


def _take_over(model: Any, weights: Weights, base: Path) -> None:
    """Give the model the run's weights: all of its parameters, and no others; buffers are the base model's."""
    known, parameters = model.state_dict(), dict(model.named_parameters())
    missing, extra = sorted(set(parameters) - set(weights)), sorted(set(weights) - set(known))
    misshapen = [name for name in parameters if name in weights and weights[name].shape != parameters[name].shape]
    if missing or extra or misshapen:
        raise CheckpointError(
            f"the run's weights are not those of {base}: missing {missing[:3]}, not expected {extra[:3]}, of another "
            f"shape {misshapen[:3]}; name the folder of the model that training began with: --model FOLDER"
        )
    buffers = {name for name in known if name not in parameters and name in dict(model.named_buffers())}
    given = {name: tensor for name, tensor in weights.items() if name not in buffers}
    model.load_state_dict(given | _base_buffers(base, buffers), strict=False, assign=True)
    model.tie_weights()


def _base_buffers(base: Path, names: set[str]) -> Weights:
    """Return persistent buffers as the base model has them: they are no parameters, and nothing trains them."""
    if not names:
        return {}
    from transformers import AutoModelForCausalLM

    buffers = dict(AutoModelForCausalLM.from_pretrained(base, local_files_only=True).named_buffers())
    return {name: buffers[name] for name in names}


def _no_model(base: Path, error: Exception) -> SpecError:
    want = "the folder of the model that training began with: --model FOLDER"
    return SpecError([Fault(path="the base model", got=f"{base} ({error})", want=want)], source="the export")
