"""What 20 tests of a C++ program cost once it is compiled, beside compiling it. Run by hand:

    python tests/bench/bench_sandbox_programs.py [--rounds 5]

Every round compiles a source that was never seen and runs its tests (cold), then asks for the same again (warm), then
runs as many times `/bin/true` in the same jail: what no test can cost less than. Ratios are taken within a round and
their median is given. The program includes every standard header, as programs of contests do.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from dataclasses import dataclass

from prorl_api.wire.sandbox import ExecuteRequest, ExecuteResponse, ProgramTest
from prorl_reward_sandbox.execution.isolation import RunSpec
from prorl_reward_sandbox.execution.judging.companions import num_jails
from prorl_reward_sandbox.execution.levels.strongest import StrongestIsolation
from prorl_reward_sandbox.execution.programs import ProgramService
from prorl_reward_sandbox.metrics import SandboxMetrics

WORKERS = 2
TESTS = 20
WARM_REQUESTS = 3
SOURCE = r"""
#include <bits/stdc++.h>
int main() {
    long a, b;
    std::cin >> a >> b;
    std::vector<long> both{a, b};
    std::sort(both.begin(), both.end());
    std::cout << a + b << "\n";
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Seconds of one round: the first request, the compiler in it, the same request again, and bare jails."""

    cold: float
    compiler: float
    warm: float
    jails: float


async def timed(service: ProgramService, request: ExecuteRequest) -> tuple[float, ExecuteResponse]:
    started = time.perf_counter()
    response = await service.execute(request)
    elapsed = time.perf_counter() - started
    assert response.reward == 1.0, response
    return elapsed, response


async def measure(service: ProgramService, isolation: StrongestIsolation) -> Round:
    tests = tuple(ProgramTest(stdin=f"{number} 1", expected_stdout=str(number + 1)) for number in range(TESTS))
    source = f"{SOURCE}// {time.time_ns()}\n"
    request = ExecuteRequest(language="cpp", source=source, tests=tests, total_wall_seconds=60)
    cold, first = await timed(service, request)
    assert first.compilation is not None
    assert not first.compilation.is_cached
    warm = []
    for _ in range(WARM_REQUESTS):
        seconds, again = await timed(service, request)
        assert again.compilation is not None
        assert again.compilation.is_cached
        assert not again.is_cached
        warm.append(seconds)
    started = time.perf_counter()
    for _ in range(TESTS):
        await isolation.run(RunSpec(argv=("/bin/true",)))
    jails = time.perf_counter() - started
    return Round(cold=cold, compiler=first.compilation.wall_seconds, warm=statistics.median(warm), jails=jails)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    isolation = StrongestIsolation(num_jails(WORKERS), slots_alone=num_jails(1), minimum="process")
    service = ProgramService(isolation, slots=WORKERS, max_queued=100, metrics=SandboxMetrics("bench"))
    await service.start()
    try:
        rounds = [await measure(service, isolation) for _ in range(options.rounds)]
    finally:
        await service.close()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, level {service.isolation_level}, {TESTS} tests")
    for number, each in enumerate(rounds):
        print(
            f"round {number}: cold {each.cold:.2f} s (compiler {each.compiler:.2f}), warm {each.warm:.3f} s, "
            f"{TESTS} jails with /bin/true {each.jails:.3f} s; warm is {each.cold / each.warm:.1f} times faster than "
            f"cold, {each.compiler / each.warm:.1f} times faster than the compiler alone"
        )
    than_cold = statistics.median(each.cold / each.warm for each in rounds)
    than_compiler = statistics.median(each.compiler / each.warm for each in rounds)
    of_jails = statistics.median(each.warm / each.jails for each in rounds)
    print(
        f"C++, {TESTS} tests, compiled before: median {than_cold:.1f} times faster than cold, {than_compiler:.1f} "
        f"times faster than the compiler alone (wanted: 15); {of_jails:.1f} times the time of bare jails"
    )


if __name__ == "__main__":
    asyncio.run(main())
