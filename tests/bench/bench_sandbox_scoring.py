"""What judging mathematics through `/v1/score` costs, and what one poisoned answer does to others. Run by hand:

    python -m tests.bench.bench_sandbox_scoring [--rounds 3] [--workers 2]

The rate depends on the answers far more than on the service, so every kind of load is named and measured by itself:

- `ordinary`: twenty pairs as models write them, a quarter of them wrong, over and over.
- `all distinct`: no two rows are equal, so no cache of an expected answer helps; half of the answers are wrong.
- `unrelated`: seven of eight answers are wrong, and mostly of another kind than the expected one: for math-verify.

Each is sent as one large request and in requests of the size of a trainer's. Beside the rate stands the CPU time an
item takes in each process: it says more than the rate where the machine has other work. The verdicts are counted.

The poisoned answer: requests are judged alone, then beside one that hangs until its deadline. The figure is the slowest
of them beside the poison, over p95 alone: for groups as a trainer sends them, sixteen of eight answers at once, and one
after the other for large requests and single answers. A single answer takes less than the slice that the kernel gives
a process that computes, so two controls say how much is the machine's: the slowest alone, and the slowest beside a
foreign process that computes for as long, which the service knows nothing of.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import psutil

from prorl_api.process.listen import LISTEN_FD_VARIABLE, address_of, bind
from tests.bench.bench_sandbox import make_items as make_unrelated
from tests.bench.bench_verifiers import ORDINARY

ITEMS = 960
REQUEST_SIZES = (ITEMS, 96)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waves:
    """Requests of so many answers, so many at once, so many times alone, from which p95 comes."""

    size: int
    at_once: int
    count: int

    def __str__(self) -> str:
        return f"{self.at_once} requests of {self.size} at once" if self.at_once > 1 else f"requests of {self.size}"


NEIGHBOURHOODS = (
    Waves(size=8, at_once=16, count=20),
    Waves(size=96, at_once=1, count=60),
    Waves(size=1, at_once=1, count=200),
)
DEADLINE_SECONDS = 1.0
POISONED = "55"
"""The expected answer that it is asked against: a number, so that the sum has to be worked out."""
POISON = r"\sum_{k=1}^{100000000} \frac{1}{k}"
"""math-verify adds it up for longer than the deadline."""
THOUGHTS = "Some reasoning. " * 100
Items = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One load sent once. CPU times are milliseconds an item, by process."""

    rate: float
    cpu: Counter[str]
    verdicts: Counter[str]


def make_item(number: int, gold: str, answer: str) -> dict[str, Any]:
    completion = THOUGHTS + rf"\boxed{{{answer}}}"
    return {"item_id": str(number), "domain": "math", "row": {"answer": gold}, "completion": completion}


def make_ordinary() -> Items:
    return [make_item(number, *ORDINARY[number % len(ORDINARY)]) for number in range(ITEMS)]


def make_distinct(seed: int) -> Items:
    chance = random.Random(seed)
    items = []
    for number in range(ITEMS):
        a, b, c = chance.randint(100, 99_999), chance.randint(2, 97), chance.randint(2, 50)
        off = chance.choice((0, 1))
        pairs = (
            (f"{a}", f"{a + off}"),
            (rf"\frac{{{a}}}{{{b}}}", rf"\dfrac{{{a + off}}}{{{b}}}"),
            (rf"{a}\sqrt{{{c}}}", rf"{a + off}\sqrt{{{c}}}"),
            (f"x^2+{a}x+{b}", f"x^2+{a}x+{b + off}"),
            (rf"\{{{a},{b},{c}\}}", f"{a}, {b}, {c + off}"),
            (f"({c},{a}]", f"({c},{a + off}]"),
            (f"{a / 100}", f"{(a + off) / 100}"),
            (f"-{a}", f"-{a + off}"),
        )
        items.append(make_item(number, *pairs[number % len(pairs)]))
    return items


def cpu_seconds(service: psutil.Popen) -> dict[tuple[str, int], float]:
    """By process: the service, its verifier workers, this client, and the rest (the runners of programs)."""
    processes = [("service", service), ("client", psutil.Process())]
    for child in service.children(recursive=True):
        is_verifier = any("workers.fork_server" in part for part in child.cmdline())
        processes.append(("verifiers" if is_verifier else "other", child))
    return {(kind, process.pid): sum(process.cpu_times()[:2]) for kind, process in processes}


def measure(client: httpx.Client, service: psutil.Popen, items: Items, size: int) -> Measured:
    verdicts: Counter[str] = Counter()
    before = cpu_seconds(service)
    started = time.perf_counter()
    for first in range(0, len(items), size):
        response = client.post("/v1/score", json={"items": items[first : first + size]}).raise_for_status()
        verdicts.update(result["verdict"] for result in response.json()["results"])
    elapsed = time.perf_counter() - started
    cpu: Counter[str] = Counter()
    for (kind, pid), seconds in cpu_seconds(service).items():
        cpu[kind] += 1000 * (seconds - before.get((kind, pid), 0.0)) / len(items)  # type: ignore[assignment]
    return Measured(rate=len(items) / elapsed, cpu=cpu, verdicts=verdicts)


def latencies(client: httpx.Client, waves: Waves, going_on: Callable[[], bool]) -> list[float]:
    """Seconds of each request, wave after wave; sorted."""
    seconds: list[float] = []

    def judge(number: int) -> float:
        places = range(number * waves.size, (number + 1) * waves.size)
        items = [make_item(place, *ORDINARY[place % len(ORDINARY)]) for place in places]
        started = time.perf_counter()
        client.post("/v1/score", json={"items": items}).raise_for_status()
        return time.perf_counter() - started

    with ThreadPoolExecutor(waves.at_once) as threads:
        while going_on():
            seconds += threads.map(judge, range(len(seconds), len(seconds) + waves.at_once))
    return sorted(seconds)


def send_poison(url: str) -> tuple[str, float]:
    """The verdict and the seconds it took."""
    body = {"items": [make_item(0, POISONED, POISON)], "timeout_seconds": DEADLINE_SECONDS}
    started = time.perf_counter()
    response = httpx.post(f"{url}/v1/score", json=body, timeout=60).raise_for_status()
    return response.json()["results"][0]["verdict"], time.perf_counter() - started


def compute(_: str) -> tuple[str, float]:
    """A process that computes for as long as the poison may, outside the service."""
    started = time.perf_counter()
    code = f"import time\nend = time.monotonic() + {DEADLINE_SECONDS}\nwhile time.monotonic() < end: pass"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)
    return "computed", time.perf_counter() - started


def show_poison(client: httpx.Client, url: str, waves: Waves, rounds: int) -> None:
    """Per round: alone, beside the poison, beside a foreign process."""
    neighbours = {"poison": send_poison, "foreign process": compute}
    ratios: dict[str, list[float]] = {"alone": [], **{name: [] for name in neighbours}}
    for _ in range(rounds):
        left = iter(range(waves.count))
        alone = latencies(client, waves, lambda left=left: next(left, None) is not None)  # type: ignore[misc]
        p95 = alone[int(0.95 * len(alone))]
        ratios["alone"].append(alone[-1] / p95)
        print(f"{waves}, alone: {shown(alone)}")
        for name, start in neighbours.items():
            with ThreadPoolExecutor(1) as thread:
                busy = thread.submit(start, url)
                beside = latencies(client, waves, lambda busy=busy: not busy.done())  # type: ignore[misc]
                verdict, seconds = busy.result()
            ratios[name].append(beside[-1] / p95)
            print(f"beside the {name} ({verdict} after {seconds:.2f} s, of {DEADLINE_SECONDS:g}): {shown(beside)}")
    for name, values in ratios.items():
        wanted = "; wanted: at most 3" if name == "poison" else ""
        each = ", ".join(f"{ratio:.1f}" for ratio in values)
        print(f"{waves}: slowest over p95 alone, {name}: {statistics.median(values):.1f} ({each}{wanted})")


def shown(seconds: list[float]) -> str:
    middle, high = seconds[len(seconds) // 2], seconds[int(0.95 * len(seconds))]
    return f"{len(seconds)}, p50 {1e3 * middle:.1f}, p95 {1e3 * high:.1f}, slowest {1e3 * seconds[-1]:.1f} ms"


@contextmanager
def running_service(workers: int) -> Iterator[tuple[psutil.Popen, str]]:
    listening = bind("127.0.0.1", 0)
    url = f"http://{address_of(listening)}"
    settings = json.dumps({"workers": workers})
    environment = {
        **os.environ,
        "PRORL_SANDBOX_SETTINGS": settings,
        LISTEN_FD_VARIABLE: str(listening.fileno()),
    }
    command = [sys.executable, "-m", "prorl_reward_sandbox"]
    service = psutil.Popen(command, env=environment, pass_fds=[listening.fileno()])
    try:
        while httpx.get(f"{url}/readyz", timeout=60).status_code != 200:
            time.sleep(0.05)
        yield service, url
    finally:
        service.terminate()
        service.wait(timeout=15)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    loads: dict[str, Callable[[int], Items]] = {
        "ordinary": lambda _: make_ordinary(),
        "all distinct": make_distinct,
        "unrelated": lambda _: make_unrelated()[:ITEMS],
    }
    found: dict[tuple[str, int], list[Measured]] = {(name, size): [] for name in loads for size in REQUEST_SIZES}
    with running_service(options.workers) as (service, url), httpx.Client(base_url=url, timeout=300) as client:
        measure(client, service, make_ordinary(), REQUEST_SIZES[0])  # not counted
        for number in range(options.rounds):
            for place, (name, size) in enumerate(found):
                items = loads[name](100 * number + place)
                found[name, size].append(measure(client, service, items, size))
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {options.workers} workers, {ITEMS} items each")
        for (name, size), measured in found.items():
            rates = [each.rate for each in measured]
            cpu = {kind: statistics.median(each.cpu[kind] for each in measured) for kind in measured[0].cpu}
            print(
                f"score, math, {name}, {size} items a request: {statistics.median(rates):.0f}/s "
                f"({', '.join(f'{rate:.0f}' for rate in rates)}; wanted: 500); CPU ms an item: "
                f"{', '.join(f'{kind} {value:.2f}' for kind, value in cpu.items() if value >= 0.005)}; "
                f"{dict(sum((each.verdicts for each in measured), Counter()))}"
            )
        for waves in NEIGHBOURHOODS:
            show_poison(client, url, waves, options.rounds)


if __name__ == "__main__":
    main()
