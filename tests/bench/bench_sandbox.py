"""How fast the reward sandbox judges, next to the machine's own limit in the same run. Run by hand:

    python tests/bench/bench_sandbox.py

Prints items a second of `/v1/score` on mathematics where seven of eight answers are wrong, mostly of another kind than
the expected one (`bench_sandbox_scoring` has other loads), programs a second of `/v1/execute`, and both as a ratio to
plain `posix_spawn` of `python3 -I -S` with as many at once: the limit of any design that starts one interpreter a run.
Speeds of shared machines drift, so rounds are interleaved and the median is given.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil

from prorl_api.process.listen import LISTEN_FD_VARIABLE, address_of, bind
from prorl_reward_sandbox.execution.process.interpreters import INTERPRETERS

WORKERS = 2
ROUNDS = 3
ITEMS = 1000
PROGRAMS = 300
GOLDS = ("42", r"\frac{3}{7}", r"2\sqrt{5}", "x^2+2x+1", r"\{1,2,3\}", "(0,1]", "3.5", "-17")


def make_items() -> list[dict[str, object]]:
    return [
        {
            "item_id": str(number),
            "domain": "math",
            "row": {"answer": GOLDS[number % len(GOLDS)]},
            "completion": "Some reasoning. " * 100 + rf"\boxed{{{GOLDS[(number // 2) % len(GOLDS)]}}}",
        }
        for number in range(ITEMS)
    ]


def score_rate(url: str) -> float:
    items = make_items()
    started = time.perf_counter()
    httpx.post(f"{url}/v1/score", json={"items": items}, timeout=300).raise_for_status()
    return len(items) / (time.perf_counter() - started)


def execute_rate(url: str) -> float:
    async def run_all() -> None:
        body = {"source": "print(42)", "tests": [{"expected_stdout": "42"}]}
        gate = asyncio.Semaphore(2 * WORKERS)
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:

            async def run() -> None:
                async with gate:
                    response = await client.post("/v1/execute", json=body)
                    assert response.json()["tests"][0]["verdict"] == "correct"

            await asyncio.gather(*(run() for _ in range(PROGRAMS)))

    started = time.perf_counter()
    asyncio.run(run_all())
    return PROGRAMS / (time.perf_counter() - started)


def batch_rate(url: str) -> float:
    body = {"source": "print(42)", "tests": [{"expected_stdout": "42"}] * (PROGRAMS // 2), "total_wall_seconds": 120}
    started = time.perf_counter()
    with ThreadPoolExecutor(2) as threads:
        for response in threads.map(lambda _: httpx.post(f"{url}/v1/execute", json=body, timeout=120), range(2)):
            assert {test["verdict"] for test in response.json()["tests"]} == {"correct"}
    return 2 * (PROGRAMS // 2) / (time.perf_counter() - started)


def spawn_rate(_: str) -> float:
    interpreter = next(path for path in INTERPRETERS[::-1] if os.access(path, os.X_OK))
    null = os.open(os.devnull, os.O_WRONLY)

    def spawn(_: int) -> None:
        arguments = [interpreter, "-I", "-S", "-c", "print(42)"]
        pid = os.posix_spawn(interpreter, arguments, {}, file_actions=[(os.POSIX_SPAWN_DUP2, null, 1)])
        os.waitpid(pid, 0)

    started = time.perf_counter()
    with ThreadPoolExecutor(WORKERS) as threads:
        list(threads.map(spawn, range(PROGRAMS)))
    os.close(null)
    return PROGRAMS / (time.perf_counter() - started)


def main() -> None:
    listening = bind("127.0.0.1", 0)
    url = f"http://{address_of(listening)}"
    environment = {
        **os.environ,
        "PRORL_SANDBOX_SETTINGS": json.dumps({"workers": WORKERS}),
        LISTEN_FD_VARIABLE: str(listening.fileno()),
    }
    started = time.perf_counter()
    command = [sys.executable, "-m", "prorl_reward_sandbox"]
    service = psutil.Popen(command, env=environment, pass_fds=[listening.fileno()])
    try:
        while httpx.get(f"{url}/readyz", timeout=60).status_code != 200:
            time.sleep(0.05)
        print(f"ready after {time.perf_counter() - started:.1f} s")
        for process in [service, *service.children(recursive=True)]:
            memory = process.memory_full_info()
            name = next((part for part in process.cmdline() if part.startswith("prorl_")), "?")
            print(f"  {name}: {memory.rss / 2**20:.0f} MiB resident, {memory.pss / 2**20:.0f} MiB proportional")
        kinds: dict[str, Callable[[str], float]] = {
            "score, math, unrelated wrong answers": score_rate,
            "execute, one test a request": execute_rate,
            "execute, many tests a request": batch_rate,
            "posix_spawn": spawn_rate,
        }
        rates: dict[str, list[float]] = {kind: [] for kind in kinds}
        for _ in range(ROUNDS):
            for kind, measure in kinds.items():
                rates[kind].append(measure(url))
        limit = statistics.median(rates["posix_spawn"])
        for kind, values in rates.items():
            rate = statistics.median(values)
            print(f"{kind}: {rate:.0f}/s, {rate / limit:.2f} of posix_spawn ({', '.join(f'{v:.0f}' for v in values)})")
    finally:
        service.terminate()
        service.wait(timeout=15)


if __name__ == "__main__":
    main()
