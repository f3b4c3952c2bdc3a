"""A day's worth of programs, compressed: what is left behind, and does memory grow?

    make bench-endurance               # 200,000 programs, about ten minutes on two cores
    make bench-endurance RUNS=10000

Mixed programs, good and bad, through the program service at the strongest level that can be had here. Prints what there
was of processes, descriptors, mounts, files, control groups and memory early on and at the end; exits with 1 if
anything was left or memory grew by more than a tenth.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import time
from collections import Counter
from collections.abc import Sequence

import psutil
from rich.progress import track

from prorl_api.wire.sandbox import ExecuteRequest, ExecutionLimits, ProgramTest
from prorl_reward_sandbox.execution.judging.companions import num_jails
from prorl_reward_sandbox.execution.levels.strongest import StrongestIsolation
from prorl_reward_sandbox.execution.programs import ProgramService
from prorl_reward_sandbox.metrics import SandboxMetrics
from tests.integration.attacks.traces import RESTRICTED_USER, Traces, look

SLOTS = 2
BATCH = 500
WARM_UP = 2000
"""Programs before the first look: allocators and caches settle."""
_MAX_GROWTH = 1.1
PROGRAMS = (
    "print(1)",
    "print(sum(range(10_000)) // 49_995_000)",
    "print(2)",
    "raise ValueError('no')",
    "import sys; sys.exit(3)",
    "import os\nfor _ in range(3):\n    if os.fork() == 0:\n        os._exit(0)\nprint(1)",
    "import os\nif os.fork() == 0:\n    os.setsid()\n    while True: pass\nprint(1)",
    "open('file', 'w').write('x' * 100_000)\nprint(1)",
    "import threading\nthreading.Thread(target=print, args=(1,)).start()",
    "kept = bytearray(2**30)",
    "print('x' * 100_000)",
    "import os; os.kill(os.getpid(), 9)",
)
"""The right output is 1."""


async def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; returns the exit code."""
    parser = argparse.ArgumentParser(description="Run many programs and look for what they leave.")
    parser.add_argument("--runs", type=int, default=200_000, help="how many programs (default: 200000)")
    runs = parser.parse_args(arguments).runs
    isolation = StrongestIsolation(num_jails(SLOTS), slots_alone=num_jails(1))
    programs = ProgramService(isolation, slots=SLOTS, max_queued=2 * BATCH, metrics=SandboxMetrics("endurance"))
    await programs.start()
    try:
        requests = itertools.cycle(map(_request, PROGRAMS))
        await _run(programs, requests, WARM_UP)
        before, memory_before = _look(), _memory()
        began = time.perf_counter()
        verdicts = await _run(programs, requests, runs)
        seconds = time.perf_counter() - began
        after, memory_after = _look(), _memory()
    finally:
        await programs.close()
    print(f"level {isolation.name}: {runs} programs in {seconds:.0f} s, {runs / seconds:.0f}/s")
    print("verdicts:", ", ".join(f"{name} {count}" for name, count in sorted(verdicts.items())))
    print(f"memory of the service and its helpers: {memory_before:.0f} MiB, then {memory_after:.0f} MiB")
    left = [name for name in Traces.__dataclass_fields__ if getattr(before, name) != getattr(after, name)]
    changes = [f"{each}: {getattr(before, each)} -> {getattr(after, each)}" for each in left]
    print("left behind:", ", ".join(changes) or "nothing")
    return int(bool(left) or memory_after > _MAX_GROWTH * memory_before)


async def _run(programs: ProgramService, requests: itertools.cycle[ExecuteRequest], runs: int) -> Counter[str]:
    verdicts: Counter[str] = Counter()
    for _ in track(range(0, runs, BATCH), description=f"{runs} programs", transient=True):
        batch = tuple(itertools.islice(requests, BATCH))
        for response in await programs.execute_all(batch, shown_bytes=0):
            verdicts[response.tests[0].verdict.value] += 1
    return verdicts


def _request(source: str) -> ExecuteRequest:
    limits = ExecutionLimits(wall_seconds=2.0, cpu_seconds=1.0, memory_bytes=64 * 2**20)
    return ExecuteRequest(source=source, tests=(ProgramTest(expected_stdout="1"),), limits=limits)


def _look() -> Traces:
    return look(frozenset({*range(64000, 65000), RESTRICTED_USER}))


def _memory() -> float:
    """Resident, in MiB, of this process and all its descendants."""
    everybody = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return sum(process.memory_info().rss for process in everybody) / 2**20


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
