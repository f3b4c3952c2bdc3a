"""The newest snapshot, the vitals and what holds now, in Prometheus' text format by the official client library."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from prorl_api.limits import Limits
from prorl_api.metrics import LIVE, TABLE, Metric
from prorl_api.vitals import VITALS
from prorl_api.wire.learner import LearnerStatus

Sample = tuple[Mapping[str, str], float]
"""Labels beside the job's, and the value."""


class _Snapshot(Collector):
    """All gauges at once: a scrape never mixes two steps."""

    def __init__(self, job: str, status: LearnerStatus, line: Mapping[str, Any] | None, limits: Limits) -> None:
        self._job, self._status, self._line, self._limits = job, status, line, limits

    def collect(self) -> Iterator[GaugeMetricFamily]:
        live = live_samples(self._status, self._limits)
        for metric in LIVE:
            yield from self._family(metric, live[metric.name])
        for metric in VITALS:
            yield from self._family(metric, _by_source(metric, self._status.vitals))
        if self._line is None:
            return
        stage = {"stage": str(self._line.get("stage", ""))}
        for metric in TABLE:
            found = [({**stage, **labels}, value) for labels, value in _by_source(metric, self._line)]
            yield from self._family(metric, found)

    def _family(self, metric: Metric, samples: Iterable[Sample]) -> Iterator[GaugeMetricFamily]:
        family: GaugeMetricFamily | None = None
        for labels, value in samples:
            if family is None:
                family = GaugeMetricFamily(metric.prometheus_name, metric.help, labels=["prorl_job", *labels])
            family.add_metric([self._job, *labels.values()], value)
        if family is not None:
            yield family


def live_samples(status: LearnerStatus, limits: Limits) -> dict[str, list[Sample]]:
    """Return the samples of every row of `LIVE`, by its name; of what does not exist, none."""
    values = {
        "heartbeat_timestamp": status.heartbeat,
        "step_timestamp": max(status.vitals.get("step_timestamp", 0.0), status.started),
        "resumed_from_step": -1 if status.resumed_from_step is None else status.resumed_from_step,
        "steps_wanted": status.total_steps,
        "rollout_servers_live": status.live_rollout_servers,
        "rollout_servers_wanted": limits.rollout_servers,
        "checkpoint_timestamp": max(status.last_checkpoint_at or 0.0, status.started),
        "checkpoint_due": limits.checkpoint_due_seconds(status.vitals),
        "resets_applied": limits.are_resets_applied,
        "mismatch_bound": limits.max_mismatch,
        "gpu_unused": status.is_gpu_unused,
    }
    samples: dict[str, list[Sample]] = {
        name: [] if value is None else [({}, float(value))] for name, value in values.items()
    }
    samples["kl_bound"] = [
        ({"trigger": bound.trigger, "metric": bound.metric}, bound.above) for bound in limits.kl_bounds
    ]
    return samples


def exposition(job: str, status: LearnerStatus, line: Mapping[str, Any] | None, limits: Limits) -> bytes:
    """Return the body of `/metrics`.

    Args:
        job: Name of the job, label of every gauge.
        status: As it is now.
        line: Of the newest step; None before the first.
        limits: Of the spec as it holds now.
    """
    registry = CollectorRegistry()
    registry.register(_Snapshot(job, status, line, limits))
    ProcessCollector(registry=registry)
    text: bytes = generate_latest(registry)
    return text


def _by_source(metric: Metric, values: Mapping[str, Any]) -> Iterator[Sample]:
    if not metric.by_source:
        if metric.name in values:
            yield {}, float(values[metric.name])
        return
    for key, value in values.items():
        name, _, source = key.partition("/")
        if name == metric.name and source:
            yield {"source": source}, float(value)
