"""Signals read from a real VictoriaMetrics: the same API, answered by none of Prometheus' code.

It rounds times and hides the last 30 seconds of what it evaluates unless told otherwise, and shows as NaN where a
series ended.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Gauge, start_http_server
from typer.testing import CliRunner

from prorl_cli.main import app
from prorl_control.signals.reading import Reading, SignalReason
from tests.conformance.polled import LABELS, MANIFEST, polled, until
from tests.conformance.world import wait_for
from tests.testbed.prometheus import Prometheus, victoria_metrics

STEP = 7
TWICE = 'avg by (namespace, prorl_job) (prorl_learner_kl_nats{namespace="a", prorl_job="demo"}) * 2'


class Learner:
    """What a scrape sees of one; it can go away and come back, and a label of its series can change."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._gauges = [
            Gauge(f"prorl_learner_{name}", "As a learner has it.", ["stage"], registry=self.registry)
            for name in ("step", "attempt", "kl_nats")
        ]
        self._set("first")

    def _set(self, stage: str) -> None:
        for gauge, value in zip(self._gauges, (STEP, 1, 0.25), strict=True):
            gauge.labels(stage=stage).set(value)

    def go_and_come_back(self) -> None:
        """Have no values for some scrapes: the store marks all series as ended, as when a target is gone."""
        for gauge in self._gauges:
            gauge.clear()
        time.sleep(3)
        self._set("first")

    def begin_stage(self) -> None:
        """Go on in other series: those of the stage before end at the same scrape."""
        for gauge in self._gauges:
            gauge.clear()
        self._set("second")

    @contextmanager
    def serving(self) -> Iterator[int]:
        """Be scraped on a port, which is given."""
        exporter, thread = start_http_server(0, "127.0.0.1", self.registry)
        try:
            yield exporter.server_port
        finally:
            exporter.shutdown()
            exporter.server_close()
            thread.join()


@contextmanager
def stored(folder: Path, port: int) -> Iterator[Prometheus]:
    """A VictoriaMetrics that scrapes the learner every second."""
    target = {"targets": [f"127.0.0.1:{port}"], "labels": LABELS}
    scrape = {"job_name": "learners", "scrape_interval": "1s", "static_configs": [target]}
    with victoria_metrics(folder, [scrape]) as server:
        yield server


def see(server: Prometheus, *, an_end: bool) -> None:
    """Wait until the store has scraped, and shows that a series of the KL ended or shows none that did."""

    def is_seen() -> bool:
        values = [value for item in server.query("prorl_learner_kl_nats[1m]") for _, value in item["values"]]
        return bool(values) and ("NaN" in values) is an_end

    wait_for(is_seen, "the store has what the test is about")


async def left_out(read: Callable[[], Reading], change: Callable[[], None], server: Prometheus) -> set[SignalReason]:
    """Return what was said to be left out from a change on until its end of a series is some readings old."""
    said: set[SignalReason] = set()

    async def watch() -> None:
        while True:
            fault = read().fault
            said.update(() if fault is None or fault.blocks else (fault.reason,))
            await asyncio.sleep(0.05)  # the poller goes by the clock

    await until(read, None)
    watching = asyncio.create_task(watch())
    await asyncio.to_thread(change)
    await asyncio.to_thread(see, server, an_end=True)
    await asyncio.sleep(5)
    watching.cancel()
    return said


async def with_own(read: Callable[[], Reading]) -> Reading:
    """Return the reading, once its newest line has the job's own signal."""
    async with asyncio.timeout(120):
        while True:
            found = read()
            if found.lines and "signals.twice" in found.lines[-1]:
                return found
            await asyncio.sleep(0.05)  # the poller goes by the clock


async def test_samples_and_own_signals_are_there_within_seconds(tmp_path: Path) -> None:
    with Learner().serving() as port, stored(tmp_path / "store", port) as server:
        see(server, an_end=False)
        begun = time.monotonic()
        async with polled(server.url, tmp_path, own=[("twice", TWICE)]) as read:
            found = await with_own(read)
        took = time.monotonic() - begun
    assert [(line["step"], line["kl"], line["signals.twice"]) for line in found.lines] == [(STEP, 0.25, 0.5)]
    assert took < 25, "the last 30 s were hidden"


@pytest.mark.parametrize("change", [Learner.go_and_come_back, Learner.begin_stage])
async def test_nothing_is_left_out_where_a_series_ended(tmp_path: Path, change: Callable[[Learner], None]) -> None:
    learner = Learner()
    with learner.serving() as port, stored(tmp_path / "store", port) as server:
        see(server, an_end=False)
        async with polled(server.url, tmp_path) as read:
            said = await left_out(read, lambda: change(learner), server)
            found = await until(read, None)
    assert [(line["step"], line["kl"]) for line in found.lines] == [(STEP, 0.25)]
    assert said == set()


async def test_a_replay_reads_it(tmp_path: Path) -> None:
    manifest = tmp_path / "job.yaml"
    manifest.write_text(MANIFEST, encoding="utf-8")
    begun = str(time.time() - 600)
    words = ["resets", "replay", str(manifest), "--job", "a/demo", "--from", begun, "--prometheus"]
    with Learner().serving() as port, stored(tmp_path / "store", port) as server:
        see(server, an_end=False)
        found = await asyncio.to_thread(CliRunner().invoke, app, [*words, server.url])
    assert (found.exit_code, "step 7  high: kl was above 0.2 at step 7, 0.25 at the last" in found.output) == (0, True)
