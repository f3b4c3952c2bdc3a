"""When garbage is collected."""

from __future__ import annotations

import asyncio
import gc

import pytest

from prorl_operator import process_memory


async def test_memory_is_tidied_once_after_each_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_memory, "QUIET_SECONDS", 0.0)
    passes = iter([0, 0, 3, 7, 7, 7, 8, 8])
    at: list[int] = []
    seen: list[int] = []
    done = asyncio.Event()

    def count() -> int:
        try:
            seen.append(next(passes))
        except StopIteration:
            done.set()
        return seen[-1]

    monkeypatch.setattr(gc, "collect", lambda: at.append(len(seen)))
    task = asyncio.create_task(process_memory.tidy_when_quiet(count))
    await done.wait()
    task.cancel()
    assert at == [5, 8], "at the second of each two that are alike, but for the first, when nothing had been done"
