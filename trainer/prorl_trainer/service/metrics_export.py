"""The newest snapshot in Prometheus' text format, by the official client library."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from prorl_api.metrics import TABLE
from prorl_trainer.service.shared_status import SharedStatus


class _Snapshot(Collector):
    """All gauges of one step at once: a scrape never mixes two steps."""

    def __init__(self, job: str, shared_status: SharedStatus) -> None:
        self._job = job
        self._shared_status = shared_status

    def collect(self) -> Iterator[GaugeMetricFamily]:
        line = self._shared_status.last_metrics()
        status = self._shared_status.status
        beat = GaugeMetricFamily("prorl_learner_heartbeat_timestamp_seconds", "Last progress.", labels=["prorl_job"])
        beat.add_metric([self._job], status.heartbeat)
        yield beat
        if line is None:
            return
        stage = str(line.get("stage", ""))
        for metric in TABLE:
            labels = ["prorl_job", "stage", *(["source"] if metric.by_source else [])]
            family = GaugeMetricFamily(metric.prometheus_name, metric.help, labels=labels)
            if metric.by_source:
                for key, value in line.items():
                    name, _, source = key.partition("/")
                    if name == metric.name and source:
                        family.add_metric([self._job, stage, source], float(value))
            elif metric.name in line:
                family.add_metric([self._job, stage], float(line[metric.name]))
            if family.samples:
                yield family


def exposition(job: str, shared_status: SharedStatus) -> bytes:
    """Return the body of `/metrics`."""
    registry = CollectorRegistry()
    registry.register(_Snapshot(job, shared_status))
    text: bytes = generate_latest(registry)
    return text
