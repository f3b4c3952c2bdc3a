"""A run's folder in shared memory, where the learner publishes weights for rollout servers on the same machine.

Its memory is freed when the run ends. A body that was killed cannot free anything: the lock it held tells the next
start, of whatever run, that the folder is nobody's.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the folder made below it is private
_PREFIX = "prorl-"


@contextmanager
def held(run_uid: str, root: Path | None = None) -> Iterator[Path]:
    """Hold a fresh private folder for as long as the context lasts; abandoned ones are removed first."""
    root = root or (_SHARED_MEMORY if _SHARED_MEMORY.is_dir() else Path(tempfile.gettempdir()))
    _remove_abandoned(root)
    folder = root / f"{_PREFIX}{run_uid}"
    lock = _lock_of(folder)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.unlink(missing_ok=True)
        os.close(descriptor)


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _remove_abandoned(root: Path) -> None:
    for lock in root.glob(f"{_PREFIX}*.lock"):
        with contextlib.suppress(OSError):  # somebody else's, or gone meanwhile
            descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                lock.unlink(missing_ok=True)
            finally:
                os.close(descriptor)
