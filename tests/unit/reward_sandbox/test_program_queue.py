"""WakeupBatcher are bounded, come in turn, and are not lost by those who leave."""

from __future__ import annotations

import asyncio

import pytest

from prorl_reward_sandbox.execution.program_queue import Batch, ProgramQueue
from prorl_reward_sandbox.workers.fair_queue import QueueFullError


class Crowd:
    """Programs that run until they are let go."""

    def __init__(self) -> None:
        self.running: list[str] = []
        self.order: list[str] = []
        self._gates: dict[str, asyncio.Event] = {}

    def enter(self, batch: Batch, name: str) -> asyncio.Task[None]:
        self._gates[name] = asyncio.Event()
        return asyncio.create_task(self._run(batch, name))

    def leave(self, name: str) -> None:
        self._gates[name].set()

    async def _run(self, batch: Batch, name: str) -> None:
        async with batch.turn():
            self.running.append(name)
            self.order.append(name)
            await self._gates[name].wait()
            self.running.remove(name)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_at_most_as_many_run_as_there_are_slots_and_batches_take_turns() -> None:
    queue, crowd = ProgramQueue(slots=2, limit=10), Crowd()
    large, small = queue.reserve(4), queue.reserve(2)
    tasks = [crowd.enter(large, f"large-{n}") for n in range(4)] + [crowd.enter(small, f"small-{n}") for n in range(2)]
    await settle()
    assert crowd.running == ["large-0", "large-1"]
    while crowd.running:
        crowd.leave(crowd.running[0])
        await settle()
        assert len(crowd.running) <= 2
    await asyncio.gather(*tasks)
    assert crowd.order == ["large-0", "large-1", "large-2", "small-0", "large-3", "small-1"]
    assert queue.num_waiting == 0


async def test_a_batch_that_does_not_fit_is_refused_as_a_whole() -> None:
    queue, crowd = ProgramQueue(slots=1, limit=3), Crowd()
    tasks = [crowd.enter(queue.reserve(1), f"{n}") for n in range(3)]
    await settle()
    with pytest.raises(QueueFullError, match="2 items are waiting; at most 3 may"):
        queue.reserve(2)
    assert queue.num_waiting == 2
    queue.reserve(1).close()
    queue.reserve(2, ignore_limit=True).close()
    for n in range(3):
        crowd.leave(f"{n}")
    await asyncio.gather(*tasks)


async def test_an_empty_queue_takes_a_batch_of_any_size() -> None:
    queue = ProgramQueue(slots=1, limit=1)
    queue.reserve(100).close()
    assert queue.num_waiting == 0


async def test_one_who_leaves_while_waiting_costs_nobody_a_turn() -> None:
    queue, crowd = ProgramQueue(slots=1, limit=9), Crowd()
    batch = queue.reserve(3)
    tasks = [crowd.enter(batch, f"{n}") for n in range(3)]
    await settle()
    tasks[1].cancel()
    await settle()
    crowd.leave("0")
    await settle()
    assert crowd.running == ["2"]
    crowd.leave("2")
    await asyncio.gather(*tasks, return_exceptions=True)
    batch.close()
    assert queue.num_waiting == 0
    async with queue.reserve(1).turn() as seconds:
        assert seconds < 1


async def test_one_who_leaves_in_the_moment_of_its_turn_hands_it_on() -> None:
    queue, crowd = ProgramQueue(slots=1, limit=9), Crowd()
    batch = queue.reserve(3)
    async with batch.turn():
        tasks = [crowd.enter(batch, f"{n}") for n in range(2)]
        await settle()
    tasks[0].cancel()  # its turn has come, but it has not been told yet
    await settle()
    assert crowd.running == ["1"]
    crowd.leave("1")
    await asyncio.gather(*tasks, return_exceptions=True)
