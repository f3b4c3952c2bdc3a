"""How long a program was ready to run while others had the processors, as the kernel counts it for each thread."""

from __future__ import annotations

import os

_MAX_TASKS = 256
"""Looked at; a program that has more waits for itself."""
_MAX_OWN = 4
"""Threads that want a processor at once; with more, a program crowds itself out."""


def waited_seconds(pid: int, *, wall_seconds: float) -> float | None:
    """Return the longest wait of a thread of a process and its descendants that live; it may have ended, unreaped.

    None where the kernel does not tell, or the program had a crowd of threads of its own.
    """
    longest: float | None = None
    total = 0.0
    unseen, num_seen = [pid], 0
    while unseen and num_seen < _MAX_TASKS:
        process = unseen.pop()
        try:
            tasks = os.listdir(f"/proc/{process}/task")
        except OSError:
            continue  # it ended meanwhile
        for task in tasks[:_MAX_TASKS]:
            num_seen += 1
            try:
                with open(f"/proc/{process}/task/{task}/schedstat", encoding="ascii") as file:
                    # Time on a processor and time waiting for one in nanoseconds, and how often.
                    waited = int(file.read().split()[1]) / 1e9
                longest, total = max(waited, longest or 0.0), total + waited
                with open(f"/proc/{process}/task/{task}/children", encoding="ascii") as file:
                    unseen += [int(child) for child in file.read().split()]
            except (OSError, ValueError, IndexError):
                continue
    return longest if total <= _MAX_OWN * wall_seconds else None
