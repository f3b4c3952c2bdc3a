"""Who is crowded out, and how programs make room for it."""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from prorl_api.wire.sandbox import ProgramTestResult, Verdict
from prorl_reward_sandbox.execution.judging.crowding import Floor, is_crowded_out
from prorl_reward_sandbox.execution.process.crowding import waited_seconds

OUT_OF_TIME, CORRECT = Verdict.TIMEOUT_WALL, Verdict.CORRECT


@pytest.mark.parametrize(
    ("runs", "is_out"),
    [
        ([(OUT_OF_TIME, 5.0, 0.3, 4.6)], True),
        ([(OUT_OF_TIME, 5.0, 0.3, None)], False),
        ([(OUT_OF_TIME, 5.0, 0.01, 0.02)], False),  # it slept
        ([(OUT_OF_TIME, 5.0, 4.9, 0.1)], False),  # it computed
        ([(OUT_OF_TIME, 5.0, 5.0, 4.7)], False),  # with many processes of its own
        ([(CORRECT, 5.0, 0.3, 4.6)], False),  # it had enough all the same
        ([(CORRECT, 2.0, 0.1, 1.8), (CORRECT, 2.0, 0.1, 1.8), (OUT_OF_TIME, 1.0, 0.1, 0.8)], True),
        ([(CORRECT, 4.9, 0.3, 4.5), (OUT_OF_TIME, 0.0, 0.0, None)], True),  # the second was never begun
        ([(Verdict.TIMEOUT_CPU, 5.0, 0.3, 4.6)], False),
    ],
)
def test_who_waits_for_others_and_computes_little_is_crowded_out(
    runs: list[tuple[Verdict, float, float, float | None]], is_out: bool
) -> None:
    results = [
        ProgramTestResult(verdict=verdict, wall_seconds=wall, cpu_seconds=cpu, cpu_wait_seconds=waited)
        for verdict, wall, cpu, waited in runs
    ]
    assert is_crowded_out(results) is is_out


async def test_who_is_alone_waits_for_the_others_and_lets_none_in() -> None:
    floor, events = Floor(), []

    async def one(name: str, *, alone: bool, turns: int) -> None:
        async with floor.alone() if alone else floor.together():
            events.append(f"{name}+")
            for _ in range(turns):
                await asyncio.sleep(0)
            events.append(f"{name}-")

    tasks = [asyncio.create_task(one(name, alone=False, turns=5)) for name in "ab"]
    await asyncio.sleep(0)
    tasks += [asyncio.create_task(one(name, alone=name in "CD", turns=5)) for name in "CeD"]
    await asyncio.gather(*tasks)
    for name in "CD":
        began = events.index(f"{name}+")
        assert events[began + 1] == f"{name}-", events
    assert sorted(events) == sorted(f"{name}{sign}" for name in "abCeD" for sign in "+-")


async def test_one_that_is_called_off_leaves_the_floor_open() -> None:
    floor = Floor()

    async def wait(manager: object) -> None:
        async with manager:  # type: ignore[attr-defined]
            await asyncio.sleep(60)

    tasks = [asyncio.create_task(wait(each)) for each in (floor.together(), floor.alone(), floor.together())]
    await asyncio.sleep(0)
    for task in tasks[::-1]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    async with asyncio.timeout(5), floor.alone():
        pass
    async with asyncio.timeout(5), floor.together():
        pass


def test_the_kernel_counts_waiting_and_not_sleeping() -> None:
    pids = []
    cores = sorted(os.sched_getaffinity(0))
    for busy in (True, True, False):  # the first two share a processor
        if (pid := os.fork()) == 0:
            os.sched_setaffinity(0, cores[:1])
            end = time.monotonic() + 0.6
            while busy and time.monotonic() < end:
                pass
            time.sleep(0 if busy else 0.6)
            os._exit(0)
        pids.append(pid)
    time.sleep(0.7)
    waited = [waited_seconds(pid, wall_seconds=0.7) or 0.0 for pid in pids]
    for pid in pids:
        os.waitpid(pid, 0)
    assert min(waited[:2]) > 0.1 > waited[2]
    assert waited_seconds(pids[0], wall_seconds=0.7) is None, "it is gone"


def test_a_crowd_of_ones_own_is_nobody_elses_doing() -> None:
    if (pid := os.fork()) == 0:
        os.setsid()
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
        for _ in range(12):
            if os.fork() == 0:
                break
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            pass
        os._exit(0)
    time.sleep(1.0)
    waited = waited_seconds(pid, wall_seconds=1.0)
    os.killpg(pid, 9)
    os.waitpid(pid, 0)
    assert waited is None
