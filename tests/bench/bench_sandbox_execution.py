"""What a contained run of a trivial Python program costs, next to a plain one and to bubblewrap in the same run:

    python tests/bench/bench_sandbox_execution.py [--runs 300] [--rounds 3] [--workers 3]

`posix_spawn` starts `python3 -I -S` without any containment: the limit of every design that starts an interpreter a
run. bubblewrap (Debian's package, if it is there) starts the same in fresh namespaces. Rounds are interleaved and the
median of the ratios is given, since speeds of shared machines drift. Latency is measured one run at a time. Rates are
measured with one run more than there are cores, for all: so that none waits while a run passes between processes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from prorl_api.errors import RewardError
from prorl_reward_sandbox.execution.isolation import RunSpec, Runtime
from prorl_reward_sandbox.execution.levels.runner_isolation import RunnerIsolation
from prorl_reward_sandbox.execution.levels.strongest import CLAIMS, make_isolation
from prorl_reward_sandbox.execution.process.interpreters import INTERPRETERS

SPEC = RunSpec(argv=("main.py",), runtime=Runtime.PYTHON, files={"main.py": b"print(42)"})
PLAIN = "posix_spawn python3 -I -S"
BUBBLEWRAP = "bubblewrap --unshare-all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Runs a second with all workers, and seconds of single runs with all workers and with one."""

    rate: float
    busy: list[float]
    alone: list[float]


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] * 1e3


async def measure_level(level: RunnerIsolation, runs: int, workers: int) -> Round:
    async def timed(count: int, at_once: int) -> tuple[list[float], float]:
        gate = asyncio.Semaphore(at_once)

        async def one() -> float:
            async with gate:
                started = time.perf_counter()
                outcome = await level.run(SPEC)
                assert outcome.stdout == b"42\n", outcome
                return time.perf_counter() - started

        started = time.perf_counter()
        seconds = await asyncio.gather(*(one() for _ in range(count)))
        return list(seconds), time.perf_counter() - started

    busy, elapsed = await timed(runs, workers)
    alone, _ = await timed(max(20, runs // 4), 1)
    return Round(rate=runs / elapsed, busy=busy, alone=alone)


def measure_command(run: Callable[[], None], runs: int, workers: int) -> Round:
    def one(_: int) -> float:
        started = time.perf_counter()
        run()
        return time.perf_counter() - started

    started = time.perf_counter()
    with ThreadPoolExecutor(workers) as threads:
        busy = list(threads.map(one, range(runs)))
    elapsed = time.perf_counter() - started
    return Round(rate=runs / elapsed, busy=busy, alone=[one(0) for _ in range(max(20, runs // 4))])


def spawn(command: list[str], null: int) -> None:
    pid = os.posix_spawn(command[0], command, {}, file_actions=[(os.POSIX_SPAWN_DUP2, null, 1)])
    assert os.waitpid(pid, 0)[1] == 0


def commands() -> dict[str, list[str]]:
    """Peers that can run here."""
    interpreter = next(path for path in INTERPRETERS[::-1] if os.access(path, os.X_OK))
    program = [interpreter, "-I", "-S", "-c", "print(42)"]
    found = {PLAIN: program}
    bubblewrap = shutil.which("bwrap")
    if bubblewrap is not None:
        places = [part for path in ("/usr", "/lib", "/lib64", "/bin") for part in ("--ro-bind-try", path, path)]
        options = ["--unshare-all", "--die-with-parent", *places, "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
        found[BUBBLEWRAP] = [bubblewrap, *options, *program]
        subprocess.run(found[BUBBLEWRAP], check=True, stdout=subprocess.DEVNULL)
    return found


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=(os.cpu_count() or 1) + 1)
    options = parser.parse_args()
    null = os.open(os.devnull, os.O_WRONLY)
    peers = commands()
    levels = {}
    for name in CLAIMS:
        level = make_isolation(name, options.workers)
        try:
            await level.start()
        except RewardError as error:
            print(f"{name} cannot be had here: {error}")
        else:
            levels[name] = level
    rounds: dict[str, list[Round]] = {name: [] for name in (*levels, *peers)}
    for _ in range(options.rounds):
        for name, level in levels.items():
            rounds[name].append(await measure_level(level, options.runs, options.workers))
        for name, command in peers.items():
            measured = measure_command(lambda command=command: spawn(command, null), options.runs, options.workers)  # type: ignore[misc]
            rounds[name].append(measured)
    for level in levels.values():
        await level.close()
    show(rounds, list(peers))


def ratio(ours: list[Round], theirs: list[Round]) -> float:
    return statistics.median(mine.rate / other.rate for mine, other in zip(ours, theirs, strict=True))


def show(rounds: dict[str, list[Round]], peers: list[str]) -> None:
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f} (load beyond the benchmark's own makes latencies and rates worse)")
    for name, measured in rounds.items():
        ratios = [f"{ratio(measured, rounds[peer]):.2f} x {peer.split()[0]}" for peer in peers if peer != name]
        busy = [value for each in measured for value in each.busy]
        alone = [value for each in measured for value in each.alone]
        print(
            f"{name}: {statistics.median(each.rate for each in measured):.0f}/s ({', '.join(ratios)}); "
            f"alone p50 {percentile(alone, 0.5):.1f} ms, p99 {percentile(alone, 0.99):.1f} ms; "
            f"all workers p50 {percentile(busy, 0.5):.1f} ms, p99 {percentile(busy, 0.99):.1f} ms"
        )


if __name__ == "__main__":
    asyncio.run(main())
