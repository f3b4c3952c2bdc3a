"""Calls in turns: while several are under way, the event loop sleeps between two looks at what they brought.

To wake up for every answer costs more than all that is done with it: meanwhile whatever else runs on the machine, the
API server first of all, has taken the processor's caches. With hundreds of jobs at once no time is lost by it, since
the API server is the slower of the two; a call that is alone is answered at once. docs/decisions/0010 has the figures.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

TURN_SECONDS = 0.1
"""For so long the loop sleeps, probes and watches included."""
_SEVERAL = 2
_STEPS = 5
"""Of the loop in a turn: from bytes to an answer, to the pass that waits for it, to its next call."""


class WakeupBatcher:
    """The batcher of one event loop."""

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        self._sleep = sleep
        self._calls = 0
        self._several = asyncio.Event()

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Count a call for as long as it waits for its answer."""
        self._calls += 1
        if self._calls >= _SEVERAL:
            self._several.set()
        try:
            yield
        finally:
            self._calls -= 1

    async def keep(self) -> None:
        """Sleep between turns, for ever."""
        while True:
            await self._several.wait()
            while self._calls >= _SEVERAL:
                self._sleep(TURN_SECONDS)  # the whole loop, which is the point
                for _ in range(_STEPS):
                    await asyncio.sleep(0)
            self._several.clear()
