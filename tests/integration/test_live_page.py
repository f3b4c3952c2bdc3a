"""The live page of a run that really runs, over HTTP; `tests/browser` has the same by clicks. No model."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from prorl_api.resets import ResetCondition
from tests.conformance.local_world import LocalWorld
from tests.conformance.world import saved_step, wait_for, wait_for_step

APPROVE = {
    "mode": "approve",
    "cooldownSteps": 1,
    "triggers": [{"name": "spike", "klSpike": {"above": 0.004, "windowSteps": 2}}],
}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[LocalWorld]:
    """A folder with a manifest; its bodies serve a live page; nothing of it runs afterwards."""
    world = LocalWorld(tmp_path)
    world.live_port = 0
    yield world
    world.close()


def urls(bench: LocalWorld) -> list[str]:
    """The pages' addresses, as the bodies have printed them."""
    return re.findall(r"live page: (\S+)", bench.output)


class Reader:
    """Whoever has the printed URL."""

    def __init__(self, url: str) -> None:
        self.address, _, token = url.partition("/#token=")
        self.headers = {"Authorization": f"Bearer {token}"}

    def look(self) -> dict[str, Any] | None:
        """The page; None while nobody serves it."""
        try:
            answer = httpx.get(f"{self.address}/v1/page", headers=self.headers, trust_env=False, timeout=90)
        except httpx.TransportError:
            return None
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def step(self) -> int:
        """Of the header; -1 while nobody serves it."""
        page = self.look()
        found = re.search(r"step <b>(\d+)</b>", page["content"]["parts"]["header"]) if page else None
        return int(found[1]) if found else -1


def end(bench: LocalWorld, body: subprocess.Popen[str], reader: Reader) -> None:
    """Ctrl-C; who reads the page until then sees it go."""
    body.send_signal(signal.SIGINT)
    wait_for(lambda: reader.look() is None, "nobody serves the page any more")
    assert bench.finish(body) == 130


def test_a_run_is_watched_decided_on_stopped_and_resumed_at_one_address(bench: LocalWorld) -> None:
    (bench.control / "step-seconds").write_text("0.2")
    bench.write_job(schedule={"totalSteps": 10_000}, referenceReset=APPROVE)
    body = bench.begin()
    wait_for(lambda: urls(bench), "the page's address is printed")
    reader = Reader(urls(bench)[0])
    first = wait_for(reader.look, "the page is served")
    assert first is not None
    assert first["is_driven"] is True
    wait_for(lambda: reader.step() >= 2, "steps are shown")
    wait_for(lambda: bench.resets, "a reset is proposed")
    name = bench.resets[0].name
    page = reader.look()
    assert page is not None
    assert f'data-reset="{name}" data-decision="approve"' in page["content"]["parts"]["resets"]
    assert {"learner-0.log", "rollout-0.log", "sandbox-0.log"} <= set(
        re.findall(r'data-key="log ([^"]+)"', page["content"]["parts"]["logs"])
    )
    answer = httpx.post(
        f"{reader.address}/v1/resets/{name}",
        json={"decision": "approve"},
        headers=reader.headers,
        trust_env=False,
        timeout=90,
    )
    assert answer.status_code == 200, answer.text
    wait_for(lambda: bench.resets[0].condition is ResetCondition.APPLIED, "it is applied")
    end(bench, body, reader)
    again, saved = bench.begin(), saved_step(bench)
    wait_for(lambda: reader.step() > saved, "the same address shows the run that goes on")
    assert len(set(urls(bench))) == 1
    end(bench, again, reader)
    token = reader.headers["Authorization"].split()[1]
    holding = [
        path for path in bench.run.path.rglob("*") if path.is_file() and token in path.read_text(errors="replace")
    ]
    assert holding == [bench.run.live_page], "the token is in no log, status or report"


def test_a_port_in_use_ends_the_start_before_anything_runs(bench: LocalWorld) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bench.live_port = taken.getsockname()[1]
        assert bench.finish() == 1
    assert f"port {bench.live_port} of 127.0.0.1 is in use" in bench.output
    assert "--live-port" in bench.output
    assert not bench.run.processes.exists()
    bench.live_port = None
    body = bench.begin()
    wait_for_step(bench, 1)
    body.send_signal(signal.SIGINT)
    assert bench.finish(body) == 130
