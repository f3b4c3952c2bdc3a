"""When the event loop sleeps between turns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from prorl_operator.kube.wakeup_batcher import TURN_SECONDS, WakeupBatcher


@asynccontextmanager
async def kept(sleep: Callable[[float], None]) -> AsyncIterator[WakeupBatcher]:
    turns = WakeupBatcher(sleep)
    task = asyncio.create_task(turns.keep())
    await asyncio.sleep(0)
    try:
        yield turns
    finally:
        task.cancel()


async def some_steps() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


async def test_a_call_alone_is_answered_at_once() -> None:
    slept: list[float] = []
    async with kept(slept.append) as turns:
        for _ in range(3):
            with turns.under_way():
                await some_steps()
        assert slept == []


async def test_two_calls_are_looked_at_turn_by_turn_until_one_has_ended() -> None:
    slept: list[float] = []
    async with kept(slept.append) as turns:
        with turns.under_way():
            with turns.under_way():
                await some_steps()
                assert len(slept) >= 3
                assert set(slept) == {TURN_SECONDS}
            await asyncio.sleep(0)
            turns_taken = len(slept)
            await some_steps()
            assert len(slept) <= turns_taken + 1, "the turn that had begun ends, and no other begins"
        with turns.under_way(), turns.under_way():
            await some_steps()
            assert len(slept) > turns_taken + 1, "and again, once there are several"


async def test_all_that_came_during_a_sleep_is_taken_up_before_the_next() -> None:
    loop = asyncio.get_running_loop()
    events: list[str] = []

    def sleep(_: float) -> None:
        events.append("sleep")
        if events.count("sleep") == 1:
            for name in ("first", "second"):
                loop.call_soon(loop.call_soon, events.append, name)

    async with kept(sleep) as turns:
        with turns.under_way(), turns.under_way():
            await some_steps()
    assert events[:4] == ["sleep", "first", "second", "sleep"]


async def test_a_call_that_fails_is_not_under_way_any_more() -> None:
    slept: list[float] = []
    async with kept(slept.append) as turns:
        for _ in range(3):
            try:
                with turns.under_way():
                    raise ConnectionError
            except ConnectionError:
                pass
        with turns.under_way():
            await some_steps()
        assert slept == []
