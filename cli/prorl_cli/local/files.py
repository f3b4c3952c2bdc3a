"""Writing small files so that a reader, or a start after a crash, sees the old or the new content and nothing else."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any


def write_atomically(path: Path, text: str, *, exclusive: bool = False) -> None:
    """Write beside, fsync, rename.

    Args:
        path: Target; its folder must exist.
        text: New content.
        exclusive: Fail if the target exists.

    Raises:
        FileExistsError: The target exists and `exclusive` was asked for.
        OSError: The folder cannot be written.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if exclusive:
            # A hard link fails where rename would replace.
            os.link(temporary, path)
        else:
            os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def tail(path: Path, num_lines: int, *, max_bytes: int = 65536) -> list[str]:
    """Return the last lines of a text file; empty if it cannot be read."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - max_bytes))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    return text.splitlines()[-num_lines:]


METRICS_KEYS = ("step", "attempt")
"""What makes a line of `metrics.jsonl` one."""


def read_lines(path: Path, *keys: str) -> list[dict[str, Any]]:
    """Return the objects of a JSON-lines file that have all `keys`, in the order written.

    A torn last line is left out; no file is no lines.
    """
    try:
        texts = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    lines = []
    for text in texts:
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and all(key in line for key in keys):
            lines.append(line)
    return lines
