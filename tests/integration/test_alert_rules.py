"""Every alert against the real promtool: it fires where it should, with its text, and nowhere else."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from prorl_control.advice import TABLE, Rule
from prorl_observability.operator_alerts import OPERATOR_TABLE
from prorl_observability.rules import local_groups
from tests.integration.observability.alert_cases import CASES, NAMESPACE, SERVICE, AlertCase
from tests.integration.observability.queries import cluster_groups
from tests.testbed import build, tools

RULES = {rule.name: rule for rule in (*TABLE, *OPERATOR_TABLE)}


@pytest.fixture(scope="module")
def promtool() -> Path:
    return build.command_path(tools.PROMTOOL, "promtool")


def run(promtool: Path, *arguments: object) -> None:
    command = [str(promtool), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def text(rule: Rule, template: str, case: AlertCase) -> str:
    """What Prometheus makes of a text, with the value as the case says it is shown."""
    for label, value in (case.fires or {}).items():
        template = template.replace(f"[[ $labels.{label} ]]", value)
    filled = re.sub(r"\[\[ \$value.*?\]\]", case.shows, template).replace("__OPERATOR_NAMESPACE__", NAMESPACE)
    assert "[[" not in filled, f"{rule.name}: the case lacks a label or value for {filled}"
    return filled


def expected(rule: Rule, case: AlertCase) -> list[dict[str, Any]]:
    if case.fires is None:
        return []
    summary = rule.title if rule in OPERATOR_TABLE else f"{rule.title}: [[ $labels.prorl_job ]]"
    annotations = {
        "summary": text(rule, summary, case),
        "description": text(rule, f"{rule.shown} {rule.remedy}", case),
    }
    labels = {**case.fires, "severity": rule.severity.value}
    return [{"exp_labels": labels, "exp_annotations": annotations}]


def test_every_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    assert set(CASES) == set(RULES)
    for name, cases in CASES.items():
        assert {case.fires is None for case in cases} == {True, False}, name


def write_tests(folder: Path, name: str) -> Path:
    """The cases of one rule, with its rule alone: a group is evaluated every minute of every case."""
    [rule] = [
        rule
        for group in cluster_groups(SERVICE, NAMESPACE)
        for rule in group["rules"]
        if rule.get("alert") == f"ProRL{name}"
    ]
    rules = folder / f"rules-{name}.yaml"
    rules.write_text(yaml.safe_dump({"groups": [{"name": name, "rules": [rule]}]}))
    tests = [
        {
            "interval": "1m",
            "name": f"{name} {index}: {case.why}",
            "input_series": [{"series": series, "values": values} for series, values in case.series.items()],
            "alert_rule_test": [
                {"eval_time": case.at, "alertname": f"ProRL{name}", "exp_alerts": expected(RULES[name], case)}
            ],
        }
        for index, case in enumerate(CASES[name])
    ]
    document = {"rule_files": [rules.name], "evaluation_interval": "1m", "tests": tests}
    path = folder / f"tests-{name}.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_every_alert_fires_where_it_should_and_nowhere_else(promtool: Path, tmp_path: Path) -> None:
    run(promtool, "test", "rules", *(write_tests(tmp_path, name) for name in CASES))


def test_the_rules_of_local_runs_are_valid_and_know_no_operator(promtool: Path, tmp_path: Path) -> None:
    groups = local_groups()
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": groups}))
    run(promtool, "check", "rules", "--lint=all", "--lint-fatal", path)
    assert "prorl_operator" not in path.read_text()
    alerts = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}
    assert alerts == {f"ProRL{rule.name}" for rule in TABLE} - {"ProRLLearnerSamplesAbsent", "ProRLJobFailed"}
