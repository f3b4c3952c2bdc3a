"""A real run that a real Prometheus scrapes as the chart's monitors say, from start to end.

The learner is the real process with a tiny model, and so is the sandbox, which judges answers and programs beside it.
Of rollout server and operator the real registries are served, so that no engine and no cluster has to start. A learner
of a second run under the same name, whose numbers stand out, is scraped with them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI, Response
from prometheus_client import CollectorRegistry, generate_latest

from prorl_api.limits import KLBound, Limits
from prorl_api.process.listen import LISTEN_FD_VARIABLE, address_of, bind
from prorl_api.process.tokens import ACCEPTED_VARIABLE, digest_of
from prorl_api.resets import Evidence, ResetCondition, ResetRecord
from prorl_api.spec.values import OptimizerAction, ResetSource
from prorl_api.vitals import VITALS
from prorl_api.wire.learner import LearnerPhase, LearnerStatus
from prorl_operator.telemetry import Telemetry
from prorl_rollout_server.metrics import Metrics
from prorl_trainer.service.metrics_export import exposition
from tests.cluster.helm import ALL_ON, Helm
from tests.integration.learner_world import manifest, world
from tests.integration.observability.queries import cluster_groups
from tests.integration.tiny_model import write_model
from tests.testbed.prometheus import Prometheus, prometheus, scrape_config, write_targets
from tests.unit.trainer.http_apps import served, wait_until

JOB, NAMESPACE, RUN_UID = "demo", "team-a", "the-run"
SERVICE, OPERATOR_NAMESPACE = "prorl-prorl-operator-metrics", "prorl-system"
OTHER_RUN = "another-run"
STANDS_OUT = 777.0
"""Every number of the other run."""
RESET_AFTER_STEP = 3
STEPS = 75
_TOKEN = "learner-to-sandbox"


@dataclass(kw_only=True)
class Watched:
    """What came of it."""

    prometheus: Prometheus
    lines: list[dict[str, Any]]
    """Of the surviving timeline."""
    start: float
    end: float
    """Unix times between which members were scraped."""

    @property
    def variables(self) -> dict[str, str]:
        """What a person would choose in the dashboards."""
        return {
            "namespace": NAMESPACE,
            "job": JOB,
            "run": RUN_UID,
            "operator": SERVICE,
            "__rate_interval": "1m",
            "__range": "5m",
        }

    def series(self, expr: str) -> list[dict[str, Any]]:
        """The series of a query over the whole run."""
        return self.prometheus.query_range(expr, self.start, self.end, 1.0)


def pod(name: str, role: str, *, run: str = RUN_UID, index: str = "") -> dict[str, str]:
    """Labels of a pod as discovery in a cluster would give them."""
    label = "__meta_kubernetes_pod_label_"
    return {
        "__meta_kubernetes_namespace": NAMESPACE,
        "__meta_kubernetes_pod_name": f"{JOB}-{name}",
        f"{label}prorl_dev_job": JOB,
        f"{label}prorl_dev_role": role,
        f"{label}prorl_dev_run": run,
        f"{label}batch_kubernetes_io_job_completion_index": index,
    }


@contextmanager
def text_server(text: Callable[[], bytes]) -> Iterator[str]:
    """Serve `/metrics`; its `host:port`."""
    application = FastAPI()

    @application.get("/metrics")
    def metrics() -> Response:
        return Response(text(), media_type="text/plain; version=0.0.4")

    with served(application) as url:
        yield url.removeprefix("http://")


def other_learner() -> bytes:
    """What a learner of another run under the same name exports."""
    line: dict[str, Any] = {"step": int(STANDS_OUT), "attempt": 1, "stage": "", "kl": STANDS_OUT}
    line |= {"reward_mean": STANDS_OUT, "accuracy_sampled/sums": STANDS_OUT, "resets_total": STANDS_OUT}
    vitals = {metric.name + ("/sums" if metric.by_source else ""): STANDS_OUT for metric in VITALS}
    status = LearnerStatus(
        attempt=1, phase=LearnerPhase.SAMPLING, phase_since=0, heartbeat=0, step=777, total_steps=777, vitals=vitals
    )
    bound = KLBound(trigger="other", metric="kl", above=STANDS_OUT)
    return exposition(JOB, status, line, Limits(kl_bounds=(bound,), rollout_servers=777))


def operator_registry() -> Telemetry:
    """The operator's registry after some passes over the job."""
    telemetry, key = Telemetry(), (NAMESPACE, JOB)
    evidence = Evidence(trigger="spike", metric="kl", rule="", steps=(), values=(), reason="")
    record = ResetRecord(
        name=f"{JOB}-reset-1",
        number=1,
        uid="1",
        created=0.0,
        attempt=1,
        evidence_step=1,
        evidence=evidence,
        source=ResetSource.CURRENT,
        optimizer=OptimizerAction.CLEAR,
        condition=ResetCondition.APPLIED,
    )
    telemetry.job_state(key, "Running")
    telemetry.job_state((NAMESPACE, "broken"), "Failed")  # an alert waits to fire
    telemetry.job_counts(key, [record], {"learner": 0, "rollout": 1, "sandbox": 0})
    telemetry.leader.set(1)
    telemetry.jobs.set(1)
    telemetry.children_age.set(1.0)
    telemetry.watch_age.set(1.0)
    return telemetry


def rollout_metrics() -> Metrics:
    """A rollout server's registry, which counts as `tick` says."""
    metrics = Metrics(JOB, CollectorRegistry())
    metrics.ready.set(1)
    metrics.weights_step.set(0)
    return metrics


def tick(metrics: Metrics, telemetry: Telemetry) -> None:
    """Let a little happen at the rollout server and the operator."""
    metrics.completion_tokens.inc(10)
    metrics.prompt_tokens.inc(8)
    metrics.cached_prompt_tokens.inc(6)
    metrics.observe_load(fetch_seconds=0.1, load_seconds=0.2)
    telemetry.reconciled("ok", 0.001)
    telemetry.reconciled("error", 0.001)
    telemetry.api_call("list", "pods", 200, 0.001)


class Sandbox:
    """A real sandbox that is given answers and programs to judge."""

    def __init__(self, folder: Path) -> None:
        listening = bind("127.0.0.1", 0)
        self.address = address_of(listening)
        environment = {
            **os.environ,
            "PRORL_SANDBOX_SETTINGS": json.dumps({"workers": 1}),
            "PRORL_JOB_NAME": JOB,
            LISTEN_FD_VARIABLE: str(listening.fileno()),
            ACCEPTED_VARIABLE: digest_of(_TOKEN),
        }
        with listening, (folder / "sandbox.log").open("wb") as log:
            command = [sys.executable, "-m", "prorl_reward_sandbox"]
            self._process = subprocess.Popen(
                command, env=environment, pass_fds=[listening.fileno()], start_new_session=True, stdout=log, stderr=log
            )
        headers = {"Authorization": f"Bearer {_TOKEN}"}
        self._client = httpx.Client(base_url=f"http://{self.address}", headers=headers, timeout=60, trust_env=False)

    def wait_until_ready(self) -> None:
        """Wait for its workers."""
        wait_until(self._is_ready, 120)

    def _is_ready(self) -> bool:
        try:
            return self._client.get("/readyz").is_success
        except httpx.HTTPError:
            return False

    def judge(self) -> None:
        """Have one answer and one program judged, the program anew each time."""
        entry = {"question": "2 + 3 = ?", "answer": "5", "metadata": {}}
        sums = {"item_id": "0", "domain": "logic", "row": {"task": "chain_sum", "entry": entry}, "completion": "5"}
        program = f"```python\nprint(6 * 7)  # {time.monotonic()}\n```"
        code = {"item_id": "1", "domain": "code", "row": {"tests": [{"expected_stdout": "42"}]}, "completion": program}
        answer = self._client.post("/v1/score", json={"items": [sums, code]})
        assert answer.is_success, answer.text
        assert [result["verdict"] for result in answer.json()["results"]] == ["correct", "correct"]

    def close(self) -> None:
        """End it."""
        self._client.close()
        self._process.terminate()
        self._process.wait()


@contextmanager
def watched(folder: Path) -> Iterator[Watched]:
    """Run it, scraped; Prometheus goes on until the block ends, so that it can be asked."""
    pods, operators = folder / "pods.json", folder / "operators.json"
    objects = {item["kind"]: item for item in Helm(None, folder / "helm").objects("--values", str(ALL_ON))}
    configs = [scrape_config(objects["PodMonitor"], pods), scrape_config(objects["ServiceMonitor"], operators)]
    telemetry, metrics = operator_registry(), rollout_metrics()
    with ExitStack() as stack:
        sandbox = Sandbox(folder)
        stack.callback(sandbox.close)
        other = stack.enter_context(text_server(other_learner))
        rollout = stack.enter_context(text_server(lambda: generate_latest(metrics.registry)))
        operator = stack.enter_context(text_server(lambda: generate_latest(telemetry.registry)))
        made = stack.enter_context(world(folder / "world"))
        service = {"__meta_kubernetes_namespace": OPERATOR_NAMESPACE, "__meta_kubernetes_service_name": SERVICE}
        write_targets(operators, [(operator, {**service, "__meta_kubernetes_pod_name": "prorl-operator-0"})])
        targets = [
            (made.learner_url.removeprefix("http://"), pod("learner-1-0", "learner", index="0")),
            ("127.0.0.1:1", pod("learner-1-1", "learner", index="1")),  # another rank, which has no API
            (rollout, pod("rollout-0", "rollout")),
            (sandbox.address, pod("sandbox-0", "sandbox")),
            (other, pod("learner-of-another", "learner", run=OTHER_RUN, index="0")),
        ]
        write_targets(pods, targets)
        groups = cluster_groups(SERVICE, OPERATOR_NAMESPACE)
        server = stack.enter_context(prometheus(folder / "prometheus", configs, groups))
        start = time.time()
        learner = made.start(1, _job(write_model(folder / "model")))
        sandbox.wait_until_ready()
        is_reset, has_waited = False, threading.Event()
        made.hold = lambda _: bool(made.series()) and not has_waited.is_set()
        while learner.poll() is None:
            if not has_waited.is_set() and server.query(_HAS_WAITED):
                has_waited.set()
            if not is_reset and len(made.series()) > RESET_AFTER_STEP and server.query(_NO_RESET_YET):
                is_reset = bool(made.call("POST", "/v1/resets", _RESET))
            assert time.time() < start + 1000, made.log(1)
            sandbox.judge()
            tick(metrics, telemetry)
            time.sleep(0.2)
        assert learner.returncode == 0, made.log(1)
        yield Watched(prometheus=server, lines=made.series(), start=start, end=time.time())


_NO_RESET_YET = f'prorl_learner_resets_total{{prorl_run="{RUN_UID}"}} == 0'
"""A counter that was never scraped at 0 does not change: the reset waits for that scrape."""
_HAS_WAITED = f'prorl_learner_seconds_waiting_seconds{{prorl_run="{RUN_UID}"}}'
"""Of the first line alone, since nobody is waited for later: the first step waits for that scrape."""
_RESET = {"uid": "01RESET", "name": "demo-reset-1", "trigger": "by hand"}


def _job(model: Path) -> dict[str, Any]:
    triggers = [
        {"name": "spike", "klSpike": {"above": 0.2}},
        {"name": "share", "klSpike": {"metric": "klLossShare", "above": 0.9}},
    ]
    return manifest(
        model,
        schedule={"totalSteps": STEPS},
        validation={"everySteps": 1},  # a step may be shorter than a scrape: what happens in one must happen in each
        checkpoint={"everySteps": 1, "keep": 1},
        referenceReset={"mode": "disabled", "triggers": triggers},
    )
