"""Asking peers without waiting for them: at most one request a question in flight, the newest answer at hand.

A slow or hanging peer delays its own answer and nothing else. Failures are answers too: a peer that cannot be
reached is starting, busy or gone, and the process table knows which.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class Probes:
    """Questions by key, asked in threads."""

    def __init__(self, max_threads: int) -> None:
        self._pool = ThreadPoolExecutor(max_workers=max_threads, thread_name_prefix="probe")
        self._running: dict[Hashable, Future[Any]] = {}
        self._answers: dict[Hashable, Any] = {}
        self._fresh: set[Hashable] = set()

    def ask(self, key: Hashable, question: Callable[[], Any]) -> None:
        """Ask unless the same question is still under way. The answer turns up under `key` later."""
        self.collect()
        if key not in self._running:
            self._running[key] = self._pool.submit(question)

    def collect(self) -> None:
        """Take in what has been answered.

        Raises:
            Exception: What a question raised: questions turn expected failures into answers themselves.
        """
        for key, future in list(self._running.items()):
            if future.done():
                del self._running[key]
                self._answers[key] = future.result()
                self._fresh.add(key)

    def newest(self, key: Hashable) -> Any:
        """Return the newest answer; None if there is none yet."""
        return self._answers.get(key)

    def take(self, key: Hashable) -> Any:
        """Return the newest answer if it was not taken before, else None."""
        if key not in self._fresh:
            return None
        self._fresh.discard(key)
        return self._answers[key]

    def forget(self, key: Hashable) -> None:
        """Drop the answer: the peer was replaced. One still under way counts for nothing either."""
        self._running.pop(key, None)
        self._answers.pop(key, None)
        self._fresh.discard(key)

    def close(self) -> None:
        """Wait for what is in flight; requests have short timeouts."""
        self._pool.shutdown(wait=True, cancel_futures=True)
