"""The chart with monitoring on, over a job with a real learner: every panel has data, an alert comes and goes.

And what a person does with such a job: export its model by a Job, and give trackers their credentials by a Secret.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from prorl_api.export_record import RECORD_FILE, ExportRecord
from prorl_api.run_folder import RunFolder
from prorl_api.spec.values import Role
from prorl_api.status import ConditionStatus, ConditionType
from prorl_observability.boards import BOARDS
from prorl_observability.panels import Needs
from tests.conformance.cluster_world import JOB
from tests.conformance.observed_site import MONITORING, Observed, installed, observed, rule_groups
from tests.conformance.site import NAMESPACE
from tests.conformance.world import metrics, wait_for
from tests.integration.observability.queries import with_variables
from tests.integration.trained_run import loaded
from tests.testbed import build, tools
from tests.testbed.waiting import wait_until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1500)]

NOT_HERE = {Needs.DCGM, Needs.ENDED, Needs.COMPILED, Needs.ALERTS}
"""No GPU, no worker that was ended, nothing compiled; an alert comes later."""
STALE = "ProRLLearnerHeartbeatStale"
LONGEST = "prorl_learner_kl_long_nats"
"""Exported once 50 steps followed the reset: no panel shows what takes longer."""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    with observed(tmp_path_factory.mktemp("observed")) as found:
        yield found


def newest_step(seen: Observed) -> int:
    return max((line["step"] for line in metrics(seen.world)), default=-1)


def wait_for_steps(seen: Observed, count: int) -> None:
    begun = newest_step(seen)
    wait_until(f"{count} steps", lambda: newest_step(seen) >= begun + count, timeout_seconds=900)


def test_the_prometheus_operator_s_own_definitions_take_what_the_chart_installs(seen: Observed) -> None:
    for kind in ("PodMonitor", "ServiceMonitor", "PrometheusRule"):
        found = installed(seen.site, kind)
        again = {"apiVersion": MONITORING, "kind": kind, "spec": found["spec"]}
        again["metadata"] = {"name": found["metadata"]["name"]}
        stored = seen.site.api.apply(again, "test", NAMESPACE, dryRun="All", fieldValidation="Strict", force="true")
        assert stored["spec"] == found["spec"], kind


def test_every_panel_of_the_installed_dashboards_has_data(seen: Observed) -> None:
    wait_until("the longest window", lambda: seen.prometheus.query(LONGEST), timeout_seconds=1200)
    needs = {query.expr: query.needs for board in BOARDS.values() for _, query in board.queries()}
    empty = []
    for name in BOARDS:
        document = seen.dashboard(name)
        panels = [panel for panel in document["panels"] if panel["type"] != "row"]
        assert len(panels) > 10, name
        queries = [(panel["title"], target["expr"]) for panel in panels for target in panel["targets"]]
        queries += [(mark["name"], mark["expr"]) for mark in document["annotations"].get("list", [])]
        for title, expr in queries:
            if needs[expr] not in NOT_HERE and not seen.prometheus.over_time(with_variables(expr, seen.variables)):
                empty.append(f"{name} / {title}: {expr}")
    assert empty == []


def test_every_installed_rule_is_evaluated_without_an_error(seen: Observed) -> None:
    rules = [rule for group in seen.prometheus.rules() for rule in group["rules"]]
    assert len(rules) == sum(len(group["rules"]) for group in rule_groups(seen.site))
    assert [rule["name"] for rule in rules if rule["health"] != "ok"] == []


def signal_learner(seen: Observed, number: signal.Signals) -> None:
    """To every process of the learner's pod."""
    first = psutil.Process(seen.world.pid(Role.LEARNER))
    for process in (first, *first.children(recursive=True)):
        os.kill(process.pid, number)


def alerts(seen: Observed, name: str) -> list[dict[str, Any]]:
    return [alert for alert in seen.prometheus.alerts() if alert["labels"]["alertname"] == name]


def test_a_learner_that_is_stopped_raises_an_alert_which_ends_when_it_goes_on(seen: Observed) -> None:
    assert alerts(seen, STALE) == []
    signal_learner(seen, signal.SIGSTOP)
    try:
        wait_until(
            "the alert fires",
            lambda: [alert["state"] for alert in alerts(seen, STALE)] == ["firing"],
            timeout_seconds=400,  # a minute without progress, and one of waiting
        )
        [alert] = alerts(seen, STALE)
        assert alert["labels"]["prorl_job"] == JOB
        assert alert["labels"]["prorl_run"] == seen.variables["run"]
        shown = [query.expr for _, query in BOARDS["prorl-fleet"].queries() if query.needs is Needs.ALERTS]
        assert any(seen.prometheus.over_time(with_variables(expr, seen.variables)) for expr in shown)
    finally:
        signal_learner(seen, signal.SIGCONT)
    wait_for(lambda: alerts(seen, STALE) == [], "the alert is over")
    wait_for_steps(seen, 2)


def test_a_job_on_the_cluster_exports_the_model_of_a_run_that_goes_on(
    seen: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_until("a checkpoint", seen.world.run.current.exists, timeout_seconds=300)
    kubectl = build.command_path(tools.KUBERNETES, "kubectl")
    monkeypatch.setenv("KUBECONFIG", str(seen.site.cluster.kubeconfig))
    monkeypatch.setenv("PATH", f"{kubectl.parent}:{os.environ['PATH']}")
    output = seen.mounts / "runs" / "exports" / "fake"
    words = ["export", JOB, "--namespace", seen.world.namespace, "--checkpoint", "last", "--output", str(output)]
    done = subprocess.run(
        [sys.executable, "-m", "prorl_cli", *words, "--apply"], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"job/(\S+)", done.stdout)
    assert found is not None
    job = found[1]

    def ended() -> dict[str, Any]:
        status: dict[str, Any] = seen.site.api.get("batch/v1", "Job", job, seen.world.namespace).get("status") or {}
        return status if status.get("succeeded") or status.get("failed") else {}

    status = wait_until("the export's end", ended, timeout_seconds=300)
    assert status.get("succeeded") == 1, status
    model, tokenizer = loaded(output)
    assert model.num_parameters() > 50_000
    assert tokenizer.eos_token == "</s>"
    record = ExportRecord.model_validate_json((output / RECORD_FILE).read_bytes())
    assert record.job == JOB
    assert record.step > 0
    assert "# " in (output / "README.md").read_text()


def problem_of_tracker(seen: Observed) -> str:
    found = seen.world.status.condition(ConditionType.TRACKED)
    return found.message if found is not None and found.status is ConditionStatus.FALSE else ""


def restart_learner(seen: Observed) -> None:
    pod = seen.world.newest(Role.LEARNER)
    assert pod is not None
    seen.site.api.delete("v1", "Pod", pod["metadata"]["name"], seen.world.namespace)


def test_a_tracker_in_the_learner_gets_its_credentials_from_the_secret_that_the_job_names(seen: Observed) -> None:
    trackers = [{"name": "board", "tensorboard": {}}, {"name": "space", "trackio": {"space": "me/runs"}}]
    spec = seen.world.job()["spec"]
    seen.world.replace_spec({**spec, "tracking": {"secretName": "trackers", "trackers": trackers}})
    restart_learner(seen)
    # Trackers are told only settled steps of a checkpoint.
    wait_until("the word on it", lambda: "needs HF_TOKEN" in problem_of_tracker(seen), timeout_seconds=400)
    assert "spec.tracking.secretName" in problem_of_tracker(seen)
    assert "board" not in problem_of_tracker(seen)
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "trackers"},
        "stringData": {"HF_TOKEN": "hf_x"},
    }
    seen.site.api.create(secret, seen.world.namespace)
    restart_learner(seen)
    # With the token it goes on to its library, which is in the image with trackers alone.
    wait_until("the next word", lambda: "No module named 'trackio'" in problem_of_tracker(seen), timeout_seconds=400)
    events = RunFolder(seen.world.run.path).tracking / "board"
    assert any(path.stat().st_size > 1000 for path in events.glob("events.out.tfevents.*")), "TensorBoard beside it"
    assert "hf_x" not in seen.world.run.metrics.read_text() + str(seen.world.job()["status"])
