"""Writing a program's files; apart from `folders`, so that a zygote imports little."""

from __future__ import annotations

import os

_FILE_MODE = 0o600
_EXECUTABLE_MODE = 0o700


def file_mode(*, is_executable: bool) -> int:
    """Permissions of a program's file: its owner's alone."""
    return _EXECUTABLE_MODE if is_executable else _FILE_MODE


def write_file(path: str, content: bytes, mode: int) -> None:
    """A new file of the caller's user."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        written = os.write(descriptor, content)
        while written < len(content):
            written += os.write(descriptor, memoryview(content)[written:])
    finally:
        os.close(descriptor)
