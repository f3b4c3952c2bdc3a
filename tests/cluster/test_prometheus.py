"""Resets decided on what a real Prometheus holds, which scrapes the learners by what the chart's PodMonitor says."""

from __future__ import annotations

import itertools
import json
import logging
import os
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest

from prorl_api.crd import job_from_object
from prorl_api.metrics import surviving
from prorl_api.resets import ResetCondition, ResetRecord
from prorl_api.spec.values import Role
from prorl_api.status import Condition, ConditionStatus, ConditionType
from prorl_cli.prometheus_series import StoredAt, read_series
from prorl_cli.report.loading import load
from prorl_control.resets.decide import replay
from tests.conformance.cluster_fixtures import OPERATOR, make_world, site, world
from tests.conformance.cluster_world import JOB, ClusterWorld
from tests.conformance.prometheus import INTERVAL, PrometheusServer
from tests.conformance.site import Site
from tests.conformance.world import applied_by_the_learner, metrics, succeeded, wait_for, wait_for_step
from tests.testbed.processes import Part
from tests.testbed.waiting import wait_until

__all__ = ["make_world", "site", "world"]

LONG: dict[str, Any] = {"totalSteps": 100_000}
FROM_PROMETHEUS: dict[str, Any] = {"prometheus": "main"}
SPIKE = {"name": "kl-spike", "klSpike": {"above": 0.25, "windowSteps": 3}}
_logger = logging.getLogger(__name__)
KILLS = int(os.environ.get("CHAOS_KILLS", "50"))
PATIENCE = 240.0
"""Seconds until everybody is there again and the next reset applied, on a machine that does much else."""
HIGH = {"optimizer": {"learningRate": 0.0001}}
"""Fifty times the usual one: the KL rises by 0.05 a step."""


@pytest.fixture(scope="module")
def prometheus(site: Site) -> Iterator[PrometheusServer]:
    """Scrapes every learner of the module's cluster."""
    server = PrometheusServer(site.cluster)
    server.part.launch()
    wait_for(server.is_ready, "Prometheus answers")
    yield server
    server.part.kill()


@pytest.fixture(scope="module")
def operator(site: Site, prometheus: PrometheusServer) -> Iterator[Part]:
    """The operator, told of the Prometheus as the chart tells it."""
    endpoints = [{"name": "main", "url": prometheus.url, "interval": INTERVAL}]
    told = {"interval": INTERVAL, "allowedUrls": [prometheus.url], "endpoints": endpoints}
    part = site.operator(OPERATOR, {"PRORL_PROMETHEUS": json.dumps(told)})
    part.launch()
    site.wait_for_leader(OPERATOR)
    yield part
    part.kill()


@pytest.fixture(autouse=True)
def slow_steps(world: ClusterWorld) -> None:
    """Longer than a scrape interval would be unkind to the test's time; several steps a scrape are what happens."""
    (world.control / "step-seconds").write_text("0.5")


def resetting(*triggers: dict[str, Any], **more: Any) -> dict[str, Any]:
    """`spec.referenceReset`."""
    return {"mode": "automatic", "cooldownSteps": 5, "expiresAfterSteps": 1000, "triggers": list(triggers), **more}


def available(world: ClusterWorld) -> Condition:
    """The condition of the signals."""
    found = world.status.condition(ConditionType.METRICS_AVAILABLE)
    assert found is not None
    return found


def wait_for_reason(world: ClusterWorld, reason: str) -> Condition:
    """The condition, once it says so."""
    wait_for(
        lambda: (found := world.status.condition(ConditionType.METRICS_AVAILABLE)) and found.reason == reason, reason
    )
    return available(world)


def first_applied(world: ClusterWorld) -> ResetRecord:
    """The first reset, once the learner has acknowledged it."""
    wait_until(
        "a reset that was applied",
        lambda: any(record.condition is ResetCondition.APPLIED for record in world.resets),
        timeout_seconds=PATIENCE,
    )
    return next(record for record in world.resets if record.condition is ResetCondition.APPLIED)


def check_evidence(record: ResetRecord, lines: list[dict[str, Any]]) -> None:
    """Every value is one that the learner had at that step, and Prometheus said so."""
    by_step = {(line["step"]): line["kl"] for line in lines}
    assert record.evidence.origin is not None
    assert record.evidence.origin.steps_seen == len(record.evidence.steps)
    assert [by_step[step] for step in record.evidence.steps] == pytest.approx(list(record.evidence.values))


def test_a_kl_spike_of_a_high_learning_rate_is_noticed_explained_and_applied(
    world: ClusterWorld, prometheus: PrometheusServer
) -> None:
    world.write_job(
        schedule=LONG,
        learner=HIGH,
        referenceReset=resetting(SPIKE),
        monitoring=FROM_PROMETHEUS,
        checkpoint={"everySteps": 5},
    )
    world.start()
    record = first_applied(world)
    assert record.name == f"{JOB}-reset-1"
    evidence, origin = record.evidence, record.evidence.origin
    assert (evidence.trigger, evidence.metric) == ("kl-spike", "kl")
    assert origin is not None
    assert origin.prometheus == "main"
    assert origin.query == (
        f'prorl_learner_kl_nats{{namespace="{world.namespace}",prorl_job="{JOB}",prorl_role="learner"}}'
    )
    check_evidence(record, metrics(world))
    assert origin.steps_unseen == evidence.steps[-1] - evidence.steps[0] + 1 - len(evidence.steps)
    assert origin.window_start < origin.window_end
    assert prometheus.query(f"{origin.query}[10m]"), "the evidence's query shows what it speaks of"
    # By the same name in the object, in the status and in the run folder.
    wait_for(lambda: world.status.last_reset == record.name, "the status names it")
    names = [json.loads(line)["command"]["name"] for line in world.run.reset_log.read_text().splitlines()]
    assert names[0] == record.name
    assert record.applied_step is not None
    assert record.applied_step >= record.evidence_step
    assert record.name in {noted.name for noted in load(world.run).resets}
    told = [event["note"] for event in world.site.api.list("events.k8s.io/v1", "Event", world.namespace)]
    assert any(note.startswith(f"{record.name} ") and "[kl-spike: KL averaged" in note for note in told)
    assert wait_for_reason(world, "Read").message.startswith("from Prometheus main, up to step ")


@pytest.mark.chaos
def test_a_replay_of_what_prometheus_holds_makes_the_same_decision(
    world: ClusterWorld, prometheus: PrometheusServer
) -> None:
    world.write_job(schedule=LONG, learner=HIGH, referenceReset=resetting(SPIKE), monitoring=FROM_PROMETHEUS)
    begun = time.time()
    world.start()
    record = first_applied(world)
    spec = job_from_object(world.job()).spec
    where = StoredAt(url=prometheus.url, job=f"{world.namespace}/{JOB}", start=str(begun))
    stored = read_series(where, spec)
    (proposal, *_) = replay(spec.reference_reset, stored.lines)
    assert proposal.evidence.trigger == record.evidence.trigger
    # The operator looks every few steps: its window may end some later.
    assert 0 <= record.evidence_step - proposal.evidence_step <= 60
    seen = {line["step"]: line["kl"] for line in stored.lines}
    assert [seen[step] for step in record.evidence.steps] == list(record.evidence.values)


def test_own_signals_stand_in_the_lines_and_their_faults_name_the_field(world: ClusterWorld) -> None:
    signals = [
        {"name": "steps_done", "query": 'max(prorl_learner_step{prorl_job="$job"})'},
        {"name": "several", "query": '{__name__=~"prorl_learner_(step|attempt)",prorl_job="$job"}'},
    ]
    world.write_job(schedule=LONG, monitoring={**FROM_PROMETHEUS, "signals": signals})
    world.start()
    wait_for_step(world, 3)
    found = wait_for_reason(world, "SignalFaulty")
    assert found.status is ConditionStatus.FALSE
    assert found.message.startswith("spec.monitoring.signals[1].query: it gives 2 series")
    world.write_job(schedule=LONG, monitoring={**FROM_PROMETHEUS, "signals": signals[:1]})
    assert wait_for_reason(world, "Read").status is ConditionStatus.TRUE


@pytest.mark.chaos
def test_while_prometheus_is_away_nothing_fires_on_metrics_but_training_and_intervals_go_on(
    world: ClusterWorld, prometheus: PrometheusServer
) -> None:
    prometheus.part.kill()
    interval = {"name": "clockwork", "interval": {"everySteps": 20}}
    world.write_job(schedule=LONG, learner=HIGH, referenceReset=resetting(SPIKE, interval), monitoring=FROM_PROMETHEUS)
    world.start()
    assert wait_for_reason(world, "Unreachable").status is ConditionStatus.FALSE
    assert first_applied(world).evidence.trigger == "clockwork"
    assert {record.evidence.trigger for record in world.resets} == {"clockwork"}
    prometheus.part.launch()
    wait_for_reason(world, "Read")
    wait_for(lambda: "kl-spike" in {record.evidence.trigger for record in world.resets}, "the spike is noticed")


@pytest.mark.chaos
def test_while_prometheus_is_away_the_learner_s_series_stand_in_where_that_is_asked_for(world: ClusterWorld) -> None:
    world.write_job(
        schedule=LONG,
        learner=HIGH,
        referenceReset=resetting(SPIKE),
        monitoring={"prometheusUrl": "http://127.0.0.1:9", "onMissing": "learner"},
    )
    world.start()
    record = first_applied(world)
    assert record.evidence.origin is None
    found = available(world)
    assert found.reason == "UrlNotAllowed"
    assert "spec.monitoring.prometheusUrl" in found.message
    assert "stand in" in found.message


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_ten_resets_are_each_applied_once_whatever_is_killed(
    world: ClusterWorld, operator: Part, prometheus: PrometheusServer
) -> None:
    moments, wanted, kills = random.Random(19), 10, {"operator": 0, "learner": 0, "prometheus": 0}
    (world.control / "step-seconds").write_text("0.2")
    world.write_job(
        schedule={"totalSteps": 4000},
        learner=HIGH,
        restarts={"maxRestarts": 1000},
        checkpoint={"everySteps": 3},
        referenceReset=resetting({"name": "kl-spike", "klSpike": {"above": 0.1, "windowSteps": 2}}, cooldownSteps=10),
        monitoring=FROM_PROMETHEUS,
    )
    world.start()
    wait_for_step(world, 3)
    for number in range(1, KILLS + 1):
        kind = moments.choice(sorted(kills))
        kill(kind, world, operator, prometheus)
        kills[kind] += 1
        # Somewhere in a pass, a scrape, a step or a recovery, not at a moment that is the same in every round.
        time.sleep(moments.uniform(0.0, 4.0))
        prometheus.part.launch()
        operator.launch()
        time.sleep(moments.uniform(0.0, 4.0))
        if number * wanted % KILLS == 0:
            due = number * wanted // KILLS
            wait_until(f"reset {due}", lambda due=due: applied_count(world) >= due, timeout_seconds=PATIENCE)  # type: ignore[misc]
        _logger.info("%s: %s resets applied", kills, applied_count(world))
    step = metrics(world)[-1]["step"]
    world.write_job(
        schedule={"totalSteps": step + 20},
        learner=HIGH,
        monitoring=FROM_PROMETHEUS,
        referenceReset={"mode": "disabled"},
    )
    assert succeeded(world.wait_until_over()) is ConditionStatus.TRUE
    check_resets(world, wanted)


def applied_count(world: ClusterWorld) -> int:
    return sum(record.condition is ResetCondition.APPLIED for record in world.resets)


def kill(kind: str, world: ClusterWorld, operator: Part, prometheus: PrometheusServer) -> None:
    """SIGKILL to one of them."""
    if kind == "operator":
        operator.kill()
    elif kind == "prometheus":
        prometheus.part.kill()
    else:
        (world.control / "exit-learner-0").write_text("-9")


def check_resets(world: ClusterWorld, wanted: int) -> None:
    """Each applied once, one after the other, on values that the learner had and Prometheus saw."""
    records = world.resets
    assert [record.number for record in records] == list(range(1, len(records) + 1))
    applied = [record for record in records if record.condition is ResetCondition.APPLIED]
    by_learner = applied_by_the_learner(world)
    assert len(applied) >= wanted
    assert {record.uid for record in applied} == set(by_learner)
    assert {record.uid: record.applied_step for record in applied} == by_learner
    in_order = sorted(applied, key=lambda record: record.applied_step or 0)
    for before, after in itertools.pairwise(in_order):
        assert before.digest_after == after.digest_before
        assert (after.applied_step or 0) > (before.applied_step or 0)
    every = metrics(world)
    for record in applied:
        assert record.evidence.trigger == "kl-spike"
        check_evidence(record, surviving([line for line in every if line["attempt"] <= record.attempt]))
    assert Role.LEARNER.value in world.status.restarts
