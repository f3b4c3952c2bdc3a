"""What is wrong with a model's folder, and what its files say about the model."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prorl_api.errors import Fault
from prorl_api.model.config import ModelConfig
from prorl_api.model.weight_files import MODEL_PATH, lfs_pointer, num_parameters, weight_faults
from prorl_api.wording import reason_of

CONFIG = "config.json"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "tokenizer_config.json",
)
"""One of them is there where a tokenizer is."""
_COMPLETE = "a complete folder in Hugging Face format, as save_pretrained writes it"
_FOREIGN = (
    ("adapter_config.json", "an adapter (LoRA); merge it into its base model first: merge_and_unload, save_pretrained"),
    ("params.json", "weights in their first form; convert them to Hugging Face format"),
    ("*.gguf", "a GGUF file; give the folder that it was made from, in Hugging Face format"),
)
"""What people have instead of a folder with `config.json`, and what to do about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFolder:
    """A folder that was looked at."""

    faults: tuple[Fault, ...]
    """At `spec.model.path`; each names the file and a remedy."""
    config: ModelConfig | None = None
    """None: its configuration cannot be read, which is among the faults."""
    num_parameters: int | None = None
    """From the headers of its safetensors files; None where they do not tell."""


def look_at(folder: Path) -> ModelFolder:
    """Judge a folder that a model is to be read from."""
    try:
        listing = sorted(folder.iterdir())
    except NotADirectoryError:
        return _refused(f"{folder}, which is a file", _foreign(folder.name, [folder]) or "its folder")
    except FileNotFoundError:
        want = "a folder in Hugging Face format; correct the path, or give one with --model"
        return _refused(f"{folder}, which is no folder", want)
    except OSError as error:
        want = f"a folder that user {os.getuid()} may read: chmod -R a+rX, for the folders above it, too"
        return _refused(f"{folder} ({reason_of(error)})", want)
    closed = [file.name for file in listing if file.is_file() and not os.access(file, os.R_OK)]
    if closed:
        got = f"{folder}, whose {', '.join(closed)} user {os.getuid()} may not read"
        return _refused(got, "files that this user may read: chmod a+r")
    missing = _missing(folder)
    if missing:
        return _refused(f"{folder} without {' and '.join(missing)}", _instead(folder, listing) or _COMPLETE)
    config, faults = _config(folder / CONFIG)
    faults += [*_text_faults(folder), *weight_faults(folder)]
    return ModelFolder(faults=tuple(faults), config=config, num_parameters=num_parameters(folder))


def _refused(got: str, want: str) -> ModelFolder:
    return ModelFolder(faults=(Fault(path=MODEL_PATH, got=got, want=want),))


def _missing(folder: Path) -> list[str]:
    missing = [] if (folder / CONFIG).is_file() else [CONFIG]
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        missing.append("a tokenizer (tokenizer.json)")
    if not any(next(folder.glob(pattern), None) for pattern in ("*.safetensors", "*.bin")):
        missing.append("weights (*.safetensors)")
    return missing


def _instead(folder: Path, listing: list[Path]) -> str | None:
    """Say what the folder is, where that can be told."""
    snapshots = sorted(folder.glob("snapshots/*/config.json"))
    if snapshots:
        return f"the snapshot inside the hub's cache: {snapshots[-1].parent}"
    inside = sorted(folder.glob(f"*/{CONFIG}"))
    if inside and not (folder / CONFIG).exists():
        return f"the folder that holds the model itself: {inside[-1].parent}"
    return None if (folder / CONFIG).exists() else _foreign(folder.name, listing)


def _foreign(name: str, files: list[Path]) -> str | None:
    for pattern, what in _FOREIGN:
        if any(file.match(pattern) for file in files):
            return f"a folder of whole weights: {name} holds {what}"
    return None


def read_config(path: Path) -> ModelConfig:
    """Return what a configuration says.

    Raises:
        ValueError: It is no JSON object, or names no architecture.
        OSError: It cannot be read.
    """
    value = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(value, dict):
        raise ValueError(f"a JSON {type(value).__name__} where an object is wanted")
    if not isinstance(value.get("model_type"), str):
        raise ValueError("no `model_type`")
    return ModelConfig(value)


def _config(path: Path) -> tuple[ModelConfig | None, list[Fault]]:
    try:
        config = read_config(path)
    except (OSError, ValueError) as error:
        want = "the model's own config.json; copy it again"
        return None, [Fault(path=MODEL_PATH, got=f"{path}: {reason_of(error)}", want=want)]
    faults = []
    if config.quantization is not None:
        want = "the weights before they were quantised: packed integers have no gradient"
        faults.append(Fault(path=MODEL_PATH, got=f"{path.parent}, quantised ({config.quantization})", want=want))
    return config, faults


def _text_faults(folder: Path) -> Iterator[Fault]:
    """Look whether the tokenizer's files are whole: the library calls a damaged one missing."""
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json"):
        path = folder / name
        if not path.is_file():
            continue
        if lfs_pointer(path):
            yield Fault(path=MODEL_PATH, got=f"{path}, a pointer of Git LFS", want="the file itself: git lfs pull")
            continue
        try:
            _ = _object(path)
        except (OSError, ValueError) as error:
            yield Fault(path=MODEL_PATH, got=f"{path}: {reason_of(error)}", want="a whole file; copy it again")


def _object(path: Path) -> dict[str, Any]:
    value = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(value, dict):
        raise ValueError(f"a JSON {type(value).__name__} where an object is wanted")
    return value
