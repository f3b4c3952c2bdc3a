"""Fuzz everything that reads frames, for as long as wanted, and look for crashes, hangs and growth:

    python -m tests.bench.bench_frame_fuzz [--seconds 600] [--level namespaces] [--seed 1]

Most of the time the readers are called in this process; every few seconds real programs write such frames into their
conversations, in jails. It ends with exit code 1 at the first reader that raises what it must not, takes seconds for
one frame, or makes this process grow; the seed that is printed repeats it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import sys
import time
from collections import Counter

import psutil

from prorl_reward_sandbox.execution.judging.companions import num_jails
from prorl_reward_sandbox.execution.levels.strongest import make_isolation
from prorl_reward_sandbox.execution.programs import ProgramService
from tests.unit.reward_sandbox.frame_fuzz import READERS, Fuzz
from tests.unit.reward_sandbox.program_kit import asserts, call, make_request, program_service

_ROUND_SECONDS = 5.0
_LONGEST_SECONDS = 5.0
_MAX_GROWTH_BYTES = 96 * 2**20
"""Beyond what the first minute took: allocators keep what they once had."""
_WARM_UP_SECONDS = 60.0


def fuzz_readers(fuzz: Fuzz, counts: Counter[str], seconds: float) -> float:
    """Call all readers in turn; the longest CPU time of one frame."""
    longest, end = 0.0, time.monotonic() + seconds
    while time.monotonic() < end:
        for name, read in READERS.items():
            began = time.process_time()
            read(fuzz)
            longest = max(longest, time.process_time() - began)
            counts[name] += 1
    return longest


async def fuzz_jails(programs: ProgramService, fuzz: Fuzz, counts: Counter[str]) -> None:
    """Have programs write frames: none may have a reward, none may escape its verdict."""
    stream = fuzz.stream()[:20_000]
    source = f"import os\nos.write(3, {stream!r})\ndef f(*_): return 'never right'"
    tests = [call("f", 1, expected=987654321), asserts("assert f(1) == 987654321", "f")]
    for test in tests:
        response = await programs.execute(make_request(source, test, limits={"wall_seconds": 2.0}))
        assert response.reward == 0.0, (response.tests, stream)
        counts[f"in a jail, {test['type']}: {response.tests[0].verdict}"] += 1


def num_open() -> int:
    """Descriptors and processes of this process and its descendants."""
    everybody = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return len(everybody) + sum(len(os.listdir(f"/proc/{each.pid}/fd")) for each in everybody)


async def run(options: argparse.Namespace) -> None:
    """Fuzz until the time is up."""
    fuzz, counts, longest = Fuzz(options.seed), Counter[str](), 0.0
    began = time.monotonic()
    memory_before = open_before = 0
    isolation = make_isolation(options.level, num_jails(2))
    async with program_service(isolation=isolation) as programs:
        while time.monotonic() - began < options.seconds:
            longest = max(longest, fuzz_readers(fuzz, counts, _ROUND_SECONDS))
            for _ in range(10):
                await fuzz_jails(programs, fuzz, counts)
            assert longest < _LONGEST_SECONDS, f"one frame took {longest:.1f} s of CPU time"
            gc.collect()
            memory = psutil.Process().memory_info().rss
            if not memory_before and time.monotonic() - began > min(_WARM_UP_SECONDS, options.seconds / 2):
                memory_before, open_before = memory, num_open()
            assert not memory_before or memory - memory_before < _MAX_GROWTH_BYTES, f"grown to {memory >> 20} MiB"
        grown, opened = memory - memory_before, num_open() - open_before
    assert opened <= 4, f"{opened} more descriptors and processes than after the first minute"
    for name, count in sorted(counts.items()):
        print(f"{name}: {count}")
    print(
        f"seed {options.seed}, {options.level}: {sum(counts.values())} frames in {time.monotonic() - began:.0f} s, "
        f"{longest * 1e3:.0f} ms for the longest, memory {grown / 2**20:+.0f} MiB, "
        f"descriptors and processes {opened:+d}"
    )


def main() -> None:
    """Read the options and fuzz."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--level", default="namespaces", choices=("namespaces", "landlock", "process"))
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32)
    options = parser.parse_args()
    print(f"seed {options.seed}", file=sys.stderr)
    asyncio.run(run(options))


if __name__ == "__main__":
    main()
