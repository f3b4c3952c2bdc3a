"""A real Prometheus or VictoriaMetrics here, and what the Prometheus operator would make of a monitor object.

The translation covers what our chart uses; anything else is an error, so that a change of the chart shows.
"""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.testbed.build import command_path
from tests.testbed.errors import TestbedError
from tests.testbed.tools import PROMETHEUS, VICTORIA_METRICS

SCRAPE_INTERVAL = "1s"
_START_SECONDS = 60.0
Config = dict[str, Any]


def scrape_config(monitor: Mapping[str, Any], target_file: Path) -> Config:
    """One scrape configuration from a PodMonitor or a ServiceMonitor with one endpoint.

    What the Prometheus operator adds by itself (`namespace`, `pod`, `job`) is added here in the same way. Targets come
    from a file whose labels are those that discovery in a cluster would give (`__meta_kubernetes_...`).
    """
    meta, spec = monitor["metadata"], monitor["spec"]
    is_pods = monitor["kind"] == "PodMonitor"
    [endpoint] = spec["podMetricsEndpoints" if is_pods else "endpoints"]
    known = {"port", "path", "interval", "honorLabels", "relabelings", "metricRelabelings"}
    if unknown := endpoint.keys() - known:
        raise TestbedError(f"{meta['name']}: {sorted(unknown)} of an endpoint are not translated")
    added = [
        {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
        {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"},
    ]
    if is_pods:
        added.append({"target_label": "job", "replacement": f"{meta['namespace']}/{meta['name']}"})
    else:
        added.append({"source_labels": ["__meta_kubernetes_service_name"], "target_label": "job"})
    return {
        "job_name": f"{monitor['kind']}/{meta['name']}",
        "scrape_interval": SCRAPE_INTERVAL,
        "scrape_timeout": SCRAPE_INTERVAL,
        "metrics_path": endpoint.get("path", "/metrics"),
        "honor_labels": endpoint.get("honorLabels", False),
        "file_sd_configs": [{"files": [str(target_file)], "refresh_interval": "1s"}],
        "relabel_configs": [*added, *map(_relabeling, endpoint.get("relabelings", []))],
        "metric_relabel_configs": [*map(_relabeling, endpoint.get("metricRelabelings", []))],
    }


def _relabeling(rule: Mapping[str, Any]) -> Config:
    names = {"sourceLabels": "source_labels", "targetLabel": "target_label"}
    return {names.get(name, name): value for name, value in rule.items()}


def write_targets(path: Path, groups: Sequence[tuple[str, Mapping[str, str]]]) -> None:
    """Write a target file: `host:port` and labels of each target."""
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps([{"targets": [address], "labels": labels} for address, labels in groups]))
    temporary.replace(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How one is reached that does not serve everybody, and how it is told so."""

    config: Config
    """Its `--web.config.file`."""
    trust: ssl.SSLContext
    user: tuple[str, str]
    """With the password."""


class Prometheus:
    """One that runs."""

    def __init__(self, url: str, access: Access | None = None) -> None:
        self.url = url
        known = {} if access is None else {"verify": access.trust, "auth": access.user}
        self._http = httpx.Client(base_url=url, timeout=30, trust_env=False, **known)  # type: ignore[arg-type]

    def get(self, path: str, **parameters: Any) -> Any:
        """The `data` of an answer; an error of Prometheus is a TestbedError with its words."""
        answer = self._http.get(f"/api/v1/{path}", params=parameters).json()
        if answer["status"] != "success":
            raise TestbedError(f"{path} {parameters}: {answer.get('error')}")
        return answer["data"]

    def query(self, expr: str, at: float | None = None) -> list[dict[str, Any]]:
        """The samples of an instant query."""
        moment = {} if at is None else {"time": at}
        found = self.get("query", query=expr, **moment)
        return found["result"] if found["resultType"] != "scalar" else [{"metric": {}, "value": found["result"]}]

    def query_range(self, expr: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """The series of a range query."""
        result: list[dict[str, Any]] = self.get("query_range", query=expr, start=start, end=end, step=step)["result"]
        return result

    def close(self) -> None:
        """Close connections."""
        self._http.close()

    def is_ready(self) -> bool:
        """Whether it answers queries."""
        try:
            return self._http.get("/-/ready").is_success
        except httpx.HTTPError:
            return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def prometheus(
    folder: Path, scrape_configs: Sequence[Config], groups: Sequence[Config] = (), access: Access | None = None
) -> Iterator[Prometheus]:
    """Start one, with rule groups; it ends with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": list(groups)}))
    config = {
        "global": {"evaluation_interval": SCRAPE_INTERVAL},
        "rule_files": [str(folder / "rules.yaml")],
        "scrape_configs": list(scrape_configs),
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    port = _free_port()
    command = [
        str(command_path(PROMETHEUS, "prometheus")),
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'samples'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    if access is not None:
        (folder / "web.yaml").write_text(yaml.safe_dump(access.config))
        command.append(f"--web.config.file={folder / 'web.yaml'}")
    scheme = "http" if access is None else "https"
    with _running(command, folder / "log", Prometheus(f"{scheme}://127.0.0.1:{port}", access)) as made:
        yield made


@contextmanager
def victoria_metrics(folder: Path, scrape_configs: Sequence[Config]) -> Iterator[Prometheus]:
    """Start a VictoriaMetrics that scrapes; it answers the same questions and ends with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scrape.yaml").write_text(yaml.safe_dump({"scrape_configs": list(scrape_configs)}))
    port = _free_port()
    command = [
        str(command_path(VICTORIA_METRICS, "victoria-metrics")),
        f"-promscrape.config={folder / 'scrape.yaml'}",
        f"-storageDataPath={folder / 'samples'}",
        f"-httpListenAddr=127.0.0.1:{port}",
        "-memory.allowedBytes=256MiB",
    ]
    with _running(command, folder / "log", Prometheus(f"http://127.0.0.1:{port}")) as made:
        yield made


@contextmanager
def _running(command: Sequence[str], log: Path, made: Prometheus) -> Iterator[Prometheus]:
    with log.open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not made.is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise TestbedError(f"{Path(command[0]).name} does not start:\n{log.read_text()[-4000:]}")
            time.sleep(0.05)
        yield made
    finally:
        made.close()
        process.terminate()
        process.wait()
