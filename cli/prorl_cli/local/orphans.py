"""What a killed component leaves outside its process group, such as a program that a sandbox ran in its own session.

The supervisor asks the kernel to become the parent of such processes, and ends them when the component has ended.
Without Linux there is no such service; the group and the lifeline then do what can be done.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Container

import psutil

_PR_SET_CHILD_SUBREAPER = 36
_ROUNDS = 5
"""A killed orphan's own children come to us in turn."""


class Orphans:
    """The supervisor as the parent of last resort."""

    def __init__(self) -> None:
        # Children that are already there are not ours to judge.
        self._strangers = frozenset(child.pid for child in psutil.Process().children())
        self._adopts = sys.platform == "linux" and _set_adopting(True)

    def end(self, members: Container[int]) -> None:
        """Kill and collect every orphan.

        Args:
            members: Pids of the children that are components, ended or not.
        """
        for _ in range(_ROUNDS):
            found = self._found(members)
            if not found:
                return
            for child in found:
                with contextlib.suppress(psutil.Error, ProcessLookupError, ChildProcessError):
                    os.kill(child.pid, signal.SIGKILL)
                    os.waitpid(child.pid, 0)

    def close(self) -> None:
        """Adopt no more: who runs a job in a larger process has children of its own afterwards."""
        if self._adopts:
            self._adopts = not _set_adopting(False)

    def _found(self, members: Container[int]) -> list[psutil.Process]:
        if not self._adopts:
            return []
        children = psutil.Process().children()
        return [child for child in children if child.pid not in members and child.pid not in self._strangers]


def _set_adopting(adopts: bool) -> bool:
    """Become the parent of orphans among our descendants, or no more; tell whether the kernel did so."""
    return int(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(adopts), 0, 0, 0)) == 0
