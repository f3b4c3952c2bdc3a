"""Writing small files so that a reader, or a start after a crash, sees the old or the new content and nothing else."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from prorl_cli.errors import unreadable


def write_atomically(path: Path, text: str, *, exclusive: bool = False) -> None:
    """Write beside, fsync, rename; with the permissions that the umask leaves, as any file that a person makes.

    Args:
        path: Target; its folder must exist.
        text: New content.
        exclusive: Fail if the target exists.

    Raises:
        FileExistsError: The target exists and `exclusive` was asked for.
        OSError: The folder cannot be written.
    """
    with written_beside(path, exclusive=exclusive) as file:
        file.write(text)


@contextmanager
def written_beside(path: Path, *, exclusive: bool = False) -> Iterator[TextIO]:
    """Give a file to write; if the block ends well it becomes `path`, else it is removed. See `write_atomically`."""
    # `tempfile` would make it private whatever the umask says.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with temporary.open("x", encoding="utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if exclusive:
            # A hard link fails where rename would replace.
            os.link(temporary, path)
        else:
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn a failed read below `path` into an error that says whose it is, and what to do.

    A file that is not there is the caller's to judge (`FileNotFoundError`).

    Raises:
        RunFolderError: It is there, or may be, and cannot be read.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise unreadable(error, path) from error


_MAX_LAST_LINES = 200
_FEW_LINES = 15
"""A Python traceback's end with its cause."""


def tail(path: Path, num_lines: int, *, max_bytes: int = 65536, begin: int = 0) -> list[str]:
    """Return the last lines of a text file, from byte `begin` on; empty if it cannot be read."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(begin, size - max_bytes))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    return text.splitlines()[-num_lines:]


_LAST_BYTES = 16384
_ERROR = re.compile(r"^\d{4}-\d\d-\d\d \S+ (ERROR|CRITICAL) ")
"""How a record of a component's log begins that says why it ends."""


def last_words(log: Path, begin: int) -> str:
    """Return what a process said last in its log: its last error, or the last lines.

    Args:
        log: The file.
        begin: Where its own output begins.
    """
    lines = tail(log, _MAX_LAST_LINES, max_bytes=_LAST_BYTES, begin=begin)
    errors = [number for number, line in enumerate(lines) if _ERROR.match(line)]
    return "\n".join(lines[errors[-1] :] if errors else lines[-_FEW_LINES:])


METRICS_KEYS = ("step", "attempt")
"""What makes a line of `metrics.jsonl` one."""


def read_lines(path: Path, *keys: str) -> list[dict[str, Any]]:
    """Return the objects of a JSON-lines file that have all `keys`, in the order written.

    A torn last line is left out; no file is no lines.

    Raises:
        RunFolderError: The file cannot be read.
    """
    try:
        with reading(path):
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
