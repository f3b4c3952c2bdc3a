"""The chart's files against the rest of the repository; no Helm needed. What it renders: `make chart-test`."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from prorl_control.advice import bounds

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts/prorl-operator"
VALUES = CHART / "values.yaml"


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


def test_the_bounds_of_alerts_that_values_set_are_those_of_advice_by_default() -> None:
    values = load(VALUES)["monitoring"]["prometheusRule"]
    assert values["heartbeatSeconds"] == bounds.HEARTBEAT_SECONDS
    assert values["firstStepSeconds"] == bounds.FIRST_STEP_SECONDS
    assert values["maskedShare"] == bounds.MOST_MASKED
