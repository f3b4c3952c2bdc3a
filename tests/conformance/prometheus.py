"""A real Prometheus beside the test cluster, which scrapes by what the chart's PodMonitor says."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.conformance.site import NAMESPACE, RELEASE
from tests.testbed.build import command_path
from tests.testbed.commands import run
from tests.testbed.control_plane import ControlPlane
from tests.testbed.ports import ReservedPort
from tests.testbed.processes import Part
from tests.testbed.tools import HELM, PROMETHEUS, ROOT

INTERVAL = "1s"
_META = "__meta_kubernetes_pod_"


class PrometheusServer:
    """The process, its settings and what it holds."""

    def __init__(
        self,
        cluster: ControlPlane,
        rule_groups: Sequence[dict[str, Any]] = (),
        scrapes: Sequence[dict[str, Any]] | None = None,
    ) -> None:
        """Write the settings; nothing runs yet. Scrapes are by the chart's PodMonitor, unless they are given."""
        self._port = ReservedPort()
        self._port.release()  # it binds the port alone
        self.url = f"http://127.0.0.1:{self._port.number}"
        settings = cluster.folder / "prometheus.yaml"
        rules = cluster.folder / "prometheus-rules.yaml"
        rules.write_text(yaml.safe_dump({"groups": list(rule_groups)}))
        told = {"global": {"evaluation_interval": INTERVAL}, "rule_files": [str(rules)]}
        wanted = [scrape_of(pod_monitor(), cluster.kubeconfig)] if scrapes is None else list(scrapes)
        settings.write_text(yaml.safe_dump(told | {"scrape_configs": wanted}))
        words = [
            str(command_path(PROMETHEUS, "prometheus")),
            f"--config.file={settings}",
            f"--storage.tsdb.path={cluster.folder / 'prometheus'}",
            f"--web.listen-address=127.0.0.1:{self._port.number}",
        ]
        self.part = Part("prometheus", words, cluster.folder)

    def is_ready(self) -> bool:
        """Whether it answers queries."""
        try:
            return httpx.get(f"{self.url}/-/ready", timeout=2).is_success
        except httpx.HTTPError:
            return False

    def alerts(self) -> list[dict[str, Any]]:
        """Every alert that waits or fires."""
        found: list[dict[str, Any]] = httpx.get(f"{self.url}/api/v1/alerts", timeout=10).json()["data"]["alerts"]
        return found

    def rules(self) -> list[dict[str, Any]]:
        """Every group of rules, with how each fares."""
        found: list[dict[str, Any]] = httpx.get(f"{self.url}/api/v1/rules", timeout=10).json()["data"]["groups"]
        return found

    def over_time(self, query: str, seconds: float = 3600.0) -> list[dict[str, Any]]:
        """The series of a range query over the last so many seconds."""
        now = time.time()
        told = {"query": query, "start": now - seconds, "end": now, "step": 1.0}
        answer = httpx.post(f"{self.url}/api/v1/query_range", data=told, timeout=60).json()
        assert answer["status"] == "success", (query, answer)
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def query(self, query: str) -> list[dict[str, Any]]:
        """The result of an instant query."""
        answer = httpx.post(f"{self.url}/api/v1/query", data={"query": query}, timeout=10).json()
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found


def pod_monitor() -> dict[str, Any]:
    """The chart's object, as an installation with a fast interval has it."""
    options = ["--namespace", NAMESPACE, "--kube-version", "1.34.0", "--show-only", "templates/podmonitor.yaml"]
    values = {
        "monitoring.podMonitor.enabled": "true",
        "monitoring.podMonitor.interval": INTERVAL,
        "monitoring.namespace": "monitoring",
    }
    words = [word for name, value in values.items() for word in ("--set", f"{name}={value}")]
    chart = str(ROOT / "charts/prorl-operator")
    text = run([str(command_path(HELM, "helm")), "template", RELEASE, chart, *options, *words])
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def scrape_of(monitor: dict[str, Any], kubeconfig: Path) -> dict[str, Any]:
    """A scrape configuration, as the Prometheus operator makes it of a PodMonitor (its `generatePodMonitorConfig`).

    As far as this one goes: anything in it that is not known here is an error, so that nothing is passed over.
    """
    meta, spec = monitor["metadata"], monitor["spec"]
    assert spec["namespaceSelector"] == {"any": True}
    (endpoint,) = spec["podMetricsEndpoints"]
    known = {"port", "path", "interval", "honorLabels", "relabelings", "metricRelabelings"}
    assert endpoint.keys() <= known, f"not translated: {endpoint.keys() - known}"
    relabelings: list[dict[str, Any]] = []
    for wanted in spec["selector"]["matchExpressions"]:
        assert wanted["operator"] == "Exists"
        label = f"{_META}labelpresent_{_sanitized(wanted['key'])}"
        relabelings.append({"action": "keep", "source_labels": [label], "regex": "true"})
    relabelings += [
        {"action": "drop", "source_labels": [f"{_META}phase"], "regex": "(Failed|Succeeded)"},
        {"action": "keep", "source_labels": [f"{_META}container_port_name"], "regex": endpoint["port"]},
        {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
        {"source_labels": [f"{_META}container_name"], "target_label": "container"},
        {"source_labels": [f"{_META}name"], "target_label": "pod"},
        {"target_label": "job", "replacement": f"{meta['namespace']}/{meta['name']}"},
        {"target_label": "endpoint", "replacement": endpoint["port"]},
        *(_relabeling(item) for item in endpoint["relabelings"]),
    ]
    return {
        "job_name": f"podMonitor/{meta['namespace']}/{meta['name']}/0",
        "honor_labels": endpoint["honorLabels"],
        "metrics_path": endpoint["path"],
        "scrape_interval": endpoint["interval"],
        "scrape_timeout": endpoint["interval"],
        "kubernetes_sd_configs": [{"role": "pod", "kubeconfig_file": str(kubeconfig)}],
        "relabel_configs": relabelings,
        "metric_relabel_configs": [_relabeling(item) for item in endpoint["metricRelabelings"]],
    }


def _relabeling(item: dict[str, Any]) -> dict[str, Any]:
    names = {"sourceLabels": "source_labels", "targetLabel": "target_label"}
    return {names.get(name, name): value for name, value in item.items()}


def _sanitized(label: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in label)
