"""From a learning rate that is too high to a reset in every place that tells of it, with the real learner.

A real control plane, the real operator, a real Prometheus that scrapes by what the chart's PodMonitor says. Stand-ins
are the engines alone (`tests/conformance/real_learner.py`). A minute or two on an idle machine.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml

from prorl_api.crd import job_from_object
from prorl_api.resets import ResetCondition, ResetRecord
from prorl_api.status import ConditionStatus
from prorl_cli.prometheus_series import StoredAt, read_series
from prorl_control.resets.decide import decide
from tests.conformance import real_learner
from tests.conformance.cluster_fixtures import OPERATOR, make_world, world
from tests.conformance.cluster_world import JOB, ClusterWorld
from tests.conformance.prometheus import INTERVAL, PrometheusServer
from tests.conformance.site import Site
from tests.conformance.site import site as running_site
from tests.conformance.world import metrics, succeeded
from tests.integration.learner_world import manifest
from tests.integration.tiny_model import write_model
from tests.testbed.processes import Part
from tests.testbed.waiting import wait_until

__all__ = ["make_world", "world"]

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]
PATIENCE = 600.0
"""Seconds: the learner starts, and the machine may do much else."""
HIGH = 0.01
"""Learning rate, five thousand times the usual one: the KL is beyond a nat within three steps."""
SPIKE = {"name": "kl-spike", "klSpike": {"above": 1.5, "windowSteps": 3}}
T = TypeVar("T")


def patiently(what: str, condition: Callable[[], T]) -> T:
    """The condition's value once it is true."""
    return wait_until(what, condition, timeout_seconds=PATIENCE)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A cluster whose learners are real."""
    folder: Path = tmp_path_factory.mktemp("site") / "cluster"
    with running_site(folder, component=Path(real_learner.__file__)) as made:
        yield made


@pytest.fixture(scope="module")
def prometheus(site: Site) -> Iterator[PrometheusServer]:
    """Scrapes every learner."""
    server = PrometheusServer(site.cluster)
    server.part.launch()
    patiently("Prometheus answers", server.is_ready)
    yield server
    server.part.kill()


@pytest.fixture(scope="module")
def operator(site: Site, prometheus: PrometheusServer) -> Iterator[Part]:
    """The operator, told of the Prometheus as the chart tells it."""
    told = {"endpoints": [{"name": "main", "url": prometheus.url, "interval": INTERVAL}]}
    part = site.operator(OPERATOR, {"PRORL_PROMETHEUS": json.dumps(told)})
    part.launch()
    site.wait_for_leader(OPERATOR)
    yield part
    part.kill()


def write_job(world: ClusterWorld, total_steps: int, mode: str = "automatic") -> None:
    """The small job of the learner's own tests, in pods."""
    model = world.site.nodes.claims / world.namespace / "models" / "base"
    if not model.exists():
        write_model(model)
    spec = manifest(model)["spec"]
    world.write_job(
        **{section: spec[section] for section in ("data", "rollout", "algorithm", "validation")},
        learner={**spec["learner"], "optimizer": {"learningRate": HIGH}},
        schedule={"totalSteps": total_steps},
        monitoring={"prometheus": "main"},
        referenceReset={
            "mode": mode,
            "cooldownSteps": 3,
            "maxResets": 1,
            "expiresAfterSteps": 1000,
            "triggers": [SPIKE],
        },
    )


def prorl(*words: str) -> str:
    """What the command line prints."""
    command = [sys.executable, "-m", "prorl_cli", *words]
    shown = {**os.environ, "COLUMNS": "300"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=shown)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_learning_rate_that_is_too_high_ends_in_a_reset_that_every_place_tells_of(
    world: ClusterWorld, prometheus: PrometheusServer, tmp_path: Path
) -> None:
    begun = time.time()
    write_job(world, 100_000)
    world.start()
    patiently("a reset that was applied", lambda: [r for r in world.resets if r.condition is ResetCondition.APPLIED])
    patiently("the status names it", lambda: world.status.last_reset)
    write_job(world, metrics(world)[-1]["step"] + 5)
    over = patiently(
        "the run is over", lambda: succeeded(world.status) in (ConditionStatus.TRUE, ConditionStatus.FALSE)
    )
    assert over
    assert succeeded(world.status) is ConditionStatus.TRUE
    (record,) = world.resets
    lines = metrics(world)
    check_evidence(world, prometheus, record, lines)
    check_every_place(world, record, lines, tmp_path)
    check_replay(world, prometheus, record, begun, tmp_path)


def check_evidence(
    world: ClusterWorld, prometheus: PrometheusServer, record: ResetRecord, lines: list[dict[str, Any]]
) -> None:
    """Query, window and values, which are the learner's own, and which Prometheus still shows."""
    evidence, origin = record.evidence, record.evidence.origin
    assert (record.name, evidence.trigger, evidence.metric) == (f"{JOB}-reset-1", "kl-spike", "kl")
    assert sum(evidence.values) / 3 > 1.5
    assert origin is not None
    labels = f'namespace="{world.namespace}",prorl_job="{JOB}",prorl_role="learner"'
    assert (origin.prometheus, origin.query) == ("main", f"prorl_learner_kl_nats{{{labels}}}")
    by_step = {line["step"]: line["kl"] for line in lines if "kl" in line}
    assert list(evidence.values) == pytest.approx([by_step[step] for step in evidence.steps])
    assert (origin.steps_seen, origin.steps_unseen) == (3, evidence.steps[-1] - evidence.steps[0] - 2)
    (series,) = prometheus.query(f"{origin.query}[1h]")
    first, last = origin.window_start - 1, origin.window_end + 1  # an object's times are whole seconds
    shown = {float(value) for at, value in series["values"] if first <= at <= last}
    assert set(evidence.values) <= shown
    step, (body,) = record.evidence_step, world.site.api.list("prorl.dev/v1alpha1", "ProRLReset", world.namespace)
    stored = body["spec"]["evidence"]
    assert stored["query"] == origin.query
    assert (stored["steps"], [float(value) for value in stored["values"]]) == ([*evidence.steps], [*evidence.values])
    assert (body["spec"]["applyAtStep"], body["status"]["appliedStep"]) == (step, record.applied_step)


def check_every_place(world: ClusterWorld, record: ResetRecord, lines: list[dict[str, Any]], folder: Path) -> None:
    """At a step boundary, once, acknowledged; by the same name in status, events, run folder and report."""
    assert record.applied_step is not None
    assert record.applied_step >= record.evidence_step
    logged = [json.loads(text) for text in world.run.reset_log.read_text().splitlines()]
    intents = [line for line in logged if line["event"] == "intent"]
    (intent,) = intents
    assert (intent["step"], intent["command"]["name"]) == (record.applied_step, record.name)
    assert (intent["command"]["uid"], intent["digest_after"]) == (record.uid, record.digest_after)
    assert record.digest_before != record.digest_after
    assert (world.run.path / "references" / str(record.digest_after)).is_dir()
    totals = {line["step"]: line["resets_total"] for line in lines}
    assert [totals[record.applied_step], totals[max(totals)]] == [0, 1]
    by_step = {line["step"]: line["kl"] for line in lines if "kl" in line}
    assert by_step[record.applied_step + 1] < 0.1, "the policy is measured against itself again"
    assert world.status.last_reset == record.name
    told = [event["note"] for event in world.site.api.list("events.k8s.io/v1", "Event", world.namespace)]
    assert any(note.startswith(f"{record.name} applied at step {record.applied_step} [kl-spike: KL") for note in told)
    page = folder / "report.html"
    prorl("report", str(world.run.path), "--output", str(page))
    assert record.name in page.read_text()
    assert f"{record.name}  applied at step {record.applied_step}" in prorl("resets", "list", str(world.run.path))


MOST_LATE = 20
"""Steps that a busy machine may go on before the operator looks."""


def check_replay(
    world: ClusterWorld, prometheus: PrometheusServer, record: ResetRecord, begun: float, folder: Path
) -> None:
    """The command makes the decision that the operator made: the same trigger, values and words for the same steps."""
    body = world.job()
    body["spec"]["referenceReset"]["mode"] = "automatic"
    document = {**body, "metadata": {"name": JOB, "namespace": world.namespace}}
    document.pop("status")
    file = folder / "job.yaml"
    file.write_text(yaml.safe_dump(document))
    where = ["--prometheus", prometheus.url, "--job", f"{world.namespace}/{JOB}", "--from", str(begun)]
    said = prorl("resets", "replay", str(file), *where)
    assert said.startswith("1 reset(s) over steps "), said
    replayed = re.search(r"^  step (\d+)  kl-spike: (.*)$", said, re.MULTILINE)
    assert replayed is not None, said
    # The operator looks now and then: its window may end some steps later, as the records' checks of it say.
    late = record.evidence_step - int(replayed[1])
    assert replayed[2] == record.evidence.reason if late == 0 else 0 < late <= MOST_LATE, said
    series = read_series(StoredAt(url=prometheus.url, job=where[3], start=str(begun)), job_from_object(body).spec)
    seen = [line for line in series.lines if line["step"] <= record.evidence_step]
    again = decide(job_from_object(body).spec.reference_reset, seen, (), record.evidence_step)
    assert again is not None
    assert again.evidence == record.evidence.model_copy(update={"origin": None})
    steps = [line["step"] for line in series.lines]
    assert all(before < after for before, after in itertools.pairwise(steps))
    assert re.search(rf"over steps {steps[0]}-{steps[-1]}:", said)
