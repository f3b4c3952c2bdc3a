"""Leave nothing behind: end every descendant, remove every file."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import time

from prorl_reward_sandbox.execution.process.user import ProgramUser

_GIVE_UP_SECONDS = 10.0
_PASS_SECONDS = 0.001


class LeftoverError(RuntimeError):
    """A process of a program could not be ended."""


def end_descendants(user: ProgramUser | None, *, spared: int = 0) -> float:
    """Kill and reap until there is no child, and return the CPU seconds of all that were reaped.

    The caller is a subreaper: whatever its descendants do (double fork, new sessions), an orphan becomes the caller's
    child. "No child" therefore means "no descendant".

    Args:
        spared: A child of the caller that is not the program's and has no children itself; 0: there is none.

    Raises:
        LeftoverError: Some process survived for seconds.
    """
    cpu_seconds = 0.0
    give_up = time.monotonic() + _GIVE_UP_SECONDS
    while True:
        seconds, any_left = _reap()
        cpu_seconds += seconds
        if not any_left or (spared and _children(os.getpid()) == [spared]):
            return cpu_seconds
        if time.monotonic() > give_up:
            raise LeftoverError(f"processes {_descendants(os.getpid())} survive SIGKILL")
        if user is not None:
            user.kill_all()
        else:
            for pid in _descendants(os.getpid()):
                if pid != spared:
                    _kill(pid)
        time.sleep(_PASS_SECONDS)


def remove_folder(folder: str) -> None:
    """Remove a folder that a program filled, whatever is in it. All of the program's processes have ended.

    Nested folders are lifted to the top before they are entered, so neither the length of a path nor the depth of
    the nesting matters.
    """
    lifted = 0
    while True:
        os.chmod(folder, 0o700)
        subfolders = _remove_files(folder)
        if not subfolders:
            break
        for subfolder in subfolders:
            os.chmod(subfolder, 0o700)
            for inner in _remove_files(subfolder):
                os.chmod(inner, 0o700)
                os.rename(inner, os.path.join(folder, f"lifted-{lifted}-{time.monotonic_ns()}"))
                lifted += 1
            os.rmdir(subfolder)
    os.rmdir(folder)


def _remove_files(folder: str) -> list[str]:
    """Remove what is not a folder; return the folders."""
    subfolders = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if stat.S_ISDIR(entry.stat(follow_symlinks=False).st_mode):
                subfolders.append(entry.path)
            else:
                os.unlink(entry.path)
    return subfolders


def _reap() -> tuple[float, bool]:
    """CPU seconds of the children that ended, and whether others are left."""
    cpu_seconds = 0.0
    while True:
        try:
            pid, _, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return cpu_seconds, False
        if pid == 0:
            return cpu_seconds, True
        cpu_seconds += usage.ru_utime + usage.ru_stime


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    unseen = [pid]
    while unseen:
        children = _children(unseen.pop())
        found += children
        unseen += children
    return found


def _children(pid: int) -> list[int]:
    children: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                children += [int(child) for child in file.read().split()]
    except OSError:
        pass  # it ended meanwhile
    return children


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
        os.kill(pid, signal.SIGKILL)
