"""Who may run next: a bounded number of programs at once, a bounded number waiting, and batches take turns.

Unlike the verifiers' queue it hands out turns instead of work: a program runs in its caller's own task, so that the
caller's cancellation ends the program.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prorl_reward_sandbox.workers.fair_queue import QueueFullError


class ProgramQueue:
    """Turns for programs."""

    def __init__(self, *, slots: int, limit: int) -> None:
        self._free = slots
        self._limit = limit
        self._num_waiting = 0
        self._batches: deque[deque[asyncio.Future[None]]] = deque()

    def restrict(self, slots: int) -> None:
        """Have fewer programs at once; before the first turn."""
        self._free = min(self._free, slots)

    @property
    def num_waiting(self) -> int:
        """How many places are reserved and have had no turn yet."""
        return self._num_waiting

    def reserve(self, count: int, *, ignore_limit: bool = False) -> Batch:
        """Places for a batch, all or none; an empty queue takes a batch of any size, which could else never be served.

        Raises:
            QueueFullError: There is no room.
        """
        # Those that find a free slot have not taken it yet, and will not wait.
        if self._num_waiting and self._num_waiting + count > self._limit + self._free and not ignore_limit:
            raise QueueFullError(waiting=self._num_waiting, limit=self._limit)
        self._num_waiting += count
        return Batch(self, count)

    async def wait(self, line: deque[asyncio.Future[None]]) -> None:
        """Wait for a turn, in a batch's own line."""
        if self._free and not self._batches:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        if not line:
            self._batches.append(line)
        line.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back()  # it came in the same moment
            raise

    def give_back(self) -> None:
        """Return a turn is over: the next batch's first waiting program has it."""
        while self._batches:
            line = self._batches.popleft()
            turn = line.popleft()
            if line:
                self._batches.append(line)
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def leave(self, count: int = 1) -> None:
        """So many places are no longer waited in."""
        self._num_waiting -= count


class Batch:
    """The places of one request."""

    def __init__(self, queue: ProgramQueue, count: int) -> None:
        self._queue = queue
        self._unused = count
        self._line: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[float]:
        """One program's turn; yields the seconds waited for it."""
        started = time.monotonic()
        await self._queue.wait(self._line)
        try:
            self._unused -= 1
            self._queue.leave()
            yield time.monotonic() - started
        finally:
            self._queue.give_back()

    def close(self) -> None:
        """Give up the places that had no turn."""
        self._queue.leave(self._unused)
        self._unused = 0
