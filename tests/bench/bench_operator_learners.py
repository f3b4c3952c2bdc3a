"""Fake learners for `bench_operator`: one process that plays the API of every learner pod, on loopback addresses.

    python -m tests.bench.bench_operator_learners --prefix 127.250 --addresses 300 --control-port 12345

Which run is asked for is told from the bearer token, which is different for every job; any token is accepted. A run
has made 400 steps when it is first asked, more than are kept of it, and makes one every two seconds. `/counts` on the
control port tells how many requests came and how many runs were told to stop.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import re
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aiohttp import web

from prorl_api.metrics import TABLE
from prorl_api.names import API_PORT
from prorl_api.wire.base import ATTEMPT_HEADER

STEP_SECONDS = 2.0
PHASE_SECONDS = 0.7
_PHASES = ("sampling", "updating", "publishing")
TOTAL_STEPS = 1_000_000
STEPS_BEFORE = 400
"""That a run has behind it when it is first asked: as many lines are kept as there will ever be."""
_DENSE_SECONDS = 240
"""Before a job was first asked for its samples lie a second apart: what hours of scrapes bring is there in minutes."""
SCRAPE_SECONDS = 15.0
_PARTS = (r'prorl_job=~?"([^"]*)"', r'namespace=~?"([^"|]*)', r"\[([0-9]+)s\]")
_SCRAPED = {"step": "", "attempt": "1", "resumed_from_step": "-1", "kl_nats": "0.01", "kl_loss_share_ratio": "0.5"}
"""Name to value; empty: the step."""
_VALUES = {metric.name: 0.5 for metric in TABLE if not metric.by_source and metric.name != "validation_accuracy"}


@dataclass(slots=True)
class Run:
    """One learner's state."""

    begun: float
    stopped_at: int | None = None
    """Step at which it was told to stop."""

    def step(self, now: float) -> int:
        """Steps completed."""
        return int((now - self.begun) / STEP_SECONDS) if self.stopped_at is None else self.stopped_at


@dataclass(slots=True)
class Learners:
    """All of them, by token."""

    runs: dict[str, Run] = field(default_factory=dict)
    num_requests: int = 0

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """What the learner's API would say."""
        self.num_requests += 1
        now = time.time()
        before = STEPS_BEFORE * STEP_SECONDS
        run = self.runs.setdefault(request.headers.get("Authorization", ""), Run(begun=now - before))
        attempt = int(request.headers.get(ATTEMPT_HEADER, "1"))
        if request.path == "/v1/status":
            return _json(_status(run, attempt, now))
        if request.path == "/v1/report":
            return _json(
                {
                    "status": _status(run, attempt, now),
                    "metrics": {"steps": _lines(run, request.query, attempt, now)},
                    "resets": {"resets": []},
                }
            )
        if request.path == "/v1/stop":
            if run.stopped_at is None:
                run.stopped_at = run.step(now)
            return _json({"accepted": True})
        return web.Response(status=404, text="no such path here")

    async def counts(self, _: web.BaseRequest) -> web.StreamResponse:
        """For the benchmark."""
        stopped = sum(run.stopped_at is not None for run in self.runs.values())
        return _json({"requests": self.num_requests, "runs": len(self.runs), "stopped": stopped})


@dataclass(slots=True)
class Scraped:
    """Plays the Prometheus that scrapes all of them: a sample of each every 15 s, aligned to the clock.

    Of the minutes before a job was first asked for it has one every second, a step each.
    """

    begun: dict[str, float] = field(default_factory=dict)
    """When a job was first asked for; its learner had made more steps by then, so that none here is ahead of it."""

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """`/api/v1/query` for a range of samples."""
        form = await request.post()
        query, now = str(form["query"]), float(str(form["time"]))
        jobs, namespace, seconds = (re.search(pattern, query) for pattern in _PARTS)
        assert jobs is not None
        assert namespace is not None
        assert seconds is not None
        result = []
        for job in jobs[1].split("|"):
            begun = self.begun.setdefault(job, now)
            first = now - int(seconds[1])
            dense = range(math.ceil(max(first, begun - _DENSE_SECONDS)), int(begun) + 1)
            later = range(math.ceil(max(first, begun + 1) / SCRAPE_SECONDS), int(now // SCRAPE_SECONDS) + 1)
            times = [*map(float, dense), *(at * SCRAPE_SECONDS for at in later)]
            labels: dict[str, str] = {
                "namespace": str(namespace[1]),
                "prorl_job": job,
                "prorl_role": "learner",
                "pod": f"{job}-learner-1-0",
            }
            for name, value in _SCRAPED.items():
                values = [[at, value or str(_scraped_step(at, begun))] for at in times]
                metric: dict[str, str] = {"__name__": f"prorl_learner_{name}", **labels}
                result.append({"metric": metric, "values": values})
        return _json({"status": "success", "data": {"resultType": "matrix", "result": result}})


def _scraped_step(at: float, begun: float) -> int:
    if at <= begun:
        return max(0, int(at - begun) + _DENSE_SECONDS)
    return _DENSE_SECONDS + int((at - begun) / STEP_SECONDS)


def _json(document: object) -> web.Response:
    return web.Response(text=json.dumps(document), content_type="application/json")


def _lines(run: Run, query: Mapping[str, str], attempt: int, now: float) -> list[dict[str, float]]:
    first = max(int(query.get("since_step", "-1")), 0) + 1
    steps = range(first, min(run.step(now), first + int(query.get("max_lines", "1000000")) - 1) + 1)
    return [_VALUES | {"step": step, "attempt": attempt, "kl": 0.01} for step in steps]


def _status(run: Run, attempt: int, now: float) -> dict[str, object]:
    step = run.step(now)
    return {
        "attempt": attempt,
        "phase": _PHASES[int(now / PHASE_SECONDS) % len(_PHASES)] if run.stopped_at is None else "stopping",
        "phase_since": run.begun,
        "heartbeat": now,
        "step": step,
        "total_steps": TOTAL_STEPS,
        "ready_rollout_servers": 2,
        "last_checkpoint_step": step // 50 * 50 if run.stopped_at is None else step,
    }


def addresses(prefix: str, number: int) -> list[str]:
    """The first addresses that kwok gives to pods out of `prefix`.0.0/16."""
    return [f"{prefix}.{index // 256}.{index % 256}" for index in range(number)]


async def serve(prefix: str, number: int, control_port: int) -> None:
    """Listen on every address, and say `ready` on standard output; lasts until the process is ended."""
    learners = Learners()
    loop = asyncio.get_running_loop()
    server = web.Server(learners.answer, access_log=None)
    # One socket an address: a wildcard would be reachable from outside, and collide with other tests' addresses.
    for address in addresses(prefix, number):
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address, API_PORT))
        await loop.create_server(server, sock=listening, backlog=16)
    scraped = Scraped()

    async def control(request: web.BaseRequest) -> web.StreamResponse:
        return await (scraped.answer(request) if request.path.startswith("/api/v1/") else learners.counts(request))

    await loop.create_server(web.Server(control, access_log=None), "127.0.0.1", control_port)
    print("ready", flush=True)
    await loop.run_in_executor(None, os.read, 0, 1)  # until the benchmark's end of the pipe closes


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--prefix", required=True, help="first two bytes of the pods' addresses")
    parser.add_argument("--addresses", type=int, required=True, help="how many")
    parser.add_argument("--control-port", type=int, required=True)
    given = parser.parse_args(arguments)
    asyncio.run(serve(given.prefix, given.addresses, given.control_port))


if __name__ == "__main__":
    main()
