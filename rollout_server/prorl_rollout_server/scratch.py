"""Folders for files that are needed for a while, and the clean-up after a predecessor that was killed.

Each process has one folder in the temporary directory and one in shared memory. Their names carry the process's pid
and start time, so a later process can tell that the owner is gone, which a killed owner cannot clean up itself.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = "prorl-rollout-"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108
HEADROOM = 1.1
"""Room wanted, as a multiple of what will be written."""


class Scratch:
    """This process's folders; `close` removes them."""

    def __init__(self, temporary: Path | None = None, shared_memory: Path = SHARED_MEMORY) -> None:
        self._temporary = temporary or Path(tempfile.gettempdir())
        self._shared_memory = shared_memory
        self._name = f"{PREFIX}{os.getpid()}-{_start_time(os.getpid())}"

    def reap(self) -> None:
        """Remove folders whose owner is gone."""
        for parent in {self._temporary, self._shared_memory}:
            for folder in parent.glob(f"{PREFIX}*-*"):
                pid, _, start = folder.name.removeprefix(PREFIX).partition("-")
                if not pid.isdigit() or _start_time(int(pid)) != start:
                    shutil.rmtree(folder, ignore_errors=True)

    def folder(self, name: str) -> Path:
        """Make a folder that lasts until `close`."""
        path = self._temporary / self._name / name
        path.mkdir(parents=True)
        return path

    def socket_folder(self) -> Path:
        """Make a folder for Unix sockets, whose paths must be short, so in shared memory where possible."""
        parent = self._shared_memory if os.access(self._shared_memory, os.W_OK) else self._temporary
        path = parent / self._name / "sockets"
        path.mkdir(parents=True)
        return path

    @contextlib.contextmanager
    def folder_for(self, num_bytes: int) -> Iterator[Path]:
        """Make a folder with room for so many bytes, in shared memory if there is room; remove it on exit."""
        parent = self._shared_memory if _has_room(self._shared_memory, num_bytes) else self._temporary
        own = parent / self._name
        own.mkdir(mode=0o700, exist_ok=True)
        path = Path(tempfile.mkdtemp(dir=own, prefix="weights-"))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def close(self) -> None:
        """Remove everything."""
        for parent in (self._temporary, self._shared_memory):
            shutil.rmtree(parent / self._name, ignore_errors=True)


def _has_room(folder: Path, num_bytes: int) -> bool:
    return os.access(folder, os.W_OK) and shutil.disk_usage(folder).free >= num_bytes * HEADROOM


def _start_time(pid: int) -> str:
    """Give the clock ticks from boot to the process's start, as text; empty if there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    # The command's name, in parentheses, may contain spaces: the fields after it start with number 3.
    return stat.rpartition(")")[2].split()[19]
