"""The operator's reader of signals over one job, as the chart tells it of a Prometheus or of what speaks its API."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from prorl_api.errors import Fault
from prorl_api.spec.run import MonitoringSpec
from prorl_api.wire.learner import LearnerPhase, LearnerStatus
from prorl_control.signals.job_signals import WantedSignals
from prorl_control.signals.reading import Reading, SignalFault, SignalReason
from prorl_operator.signals.client import make_session
from prorl_operator.signals.endpoints import endpoints_of
from prorl_operator.signals.poller import SignalPoller, own_signals
from prorl_operator.telemetry import Telemetry

JOB = ("a", "demo")
LABELS = {"namespace": "a", "prorl_job": "demo", "prorl_role": "learner", "pod": "demo-learner-1-0"}
"""What a scrape puts on the series of the job's learner."""
MANIFEST = """
apiVersion: prorl.dev/v1alpha1
kind: ProRLJob
metadata: {name: demo}
spec:
  model: {path: ./model}
  data: {sources: [{name: sums, domain: logic, reasoningGym: {tasks: [{name: chain_sum}]}}]}
  referenceReset: {cooldownSteps: 0, triggers: [{name: high, threshold: {metric: kl, above: 0.2}}]}
"""


def _learner(step: int) -> LearnerStatus:
    now = time.time()
    return LearnerStatus(
        attempt=1, phase=LearnerPhase.SAMPLING, phase_since=now, heartbeat=now, step=step, total_steps=step + 2
    )


@asynccontextmanager
async def polled(
    url: str,
    folder: Path,
    headers: Sequence[Mapping[str, str]] = (),
    *,
    step: int = 7,
    own: Sequence[tuple[str, str]] = (),
) -> AsyncIterator[Callable[[], Reading]]:
    """Give what is known of the job's signals by now.

    Args:
        url: Of what speaks Prometheus' API.
        folder: Of credentials, as the chart mounts them.
        headers: As the chart's values have them.
        step: What the learner says to have completed.
        own: Names and queries of the job's own signals.
    """
    named = {"name": "main", "url": url, "interval": "1s", "headers": [*headers], "folder": str(folder)}
    faults: list[Fault] = []
    endpoints = endpoints_of(json.dumps({"endpoints": [named]}), faults)
    assert faults == []
    endpoint = endpoints.of(MonitoringSpec(prometheus="main"), JOB[0])
    assert not isinstance(endpoint, SignalFault)
    wanted = WantedSignals(
        job=JOB,
        uid="uid-1",
        names=frozenset({"kl"}),
        own=own_signals(own, JOB),
        since=time.time() - 3600,
        recent=16,
        target_step=step,
        prometheus="main",
        interval=endpoint.interval,
    )
    async with make_session() as http:
        poller = SignalPoller(http, Telemetry())
        task = asyncio.create_task(poller.keep())
        try:
            yield lambda: poller.source(endpoint, wanted).read(time.time(), _learner(step))
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def until(read: Callable[[], Reading], reason: SignalReason | None) -> Reading:
    """Return the reading, once it says so; None: once there are lines and nothing is wrong."""
    async with asyncio.timeout(120):
        while True:
            found = read()
            if (found.fault.reason if found.fault is not None else None) is reason and (reason or found.lines):
                return found
            await asyncio.sleep(0.05)  # the poller goes by the clock
