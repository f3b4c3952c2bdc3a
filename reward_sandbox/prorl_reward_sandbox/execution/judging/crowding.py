"""What a program lost to its neighbours is not its failure: who was crowded out is judged once more, alone.

A wall limit counts the time in which others had the processors. Control groups share those between slots where they can
be had; where not, a program with many processes takes them from the others. The kernel tells how long a thread was
ready and had to wait. A program that sleeps does not wait for a processor, and one that crowds itself out uses them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from prorl_api.wire.sandbox import ProgramTestResult, Verdict

_WAITED_SHARE = 0.25
"""Of the wall time: with less, the program would have run out of time by itself, or nearly."""
_OWN_CPU_SHARE = 0.5
"""Of the wall time: a program that had this much of a processor is no victim."""


def is_crowded_out(results: Sequence[ProgramTestResult]) -> bool:
    """Tell whether a program ran out of time because others had the processors."""
    wall_seconds = sum(result.wall_seconds for result in results)
    return any(result.verdict is Verdict.TIMEOUT_WALL for result in results) and has_waited(
        wall_seconds=wall_seconds,
        cpu_seconds=sum(result.cpu_seconds for result in results),
        cpu_wait_seconds=sum(result.cpu_wait_seconds or 0.0 for result in results),
    )


def has_waited(*, wall_seconds: float, cpu_seconds: float, cpu_wait_seconds: float) -> bool:
    """Tell whether a large part of a wall time passed with waiting for a processor, and little on one."""
    return cpu_wait_seconds >= _WAITED_SHARE * wall_seconds and cpu_seconds < _OWN_CPU_SHARE * wall_seconds


class Floor:
    """Programs run together, or one alone."""

    def __init__(self) -> None:
        self._num_running = 0
        self._is_empty = asyncio.Event()
        self._is_empty.set()
        self._is_open = asyncio.Event()
        self._is_open.set()
        self._turns = asyncio.Lock()

    @asynccontextmanager
    async def together(self) -> AsyncIterator[None]:
        """Run beside others; waits while one is alone, or wants to be."""
        while not self._is_open.is_set():
            await self._is_open.wait()
        self._num_running += 1
        self._is_empty.clear()
        try:
            yield
        finally:
            self._num_running -= 1
            if not self._num_running:
                self._is_empty.set()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Run without any other."""
        async with self._turns:
            self._is_open.clear()
            try:
                await self._is_empty.wait()
                yield
            finally:
                self._is_open.set()
