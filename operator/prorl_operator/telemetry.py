"""The operator's own Prometheus metrics."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from prorl_api.resets import ResetRecord

_OF_A_JOB = ("prorl_namespace", "prorl_job")
_SECONDS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Telemetry:
    """One registry, so that several operators in one process (tests) do not share counters."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._passes = Counter(
            "prorl_operator_reconcile_total", "Passes over a job, by result.", ["result"], registry=self.registry
        )
        self._seconds = Histogram(
            "prorl_operator_reconcile_seconds", "Time of one pass.", buckets=_SECONDS, registry=self.registry
        )
        self._calls = Counter(
            "prorl_operator_api_calls_total",
            "Calls of the Kubernetes API, by verb, resource and HTTP status (0: no answer).",
            ["verb", "resource", "status"],
            registry=self.registry,
        )
        self._call_seconds = Histogram(
            "prorl_operator_api_call_seconds",
            "Time of one call of the Kubernetes API.",
            ["verb"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.queue = Gauge("prorl_operator_queue_length", "Jobs that wait for a pass.", registry=self.registry)
        self.leader = Gauge("prorl_operator_leader", "1 on the replica that acts.", registry=self.registry)
        self.watch_age = Gauge(
            "prorl_operator_watch_age_seconds",
            "Time since the watch of the Lease, which the leader renews every few seconds, brought an event.",
            registry=self.registry,
        )
        self.children_age = Gauge(
            "prorl_operator_children_age_seconds",
            "Time since the API last said anything about the kind of children that it was silent about for longest.",
            registry=self.registry,
        )
        self._watch_breaks = Counter(
            "prorl_operator_watch_breaks_total",
            "Watches of children that could not go on and were begun again, by resource.",
            ["resource"],
            registry=self.registry,
        )
        self._states = Gauge(
            "prorl_operator_job_state",
            "1 for the state that a job is in: Running, Suspended, Succeeded, Failed or NotAccepted.",
            [*_OF_A_JOB, "state"],
            registry=self.registry,
        )
        self._resets = Gauge(
            "prorl_operator_resets",
            "Reference resets of a job, by trigger and by where they stand.",
            [*_OF_A_JOB, "trigger", "condition"],
            registry=self.registry,
        )
        self._restarts = Gauge(
            "prorl_operator_restarts",
            "Members of a job that were lost and started again, by role.",
            [*_OF_A_JOB, "role"],
            registry=self.registry,
        )
        ProcessCollector(registry=self.registry)
        self._counts_of: dict[tuple[str, str], dict[tuple[Gauge, tuple[str, ...]], int]] = {}
        self._known_calls: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._state_of: dict[tuple[str, str], str] = {}
        self._asked = Counter(
            "prorl_operator_prometheus_queries_total",
            "Queries of a Prometheus for the signals of jobs, by its name and the result (ok, or what was wrong).",
            ["prometheus", "result"],
            registry=self.registry,
        )
        self._asked_seconds = Histogram(
            "prorl_operator_prometheus_query_seconds",
            "Time of one query of a Prometheus.",
            ["prometheus"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.jobs = Gauge("prorl_operator_jobs", "ProRLJobs known.", registry=self.registry)

    def job_state(self, key: tuple[str, str], state: str | None) -> None:
        """Return where a job stands after a pass; None: it is gone."""
        before = self._state_of.get(key)
        if before == state:
            return
        self._state_of.pop(key, None)
        if state is None:
            self.job_counts(key)
        if before is not None:
            self._states.remove(*key, before)
        if state is not None:
            self._state_of[key] = state
            self._states.labels(*key, state).set(1)

    def job_counts(
        self, key: tuple[str, str], resets: Iterable[ResetRecord] = (), restarts: Mapping[str, int] | None = None
    ) -> None:
        """Show what happened to a job so far; nothing of one that is gone."""
        tally = Tally((record.evidence.trigger, record.condition.value) for record in resets)
        told: dict[tuple[Gauge, tuple[str, ...]], int] = {
            **{(self._resets, labels): count for labels, count in tally.items()},
            **{(self._restarts, (role,)): count for role, count in (restarts or {}).items()},
        }
        before = self._counts_of.pop(key, {})
        if told:
            self._counts_of[key] = told
        for gauge, labels in before.keys() - told.keys():
            gauge.remove(*key, *labels)
        for (gauge, labels), count in told.items():
            if before.get((gauge, labels)) != count:
                gauge.labels(*key, *labels).set(count)

    def prometheus_asked(self, name: str, result: str, seconds: float) -> None:
        """Count one query of a Prometheus."""
        self._asked.labels(name, result).inc()
        self._asked_seconds.labels(name).observe(seconds)

    def watch_broke(self, resource: str) -> None:
        """Count one watch that has to begin again."""
        self._watch_breaks.labels(resource).inc()

    def reconciled(self, result: str, seconds: float) -> None:
        """Count one pass: `ok`, `stale` (the view was behind) or `error`."""
        self._passes.labels(result).inc()
        self._seconds.observe(seconds)

    def api_call(self, verb: str, resource: str, status: int, seconds: float) -> None:
        """Count one call."""
        key = verb, resource, status
        known = self._known_calls.get(key)
        if known is None:  # to look labels up costs more than to count
            known = self._known_calls[key] = (
                self._calls.labels(verb, resource, str(status)),
                self._call_seconds.labels(verb),
            )
        known[0].inc()
        known[1].observe(seconds)
