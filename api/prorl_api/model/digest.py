"""Which model a folder holds, by its weights: told in a moment, wherever the folder lies and however it is sharded.

Not a check of every byte (`weight_files` looks whether files are whole, references carry full digests): of each tensor
the name, the type, the shape and three small pieces are taken, in which two trainings of one model differ.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from prorl_api.model.weight_files import header, used_files

_PIECE_BYTES = 4096
"""Read at the beginning, the middle and the end of a tensor."""
_FILE_PIECES = 64
"""Read of a file whose tensors cannot be told apart without torch."""


def weights_digest(folder: Path) -> str | None:
    """Return the sha256 of what a folder's weights are; None if it holds none that can be read."""
    try:
        entries = sorted(_entries(folder))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not entries:
        return None
    whole = hashlib.sha256()
    for text, digest in entries:
        whole.update(f"{text} {digest}\n".encode())
    return whole.hexdigest()


def _entries(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield a description and the digest of the pieces of each tensor, or of each file that is no safetensors."""
    files = used_files(folder)
    for path in files:
        tensors = header(path)
        with path.open("rb") as file:
            data = 8 + int.from_bytes(file.read(8), "little")
            for name, entry in tensors.items():
                begin, end = (int(offset) for offset in entry["data_offsets"])
                places = _places(data + begin, data + end, 3)
                yield json.dumps([name, entry["dtype"], entry["shape"]]), _pieces(path, places)
    if not files:
        for path in sorted(folder.glob("*.bin")):
            size = path.stat().st_size
            yield json.dumps([path.name, size]), _pieces(path, _places(0, size, _FILE_PIECES))


def _places(begin: int, end: int, count: int) -> list[tuple[int, int]]:
    """Return (offset, length) of `count` evenly spaced pieces of a stretch, the first and the last bytes among them."""
    length = min(_PIECE_BYTES, end - begin)
    return sorted({(begin + (end - begin - length) * number // (count - 1), length) for number in range(count)})


def _pieces(path: Path, places: list[tuple[int, int]]) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        for offset, length in places:
            file.seek(offset)
            found.update(file.read(length))
    return found.hexdigest()
