"""The keyed queue between handlers and workers: a key waits once, is worked on by one worker at a time, and may come
back after a delay. Level-based: a key says "look at this", never what happened.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import time
from collections.abc import Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")

TICK_SECONDS = 0.25
"""Delays end together, at the next multiple of this: hundreds of jobs are looked at in a few lots each second, by code
that is still in the processor's caches, instead of the process waking up for each of them."""


class WorkQueue(Generic[Key]):
    """The queue of one event loop.

    A key that is added while it is worked on is handed out again afterwards, so that no change is missed. Of several
    delays the shortest counts; handing a key out cancels its delay, since every pass looks at everything.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._waiting: set[Key] = set()
        """What `_ready` holds."""
        self._active: set[Key] = set()
        self._again: set[Key] = set()
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._order = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = math.inf

    def __len__(self) -> int:
        """Keys that wait to be worked on now."""
        return len(self._waiting)

    def add(self, key: Key) -> None:
        """Have the key worked on as soon as a worker is free."""
        if key in self._active:
            self._again.add(key)
            return
        self._due.pop(key, None)
        if key not in self._waiting:
            self._waiting.add(key)
            self._ready.put_nowait(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """Have the key worked on after so many seconds or a tick more, unless that happens earlier anyway."""
        due = math.ceil((self._clock() + max(0.0, seconds)) / TICK_SECONDS) * TICK_SECONDS
        if key in self._waiting or self._due.get(key, math.inf) <= due:
            return
        self._due[key] = due
        heapq.heappush(self._heap, (due, next(self._order), key))
        self._set_timer()

    async def take(self) -> Key:
        """Wait for the next key; call `done` with it when its pass has ended."""
        self._promote()
        key = await self._ready.get()
        self._waiting.discard(key)
        self._due.pop(key, None)
        self._active.add(key)
        return key

    def done(self, key: Key) -> None:
        """Note that the pass of the key has ended."""
        self._active.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def _promote(self) -> None:
        """Move what has fallen due; entries that were overtaken are dropped here."""
        now = self._clock()
        while self._heap and (self._heap[0][0] <= now or self._due.get(self._heap[0][2]) != self._heap[0][0]):
            due, _, key = heapq.heappop(self._heap)
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key)

    def _set_timer(self) -> None:
        """Set the one timer to what falls due first: workers that wait are woken by a key alone."""
        due = self._heap[0][0] if self._heap else math.inf
        if due >= self._timer_due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = due
        self._timer = asyncio.get_running_loop().call_later(max(0.0, due - self._clock()), self._on_timer)

    def _on_timer(self) -> None:
        self._timer, self._timer_due = None, math.inf
        self._promote()
        self._set_timer()
