"""A cache bounded in bytes whose values are made once, however many ask for one at the same time."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Made(Generic[T]):
    """A value just made.

    Attributes:
        num_bytes: What keeping it costs.
        is_lasting: Whether an equal request may be answered with it later; if not, only those who wait now get it.
    """

    value: T
    num_bytes: int
    is_lasting: bool


@dataclass(slots=True, kw_only=True)
class _Making(Generic[T]):
    task: asyncio.Task[Made[T]]
    waiting: int = 0


class BoundedCache(Generic[T]):
    """Values by digest; those not asked for the longest are dropped first."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._num_bytes = 0
        self._made: OrderedDict[str, Made[T]] = OrderedDict()
        self._making: dict[str, _Making[T]] = {}

    @property
    def num_bytes(self) -> int:
        """What is kept now."""
        return self._num_bytes

    async def get(self, digest: str, make: Callable[[], Coroutine[Any, Any, Made[T]]]) -> tuple[T, bool]:
        """Return the value, and whether it was there or being made already.

        What `make` raises is raised to all who wait, and not kept. Making goes on while anybody waits for it.
        """
        if (made := self._made.get(digest)) is not None:
            self._made.move_to_end(digest)
            return made.value, True
        making = self._making.get(digest)
        is_cached = making is not None
        if making is None:
            making = self._making[digest] = _Making(task=asyncio.create_task(make()))
        making.waiting += 1
        try:
            made = await asyncio.shield(making.task)
        finally:
            making.waiting -= 1
            if self._making.get(digest) is making and (making.task.done() or not making.waiting):
                del self._making[digest]
            if not making.task.done() and not making.waiting:
                making.task.cancel()
                await asyncio.wait({making.task})
        if made.is_lasting and made.num_bytes <= self._max_bytes:
            self._keep(digest, made)
        return made.value, is_cached

    def _keep(self, digest: str, made: Made[T]) -> None:
        replaced = self._made.pop(digest, None)
        self._num_bytes += made.num_bytes - (replaced.num_bytes if replaced else 0)
        self._made[digest] = made
        while self._num_bytes > self._max_bytes:
            _, dropped = self._made.popitem(last=False)
            self._num_bytes -= dropped.num_bytes


def digest_of(*parts: Any) -> str:
    """Return the digest of JSON values: equal exactly for equal values."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
