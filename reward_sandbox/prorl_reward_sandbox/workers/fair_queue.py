"""A bounded queue that serves its batches in turn, so that a small request is not stuck behind a large one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class QueueFullError(Exception):
    """The items do not fit; nothing was queued."""

    def __init__(self, *, waiting: int, limit: int) -> None:
        self.waiting = waiting
        self.limit = limit
        super().__init__(f"{waiting} items are waiting; at most {limit} may")


class FairQueue(Generic[T]):
    """First in, first out within a batch; batches take turns item by item."""

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._batches: deque[deque[T]] = deque()
        self._waiting = 0
        self._available = asyncio.Semaphore(0)

    def __len__(self) -> int:
        return self._waiting

    def put_batch(self, items: Sequence[T], *, ignore_limit: bool = False) -> None:
        """Queue all items or none.

        An empty queue accepts a batch of any size: else a batch larger than the limit could never be served.

        Raises:
            QueueFullError: There is no room.
        """
        if self._waiting and self._waiting + len(items) > self._limit and not ignore_limit:
            raise QueueFullError(waiting=self._waiting, limit=self._limit)
        if not items:
            return
        self._batches.append(deque(items))
        self._waiting += len(items)
        for _ in items:
            self._available.release()

    async def get(self) -> T:
        """Return the next item, waiting for one."""
        await self._available.acquire()
        batch = self._batches.popleft()
        item = batch.popleft()
        self._waiting -= 1
        if batch:
            self._batches.append(batch)
        return item
