"""Whether the weights of a folder are whole, from sizes and headers: an interrupted copy is found in a moment.

A safetensors file begins with the length of its header (8 bytes, little-endian) and the header, a JSON object that says
where each tensor lies; https://github.com/huggingface/safetensors has the format.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prorl_api.errors import Fault

MODEL_PATH = "spec.model.path"
_MAX_HEADER_BYTES = 100_000_000
"""The format's own bound."""
_LFS = b"version https://git-lfs"
_AGAIN = "a whole file; copy it again"


def lfs_pointer(path: Path) -> bool:
    """Tell whether a file is what Git LFS leaves in place of the real one."""
    with path.open("rb") as file:
        return file.read(len(_LFS)) == _LFS


def weight_faults(folder: Path) -> Iterator[Fault]:
    """Name every file of weights that is not whole, and what an index names that is not there."""
    files = sorted(folder.glob("*.safetensors"))
    yield from _index_faults(folder)
    for path in files or sorted(folder.glob("*.bin")):
        if lfs_pointer(path):
            yield Fault(
                path=MODEL_PATH, got=f"{path}, a pointer of Git LFS", want="the weights themselves: git lfs pull"
            )
        elif path.suffix == ".bin":
            if path.name.startswith("pytorch_model") and not zipfile.is_zipfile(path):
                yield Fault(path=MODEL_PATH, got=f"{path}, which is cut off or no file of torch", want=_AGAIN)
        else:
            try:
                header(path)
            except ValueError as error:
                yield Fault(path=MODEL_PATH, got=f"{path}: {error}", want=_AGAIN)


def header(path: Path) -> dict[str, dict[str, Any]]:
    """Return name, shape and place of each tensor of a safetensors file that is as long as it says.

    Raises:
        ValueError: It is cut off, or no such file.
        OSError: It cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(_MAX_HEADER_BYTES, max(0, size - 8)):
            raise ValueError(f"{size} bytes, cut off within its header, or no safetensors file")
        try:
            found = json.loads(file.read(length))
        except ValueError:
            raise ValueError("no safetensors file: its header is no JSON") from None
    if not isinstance(found, dict):
        raise ValueError("no safetensors file: its header is no object")
    tensors = {name: entry for name, entry in found.items() if name != "__metadata__"}
    try:
        end = max((int(entry["data_offsets"][1]) for entry in tensors.values()), default=0)
    except (KeyError, TypeError, IndexError, ValueError):
        raise ValueError("no safetensors file: its header does not say where tensors lie") from None
    wanted = 8 + length + end
    if size != wanted:
        raise ValueError(f"{size} of {wanted} bytes: the copy is {'not whole' if size < wanted else 'damaged'}")
    return tensors


def num_parameters(folder: Path) -> int | None:
    """Count the parameters of all safetensors files; None if there are none, or one is not whole."""
    files = used_files(folder)
    try:
        return sum(math.prod(entry["shape"]) for file in files for entry in header(file).values()) if files else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def used_files(folder: Path) -> list[Path]:
    """Return the safetensors files that are loaded: others, such as an adapter's, may lie beside them."""
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    return sorted(folder.glob("model-*.safetensors")) or sorted(folder.glob("*.safetensors"))


def _index_faults(folder: Path) -> Iterator[Fault]:
    for path in (folder / "model.safetensors.index.json", folder / "pytorch_model.bin.index.json"):
        if not path.is_file():
            continue
        try:
            named = {str(name) for name in json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            yield Fault(path=MODEL_PATH, got=f"{path}, which is no index of weights", want=_AGAIN)
            continue
        missing = sorted(name for name in named if not (folder / name).is_file())
        if missing:
            shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
            yield Fault(path=MODEL_PATH, got=f"{folder} without {shown}, which {path.name} names", want="all its files")
