"""The folder a program runs in: filled before the run, looked into after it."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Sequence

from prorl_reward_sandbox.execution.process.files import file_mode, write_file
from prorl_reward_sandbox.execution.process.run_request import Request
from prorl_reward_sandbox.execution.process.user import ProgramUser


def make_folder(request: Request, user: ProgramUser | None) -> str:
    """A fresh working folder with the request's files in it, owned by the program's user."""
    folder = tempfile.mkdtemp(prefix="prorl-run-")
    for name, content in request.files.items():
        path = os.path.join(folder, name)
        write_file(path, content, file_mode(is_executable=name in request.executables))
        if user is not None:
            os.chown(path, user.user_id, user.user_id)
    if user is not None:
        os.chown(folder, user.user_id, user.user_id)
    return folder


def read_kept(folder: str | int, names: Sequence[str], *, max_bytes: int) -> dict[str, bytes]:
    """Those of the named files that are regular and not larger than allowed.

    The program owned the folder, so a name may stand for anything: a link is not followed, a pipe not waited for.
    """
    if not names:
        return {}
    kept = {}
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY) if isinstance(folder, str) else os.dup(folder)
    try:
        for name in names:
            content = _read_regular(name, directory, max_bytes)
            if content is not None:
                kept[name] = content
    finally:
        os.close(directory)
    return kept


def _read_regular(name: str, directory: int, max_bytes: int) -> bytes | None:
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
        descriptor = os.open(name, flags, dir_fd=directory)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > max_bytes:
            return None
        with os.fdopen(os.dup(descriptor), "rb") as file:
            return file.read(max_bytes)
    finally:
        os.close(descriptor)
