"""The chart's generated files: current, and made of what is exported."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from prorl_api.metrics import BY_NAME, LIVE, STEP_PARTS, TABLE
from prorl_api.vitals import VITALS
from prorl_cli.report.timing import PARTS
from prorl_observability.__main__ import chart_files
from prorl_observability.boards import BOARDS
from prorl_observability.panels import Board, Panel
from prorl_observability.recordings import RECORDINGS
from prorl_observability.rules import DEFAULTS, groups
from prorl_operator.telemetry import Telemetry
from prorl_reward_sandbox.metrics import SandboxMetrics
from prorl_rollout_server.metrics import Metrics
from tests.integration.observability.queries import with_variables

FILES = Path(__file__).resolve().parents[3] / "charts/prorl-operator/files"
PANELS = [(board, panel) for board in BOARDS.values() for row in board.rows for panel in row.panels]
IDS = [f"{board.uid}-{panel.title}" for board, panel in PANELS]
OTHERS = {"up", "ALERTS", "process_resident_memory_bytes", "DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_GPU_UTIL"}


def in_registry(registry: CollectorRegistry) -> set[str]:
    suffixes = ("", "_total", "_bucket", "_sum", "_count")
    return {family.name + suffix for family in registry.collect() for suffix in suffixes}


@pytest.fixture(scope="module")
def exported() -> set[str]:
    """Names of every series that a query may ask for."""
    learner = {metric.prometheus_name for metric in (*TABLE, *LIVE, *VITALS)}
    registries = (Telemetry().registry, SandboxMetrics("job").registry, Metrics("job", CollectorRegistry()).registry)
    ours = {name for registry in registries for name in in_registry(registry)}
    return learner | ours | {recording.record for recording in RECORDINGS} | OTHERS


def metrics_of(expr: str) -> set[str]:
    """Names of the metrics in a query: words before a selector, a range or the end of a call."""
    plain = re.sub(r'"[^"]*"', '""', expr)
    plain = re.sub(r"\b(by|on|group_left|group_right|without)\s*(\([^)]*\))?", " ", plain)
    plain = re.sub(r"\{[^}]*\}", "{}", plain)
    words = set(re.findall(r"[A-Za-z_:][\w:]*(?![\w:]*\s*\()", re.sub(r"\[[^\]]*\]", " ", plain)))
    return words - {"and", "or", "unless", "bool", "offset", "inf"}


@pytest.mark.parametrize("name", sorted(chart_files()))
def test_the_generated_files_are_current(name: str) -> None:
    assert (FILES / name).read_text() == chart_files()[name], "run: make dashboards"


def test_no_other_file_lies_among_the_dashboards() -> None:
    assert {path.stem for path in (FILES / "dashboards").iterdir()} == set(BOARDS)


@pytest.mark.parametrize(("board", "panel"), PANELS, ids=IDS)
def test_a_panel_asks_for_what_is_exported(board: Board, panel: Panel, exported: set[str]) -> None:
    for query in panel.queries:
        assert metrics_of(query.expr) <= exported
        assert metrics_of(query.expr)
        names = set(re.findall(r"\$([a-z_]+)", query.expr)) - {"__rate_interval", "__range"}
        assert names <= {variable.name for variable in board.variables}


@pytest.mark.parametrize(("board", "panel"), PANELS, ids=IDS)
def test_a_panel_says_what_to_look_for_and_has_a_unit(board: Board, panel: Panel) -> None:
    assert re.fullmatch(r"[A-Z].{20,240}\.", panel.look_for), panel.look_for
    assert panel.unit


def test_the_panel_of_a_step_s_time_draws_all_of_its_parts() -> None:
    [panel] = [panel for _, panel in PANELS if panel.title == "Time of a step, by part"]
    drawn = {name for query in panel.queries for name in metrics_of(query.expr)}
    assert drawn == {BY_NAME[name].prometheus_name for name in STEP_PARTS}
    assert list(PARTS) == list(STEP_PARTS), "the report's too"


def test_every_rule_asks_for_what_is_exported_and_says_what_to_do(exported: set[str]) -> None:
    for rule in (rule for group in groups() for rule in group["rules"]):
        expr = rule["expr"]
        for placeholder in (*DEFAULTS, "__OPERATOR__"):
            expr = expr.replace(placeholder, "1" if placeholder in DEFAULTS else 'job="x"')
        assert metrics_of(expr) <= exported, rule
        if "alert" in rule:
            assert len(rule["annotations"]["description"]) > 60


def test_rules_and_recordings_have_names_of_their_own() -> None:
    names = [rule.get("alert") or rule["record"] for group in groups() for rule in group["rules"]]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", sorted(BOARDS))
def test_a_dashboard_is_grafana_11_s_and_has_no_fixed_source(name: str) -> None:
    document: dict[str, Any] = json.loads((FILES / f"dashboards/{name}.json").read_text())
    assert document["schemaVersion"] >= 39, "Grafana 11.0"
    assert document["uid"] == name
    variables = [variable["name"] for variable in document["templating"]["list"]]
    assert variables[0] == "datasource"
    assert variables[1:] == [variable.name for variable in BOARDS[name].variables]
    panels = [panel for panel in document["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in document["panels"]}) == len(document["panels"])
    for panel in panels:
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])


def test_resets_are_marked_in_a_run_and_the_fleet_leads_to_it() -> None:
    run = json.loads((FILES / "dashboards/prorl-run.json").read_text())
    assert [item["name"] for item in run["annotations"]["list"]] == ["Reference resets"]
    fleet = (FILES / "dashboards/prorl-fleet.json").read_text()
    assert "/d/prorl-run?" in fleet
    assert "${__field.labels.prorl_run}" in fleet


def test_variables_are_filled_in_longest_first() -> None:
    values = {"run": "u1", "__range": "1h", "__rate_interval": "1m"}
    assert with_variables("$run[$__rate_interval] $__range", values) == "u1[1m] 1h"
