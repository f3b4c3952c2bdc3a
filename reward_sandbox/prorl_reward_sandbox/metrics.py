"""The sandbox's Prometheus metrics. Names are part of the contract; every one carries the job's name."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

_JOB = "prorl_job"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
PROGRAMS = "programs"
"""Value of the label `domain` for programs, in the two histograms."""


class SandboxMetrics:
    """All metrics of one service."""

    def __init__(self, job_name: str) -> None:
        self._job = job_name
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._items = self._counter("items", "Completions judged.", "domain", "verdict")
        self._programs = self._counter("programs", "Program tests run.", "language", "verdict", "isolation_level")
        self._compilations = self._counter("compilations", "Programs compiled.", "language", "verdict", "cache")
        self._reruns = self._counter("programs_rerun", "Programs that neighbours crowded out, judged again alone.")
        self._reruns.labels(job_name)  # 0 from the start on: a first one is a rise
        self._killed = self._counter("workers_killed", "Workers ended before their time.", "reason")
        self._queue = self._histogram("queue_seconds", "Waiting for a worker.")
        self._judge = self._histogram("judge_seconds", "Judging, queueing not counted.")
        self._queued = Gauge(
            "prorl_sandbox_queued_items", "Items waiting for a worker.", [_JOB], registry=self.registry
        ).labels(job_name)

        self._isolation = Gauge(
            "prorl_sandbox_isolation",
            "1 for the level that programs run at.",
            [_JOB, "isolation_level"],
            registry=self.registry,
        )
        self._queued_programs = Gauge(
            "prorl_sandbox_queued_programs", "Programs waiting for a slot.", [_JOB], registry=self.registry
        ).labels(job_name)

    def set_isolation(self, level: str) -> None:
        """Show what contains programs."""
        self._isolation.clear()
        self._isolation.labels(self._job, level).set(1)

    def count_item(self, domain: str, verdict: str) -> None:
        """One completion was judged."""
        self._items.labels(self._job, domain, verdict).inc()

    def count_program(self, language: str, verdict: str, isolation_level: str) -> None:
        """One program test was run."""
        self._programs.labels(self._job, language, verdict, isolation_level).inc()

    def count_rerun(self) -> None:
        """One program was judged a second time, alone."""
        self._reruns.labels(self._job).inc()

    def count_compilation(self, language: str, verdict: str, *, is_cached: bool) -> None:
        """One program was compiled, or had been before."""
        self._compilations.labels(self._job, language, verdict, "hit" if is_cached else "miss").inc()

    def set_queued_programs(self, count: int) -> None:
        """Return how many programs wait now."""
        self._queued_programs.set(count)

    def count_killed(self, reason: str) -> None:
        """Return a worker ended before its time: `deadline`, `died`, `memory` or `error`."""
        self._killed.labels(self._job, reason).inc()

    def observe(self, domain: str, *, queue_seconds: float, judge_seconds: float) -> None:
        """Return how long one item waited and was judged."""
        self._queue.labels(self._job, domain).observe(queue_seconds)
        self._judge.labels(self._job, domain).observe(judge_seconds)

    def set_queued(self, count: int) -> None:
        """Return how many items wait now."""
        self._queued.set(count)

    def render(self) -> bytes:
        """Return the exposition text."""
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"prorl_sandbox_{name}", text, [_JOB, *labels], registry=self.registry)

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(f"prorl_sandbox_{name}", text, [_JOB, "domain"], buckets=_SECONDS, registry=self.registry)
