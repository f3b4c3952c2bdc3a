"""The chart's files against the rest of the repository; no Helm needed. What it renders: `make chart-test`."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from prorl_api.metrics import TABLE
from prorl_operator.telemetry import Telemetry

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts/prorl-operator"
VALUES = CHART / "values.yaml"
ALERTS = (CHART / "templates/prometheusrule.yaml").read_text()
HEARTBEAT = "prorl_learner_heartbeat_timestamp_seconds"
"""The one learner metric that is not of a step (trainer/prorl_trainer/service/metrics_export.py)."""
LABELS = {"prorl_job", "prorl_namespace"}


def load(path: Path) -> Any:
    return yaml.load(path.read_text(), Loader=yaml.CSafeLoader)


def leaves(values: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths of all values that are no mapping with names of ours in it."""
    for name, value in values.items():
        if isinstance(value, dict) and value and (*path, name) not in FREE:
            yield from leaves(value, (*path, name))
        else:
            yield (*path, name)


FREE = {("resources",), ("podSecurityContext",), ("monitoring", "dashboards", "labels")}
"""Mappings whose names are Kubernetes' or the user's."""


def described(text: str) -> set[tuple[str, ...]]:
    """Paths of the values that a comment beginning with `# --` stands right above."""
    found: set[tuple[str, ...]] = set()
    path: list[str] = []
    has_comment = False
    for line in text.splitlines():
        name = re.match(r"( *)([A-Za-z]+):", line)
        if line.lstrip().startswith("#"):
            has_comment = has_comment or line.lstrip().startswith("# --")
            continue
        if name is not None:
            path = [*path[: len(name[1]) // 2], name[2]]
            if has_comment:
                found.add(tuple(path))
        has_comment = False
    return found


def exported_names() -> set[str]:
    """Names of the operator's and the learner's series."""
    registry: CollectorRegistry = Telemetry().registry
    operator = {
        name + suffix
        for family in registry.collect()
        for name in [family.name]
        for suffix in ("", "_total", "_bucket", "_sum", "_count")
    }
    return operator | {metric.prometheus_name for metric in TABLE} | {HEARTBEAT}


def test_the_chart_installs_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert load(CHART / "Chart.yaml")["appVersion"] == project["version"]


def test_every_value_is_described_where_it_stands() -> None:
    missing = set(leaves(load(VALUES))) - described(VALUES.read_text())
    assert missing == set()


def test_the_schema_knows_every_value_and_no_other_but_global() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())

    def properties(node: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
        if "$ref" in node:
            node = schema["definitions"][node["$ref"].rpartition("/")[2]]
        if path in FREE or "properties" not in node:
            yield path
            return
        assert node["additionalProperties"] is False, path
        for name, inner in node["properties"].items():
            yield from properties(inner, (*path, name))

    assert set(properties(schema)) - {("global",)} == set(leaves(load(VALUES)))


@pytest.mark.parametrize(
    "name",
    sorted(set(re.findall(r"\bprorl_[a-z_]+\b", ALERTS)) - LABELS),
)
def test_every_metric_that_an_alert_looks_at_is_exported(name: str) -> None:
    assert name in exported_names()


def test_every_alert_has_a_name_of_its_own() -> None:
    names = re.findall(r'"name" "(\w+)"', ALERTS)
    assert len(names) == len(set(names)) == 9
