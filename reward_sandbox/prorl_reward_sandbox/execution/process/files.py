"""Writing a program's files; apart from `folders`, so that a zygote imports little."""

from __future__ import annotations

import os
from os import close, write

_FILE_MODE = 0o600
_EXECUTABLE_MODE = 0o700
_open, _NEW = os.open, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
"""Found before, as what is imported by name: a clone of a zygote pays for looking a name up."""


def file_mode(*, is_executable: bool) -> int:
    """Permissions of a program's file: its owner's alone."""
    return _EXECUTABLE_MODE if is_executable else _FILE_MODE


def write_file(path: str, content: bytes, mode: int) -> None:
    """Return a new file of the caller's user."""
    descriptor = _open(path, _NEW, mode)
    try:
        written = write(descriptor, content)
        while written < len(content):
            written += write(descriptor, memoryview(content)[written:])
    finally:
        close(descriptor)
