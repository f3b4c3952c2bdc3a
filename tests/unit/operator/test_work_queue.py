"""The keyed queue: nothing is lost, nothing is worked on twice at once, delays are kept."""

from __future__ import annotations

import asyncio

import pytest

from prorl_operator.watch.work_queue import WorkQueue


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def taken(queue: WorkQueue[str]) -> str | None:
    """What can be had at once."""
    try:
        return await asyncio.wait_for(queue.take(), 0.05)
    except TimeoutError:
        return None


async def test_a_key_added_twice_is_handed_out_once() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    queue.add("a")
    queue.add("b")
    assert (await taken(queue), await taken(queue), await taken(queue)) == ("a", "b", None)


async def test_a_key_added_while_it_is_worked_on_comes_again_after_that() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    assert await taken(queue) == "a"
    queue.add("a")
    assert await taken(queue) is None
    queue.done("a")
    assert await taken(queue) == "a"


async def test_a_delayed_key_comes_when_it_is_due() -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock)
    queue.add_after("a", 5)
    clock.now = 4.9
    assert await taken(queue) is None
    clock.now = 5.0
    assert await taken(queue) == "a"
    queue.done("a")
    assert await taken(queue) is None


@pytest.mark.parametrize("delays", [(9, 2), (2, 9)])
async def test_of_several_delays_the_shortest_counts(delays: tuple[float, float]) -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock)
    for delay in delays:
        queue.add_after("a", delay)
    clock.now = 2.0
    assert await taken(queue) == "a"
    queue.done("a")
    clock.now = 20.0
    assert await taken(queue) is None


async def test_handing_a_key_out_cancels_its_delay() -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock)
    queue.add_after("a", 5)
    queue.add("a")
    assert await taken(queue) == "a"
    queue.done("a")
    clock.now = 6.0
    assert await taken(queue) is None


async def test_a_waiting_worker_is_woken_by_an_add() -> None:
    queue: WorkQueue[str] = WorkQueue()
    waiting = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    queue.add("a")
    assert await asyncio.wait_for(waiting, 1) == "a"


async def test_delays_that_end_within_a_tick_end_together() -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock)
    queue.add_after("a", 0.45)
    queue.add_after("b", 0.30)
    clock.now = 0.49
    assert await taken(queue) is None
    clock.now = 0.5
    assert {await taken(queue), await taken(queue)} == {"a", "b"}


async def test_a_delay_that_ends_wakes_one_worker_for_each_key() -> None:
    queue: WorkQueue[str] = WorkQueue()
    workers = [asyncio.create_task(queue.take()) for _ in range(3)]
    await asyncio.sleep(0)
    queue.add_after("a", 0.3)
    queue.add_after("b", 0.01)
    done, pending = await asyncio.wait(workers, timeout=1.0)
    assert {worker.result() for worker in done} == {"a", "b"}
    assert len(pending) == 1
    pending.pop().cancel()
