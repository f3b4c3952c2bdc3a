"""The chart's alerts on a cluster with a real Prometheus: a stopped learner raises one, which ends when it goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from prorl_api.spec.values import Role
from tests.cluster.helm import Helm
from tests.conformance.cluster_fixtures import OPERATOR, make_world, site, world
from tests.conformance.cluster_world import JOB, ClusterWorld
from tests.conformance.prometheus import PrometheusServer
from tests.conformance.site import Site
from tests.conformance.world import wait_for, wait_for_step
from tests.testbed.processes import Part
from tests.testbed.waiting import wait_until

__all__ = ["make_world", "site", "world"]

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]
STALE = "ProRLLearnerHeartbeatStale"


def chart_rules(folder: Path) -> list[dict[str, Any]]:
    """The groups of the chart's PrometheusRule, which speaks as soon as its values allow."""
    values = {"enabled": "true", "heartbeatSeconds": "60"}
    words = [word for name, value in values.items() for word in ("--set", f"monitoring.prometheusRule.{name}={value}")]
    [rule] = [item for item in Helm(None, folder).objects(*words) if item["kind"] == "PrometheusRule"]
    groups: list[dict[str, Any]] = rule["spec"]["groups"]
    return groups


@pytest.fixture(scope="module")
def prometheus(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    server = PrometheusServer(site.cluster, chart_rules(tmp_path_factory.mktemp("helm")))
    server.part.launch()
    wait_for(server.is_ready, "Prometheus answers")
    yield server
    server.part.kill()


@pytest.fixture(scope="module")
def operator(site: Site) -> Iterator[Part]:
    part = site.operator(OPERATOR)
    part.launch()
    site.wait_for_leader(OPERATOR)
    yield part
    part.kill()


def signal_learner(world: ClusterWorld, number: signal.Signals) -> None:
    """To every process of the learner's pod."""
    first = psutil.Process(world.pid(Role.LEARNER))
    for process in (first, *first.children(recursive=True)):
        os.kill(process.pid, number)


def stale(server: PrometheusServer) -> list[dict[str, Any]]:
    return [alert for alert in server.alerts() if alert["labels"]["alertname"] == STALE]


def test_a_learner_that_is_stopped_raises_an_alert_which_ends_when_it_goes_on(
    world: ClusterWorld, prometheus: PrometheusServer
) -> None:
    (world.control / "step-seconds").write_text("0.5")
    world.write_job(schedule={"totalSteps": 100_000})
    world.start()
    wait_for_step(world, 3)
    wait_for(lambda: prometheus.query(f'prorl_learner_step{{prorl_job="{JOB}"}}'), "it is scraped")
    assert stale(prometheus) == []
    signal_learner(world, signal.SIGSTOP)
    try:
        wait_until(
            "the alert fires",
            lambda: any(alert["state"] == "firing" for alert in stale(prometheus)),
            timeout_seconds=300,  # a minute without progress, and one of waiting
        )
        [alert] = stale(prometheus)
        assert alert["labels"] == {
            "alertname": STALE,
            "severity": "critical",
            "namespace": world.namespace,
            "prorl_job": JOB,
            "prorl_run": world.job()["metadata"]["uid"],
        }
        assert "kubectl logs job/" in alert["annotations"]["description"]
    finally:
        signal_learner(world, signal.SIGCONT)
    wait_for(lambda: stale(prometheus) == [], "the alert is over")
