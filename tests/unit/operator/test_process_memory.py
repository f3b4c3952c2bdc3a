"""When garbage is collected."""

from __future__ import annotations

import asyncio
import gc

import pytest

from prorl_operator import process_memory


class Counts:
    """Numbers of passes, one a look; knows how many looks there were, and when the last one was."""

    def __init__(self, *counts: int) -> None:
        self._left = iter(counts)
        self.seen: list[int] = []
        self.ended = asyncio.Event()

    def __call__(self) -> int:
        try:
            self.seen.append(next(self._left))
        except StopIteration:
            self.ended.set()
        return self.seen[-1]


async def test_memory_is_tidied_once_after_each_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_memory, "QUIET_SECONDS", 0.0)
    counts = Counts(0, 0, 3, 7, 7, 7, 8, 8)
    at: list[int] = []
    monkeypatch.setattr(gc, "collect", lambda: at.append(len(counts.seen)))
    task = asyncio.create_task(process_memory.tidy(counts))
    await counts.ended.wait()
    task.cancel()
    assert at == [5, 8], "at the second of each two that are alike, but for the first, when nothing had been done"


async def test_while_passes_go_on_memory_is_given_back_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_memory, "QUIET_SECONDS", 0.001)
    monkeypatch.setattr(process_memory, "BUSY_SECONDS", 0.0025)
    counts = Counts(0, 1, 2, 3, 4, 5, 6, 6, 6, 6)
    given: list[int] = []
    collected: list[int] = []
    monkeypatch.setattr(process_memory, "give_back_memory", lambda: given.append(len(counts.seen)))
    monkeypatch.setattr(gc, "collect", lambda: collected.append(len(counts.seen)))
    task = asyncio.create_task(process_memory.tidy(counts))
    await counts.ended.wait()
    task.cancel()
    assert given == [4, 7, 8], "every third look, and once it is quiet"
    assert collected == [8]
