"""Writing so that a kill or a full disk leaves either the old or the new, never half."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prorl_api.errors import CheckpointError


def write_file(path: Path, text: str) -> None:
    """Replace a file atomically and durably.

    Raises:
        CheckpointError: Naming path, bytes and the file system's reason; the old file is intact.
    """
    temporary = path.with_name(path.name + ".partial")
    with explained(path, len(text)):
        with temporary.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        sync_folder(path.parent)


def publish_folder(partial: Path, final: Path) -> None:
    """Make a folder written beside its place durable, then rename it into place."""
    for file in sorted(partial.rglob("*")):
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        elif file.is_dir():
            sync_folder(file)
    sync_folder(partial)
    partial.rename(final)
    sync_folder(final.parent)


def fresh_folder(path: Path) -> Path:
    """Return an empty folder at `path`, whatever stood there before."""
    if path.exists():
        shutil.rmtree(path)
    path.mkdir(parents=True)
    return path


def sync_folder(path: Path) -> None:
    """Make a folder's entries durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def explained(path: Path, num_bytes: int | None = None) -> Iterator[None]:
    """Turn a file system's refusal into an error that names path, bytes, room and remedy."""
    try:
        yield
    except OSError as error:
        size = f" ({num_bytes} bytes)" if num_bytes is not None else ""
        try:
            room = f"{shutil.disk_usage(path.parent).free} bytes are free"
        except OSError:
            room = "free room unknown"
        raise CheckpointError(
            f"cannot write {path}{size}: {error.strerror or error}; {room}. Make room or fix the permissions, then "
            "run the same command again: the previous checkpoint is intact"
        ) from error
