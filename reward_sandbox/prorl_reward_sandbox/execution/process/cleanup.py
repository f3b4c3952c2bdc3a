"""Leave no process behind: end every descendant."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Collection

from prorl_reward_sandbox.execution.process.user import ProgramUser

_GIVE_UP_SECONDS = 10.0
_PASS_SECONDS = 0.001


class LeftoverError(RuntimeError):
    """A process of a program could not be ended."""


def end_descendants(user: ProgramUser | None, *, spared: Collection[int] = ()) -> float:
    """Kill and reap until there is no child, and return the CPU seconds of all that were reaped.

    The caller is a subreaper: whatever its descendants do (double fork, new sessions), an orphan becomes the caller's
    child. "No child" therefore means "no descendant".

    Args:
        spared: Children of the caller that are not the program's and have no children themselves.

    Raises:
        LeftoverError: Some process survived for seconds.
    """
    cpu_seconds = 0.0
    give_up = time.monotonic() + _GIVE_UP_SECONDS
    while True:
        seconds, any_left = _reap(spared)
        cpu_seconds += seconds
        if not any_left or (spared and set(_children(os.getpid())) <= set(spared)):
            return cpu_seconds
        if time.monotonic() > give_up:
            raise LeftoverError(f"processes {_descendants(os.getpid())} survive SIGKILL")
        if user is not None:
            user.kill_all()
        else:
            for pid in _descendants(os.getpid()):
                if pid not in spared:
                    _kill(pid)
        time.sleep(_PASS_SECONDS)


def _reap(spared: Collection[int]) -> tuple[float, bool]:
    """Return the CPU seconds of the program's processes that ended, and whether any child is left."""
    cpu_seconds = 0.0
    while True:
        try:
            pid, _, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return cpu_seconds, False
        if pid == 0:
            return cpu_seconds, True
        if pid not in spared:
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
