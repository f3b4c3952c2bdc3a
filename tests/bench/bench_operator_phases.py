"""The phases of `bench_operator`: each measures one thing and notes its figures."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from prorl_api import API_VERSION
from prorl_api.names import LABEL_ROLE
from prorl_api.spec.values import Role
from tests.bench.bench_operator_faults import measure_failover, measure_reactions
from tests.bench.bench_operator_figures import Report, calls_text, writes_between
from tests.bench.bench_operator_jobs import THREADS
from tests.bench.bench_operator_learners import SCRAPE_SECONDS
from tests.bench.bench_operator_world import OperatorProcess, World, result_of, wait_gently
from tests.testbed.api import Object
from tests.testbed.fake_nodes import EXIT_CODE_ANNOTATION

NAMESPACE = "bench"
KINDS = {
    ("batch/v1", "Job"): 1,
    ("apps/v1", "Deployment"): 2,
    ("v1", "Secret"): 1,
    ("v1", "Service"): 2,
    ("networking.k8s.io/v1", "NetworkPolicy"): 3,
    ("policy/v1", "PodDisruptionBudget"): 2,
}
"""Objects of a job; and one ConfigMap, beside the one of every namespace."""
TRAIN_SECONDS, REST_SECONDS = 60.0, 30.0
_SETTLE_SECONDS = 35.0
"""Longer than a status may be old that is only news of progress."""


class Bench:
    """One run, phase by phase; `report` fills up."""

    def __init__(self, world: World, jobs: int) -> None:
        self.world, self.jobs = world, jobs
        self.report = Report()
        self._bare: list[float] = []
        self._bare_cpu: list[float] = []
        self._operator_cpu = 0.0
        self._operator_seconds = 0.0
        self._training_core = self._training_rss = 1.0

    def bare(self) -> None:
        """The bare script in a namespace of its own, which is removed."""
        name = f"bare-{len(self._bare)}"
        self.world.make_namespace(name)
        result = result_of(self.world.script("bare", name, self.jobs))
        self._bare.append(result["seconds"])
        cpu = 1000 * result["cpu"] / self.jobs
        self._bare_cpu.append(cpu)
        self.report.note(
            f"bare script, round {len(self._bare)}",
            f"{result['seconds']:.1f} s, {result['writes']:.0f} writes, {cpu:.1f} ms CPU a job",
        )
        self.world.drop_namespace(name)

    def bring_up(self, operator: OperatorProcess) -> None:
        """The operator on the same number of new jobs, until every object and a status of each exists."""
        self.world.make_namespace(NAMESPACE)
        self.report.note("RSS without jobs", f"{operator.rss():.0f} MiB")
        begun, before = time.perf_counter(), operator.cpu_parts()
        script = self.world.script("jobs", NAMESPACE, self.jobs)
        for (api_version, kind), number in KINDS.items():
            wanted = number * self.jobs
            wait_gently(
                f"{wanted} of kind {kind}",
                lambda: self.world.count(api_version, kind, NAMESPACE) >= wanted,  # noqa: B023 - called in this turn
            )
        wait_gently("all plans", lambda: self.world.count("v1", "ConfigMap", NAMESPACE) > self.jobs)
        self._wait_for_jobs("have a status", lambda status: bool(status.get("conditions")))
        self._operator_seconds = time.perf_counter() - begun
        user, system = (1000 * (now - then) / self.jobs for now, then in zip(operator.cpu_parts(), before, strict=True))
        self._operator_cpu = user + system
        result_of(script)
        polls = self.world.learner_counts()["requests"]
        passes = operator.passes()
        self.report.note("operator, all objects and a status each", f"{self._operator_seconds:.1f} s")
        self.report.judge(
            "operator CPU a job until then",
            f"{user + system:.1f} ms ({user:.1f} user, {system:.1f} system)",
            "below 20 ms",
            is_met=user + system < 20,
        )
        self.report.note(
            "  of it", f"{passes / self.jobs:.1f} passes and {polls / self.jobs:.1f} learner requests a job"
        )
        self.report.note("  API calls a job", calls_text({}, operator.calls(), self.jobs))

    def train_on_prometheus(self, operator: OperatorProcess) -> None:
        """All jobs train on, read from a Prometheus from now on; the same figures, against those before."""
        names = [item["metadata"]["name"] for item in self.world.jobs(NAMESPACE)]
        self._patch_each(API_VERSION, "ProRLJob", names, {"spec": {"monitoring": {"prometheus": "main"}}})
        self._wait_for_jobs("be read from Prometheus", _is_read_from_prometheus)
        _let_pass(_SETTLE_SECONDS)
        before, cpu, queries = operator.calls(), operator.cpu(), operator.queries()
        seconds = _let_pass(TRAIN_SECONDS)
        asked = (operator.queries() - queries) / seconds * SCRAPE_SECONDS
        most = math.ceil(self.jobs / 100)
        writes = writes_between(before, operator.calls()) / (self.jobs * seconds / 30)
        core = (operator.cpu() - cpu) / seconds
        ratio = core / self._training_core
        self.report.judge(
            "operator CPU while all train, on Prometheus",
            f"{100 * core:.1f} % of a core, {ratio:.2f} times as without",
            "at most 1.1 times",
            is_met=ratio <= 1.1,
        )
        self.report.judge("  writes a job and 30 s", f"{writes:.2f}", "at most 1", is_met=writes <= 1)
        self.report.judge("  queries a scrape interval", f"{asked:.2f}", f"at most {most}", is_met=asked <= most * 1.1)
        rss = operator.rss()
        ratio = rss / self._training_rss
        self.report.judge(
            "  RSS", f"{rss:.0f} MiB, {ratio:.2f} times as without", "at most 1.1 times", is_met=ratio <= 1.1
        )

    def train(self, operator: OperatorProcess) -> None:
        """All jobs train; writes and CPU of a minute."""
        self._wait_for_jobs("train", _trains)
        _let_pass(_SETTLE_SECONDS)
        before, cpu, polls = operator.calls(), operator.cpu(), self.world.learner_counts()["requests"]
        passes, learner_cpu = operator.passes(), self.world.learner_cpu()
        seconds = _let_pass(TRAIN_SECONDS)
        after = operator.calls()
        writes = writes_between(before, after) / (self.jobs * seconds / 30)
        self.report.judge(
            "writes a job and 30 s while it trains", f"{writes:.2f}", "at most 1 (one status)", is_met=writes <= 1
        )
        self.report.note("  API calls then, all jobs", calls_text(before, after, 1))
        polls = self.world.learner_counts()["requests"] - polls
        passes = operator.passes() - passes
        core = self._training_core = (operator.cpu() - cpu) / seconds
        self.report.note(
            "operator CPU while all train",
            f"{100 * core:.1f} % of a core, {1000 * (operator.cpu() - cpu) / max(passes, 1):.2f} ms a pass",
        )
        self.report.note(
            "  of it",
            f"{passes / seconds:.0f} passes/s, {polls / seconds:.0f} learner requests/s "
            f"(the fake learners: {100 * (self.world.learner_cpu() - learner_cpu) / seconds:.0f} % of a core)",
        )
        rss = self._training_rss = operator.rss()
        self.report.judge(f"RSS with {self.jobs} training jobs", f"{rss:.0f} MiB", "at most 150", is_met=rss <= 150)

    def rest(self, operator: OperatorProcess) -> None:
        """All jobs are suspended; writes and CPU of half a minute."""
        names = [item["metadata"]["name"] for item in self.world.jobs(NAMESPACE)]
        self._patch_each(API_VERSION, "ProRLJob", names, {"spec": {"suspend": True}})
        wait_gently("all learners to be told to stop", lambda: self.world.learner_counts()["stopped"] >= self.jobs)
        selector = f"{LABEL_ROLE}={Role.LEARNER.value}"
        pods = [
            item["metadata"]["name"] for item in self.world.api.list("v1", "Pod", NAMESPACE, labelSelector=selector)
        ]
        end = {"metadata": {"annotations": {EXIT_CODE_ANNOTATION: "0"}}}
        self._patch_each("v1", "Pod", pods, end)
        self._wait_for_jobs("be suspended", _is_suspended)
        wait_gently("no plan to be left", lambda: self.world.count("v1", "ConfigMap", NAMESPACE) == 1)
        _let_pass(15)
        before, passes = operator.calls(), operator.passes()
        cpu = operator.cpu()
        seconds = _let_pass(REST_SECONDS)
        core = 100 * (operator.cpu() - cpu) / seconds  # before metrics are asked for, which is no rest
        writes = writes_between(before, operator.calls())
        self.report.judge("writes in 30 s at rest", f"{writes:.0f}", "none", is_met=writes == 0)
        self.report.judge("operator CPU at rest", f"{core:.2f} % of a core", "below 0.5 %", is_met=core < 0.5)
        self.report.note("  passes then", f"{operator.passes() - passes:.0f}")
        self.report.note(f"RSS with {self.jobs} resting jobs", f"{operator.rss():.0f} MiB")

    def break_things(self, leader: OperatorProcess) -> None:
        """Failed learners, then the loss of the leader."""
        reactions = measure_reactions(self.world, NAMESPACE, first_number=self.jobs, times=5)
        delays = [reaction.from_failure_target for reaction in reactions]
        self.report.judge(
            "FailureTarget to the next attempt's Job",
            f"median {statistics.median(delays):.2f} s, most {max(delays):.2f} s of {len(delays)}",
            "within 2 s",
            is_met=max(delays) <= 2,
        )
        exits = [reaction.from_exit for reaction in reactions]
        self.report.note(
            "  from the container's end", f"median {statistics.median(exits):.2f} s, most {max(exits):.2f} s"
        )
        standby = self.world.operator("bench-b", NAMESPACE)
        standby.start(until_leading=False)
        self.report.note("RSS of the standby", f"{standby.rss():.0f} MiB")
        failover = measure_failover(self.world, NAMESPACE, number=self.jobs + 5, leader=leader)
        self.report.judge(
            "leader killed to a new job's learner Job", f"{failover:.1f} s", "within 15 s", is_met=failover <= 15
        )
        standby.stop()

    def compare(self) -> None:
        """The ratio, from all rounds of the bare script."""
        ratio = self._operator_seconds / statistics.mean(self._bare)
        spread = ", ".join(f"{self._operator_seconds / seconds:.2f}" for seconds in self._bare)
        self.report.judge(
            "time of the operator / of the bare script", f"{ratio:.2f} ({spread})", "at most 1.25", is_met=ratio <= 1.25
        )

        share = self._operator_cpu / statistics.mean(self._bare_cpu)
        self.report.note("CPU of the operator / of the bare script", f"{share:.2f}")

    def _wait_for_jobs(self, what: str, holds: Callable[[Object], bool]) -> None:
        """Until it holds for the status of each."""
        wait_gently(
            f"all jobs to {what}", lambda: all(holds(item.get("status") or {}) for item in self.world.jobs(NAMESPACE))
        )

    def _patch_each(self, api_version: str, kind: str, names: Sequence[str], change: Object) -> None:
        def patch(name: str) -> None:
            self.world.api.patch(api_version, kind, name, change, NAMESPACE)

        patch(names[0])  # alone: it may have the client discover kinds, which it cannot do in several threads
        with ThreadPoolExecutor(THREADS) as threads:
            list(threads.map(patch, names[1:]))


def _conditions(status: Object) -> dict[str, tuple[str, str]]:
    return {item["type"]: (item["status"], item["reason"]) for item in status.get("conditions", ())}


def _is_read_from_prometheus(status: Object) -> bool:
    found = {item["type"]: item["message"] for item in status.get("conditions", ())}
    return str(found.get("MetricsAvailable", "")).startswith("from Prometheus main")


def _trains(status: Object) -> bool:
    conditions = _conditions(status)
    ready = all(conditions.get(f"{role}Ready", ("", ""))[0] == "True" for role in ("Learner", "Rollout", "Sandbox"))
    return ready and conditions["Succeeded"][1] == "Running"


def _is_suspended(status: Object) -> bool:
    return _conditions(status).get("Suspended", ("", ""))[0] == "True"


def _let_pass(seconds: float) -> float:
    """The seconds that did pass."""
    begun = time.perf_counter()
    time.sleep(seconds)
    return time.perf_counter() - begun
