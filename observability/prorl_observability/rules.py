"""Prometheus' rule groups from the tables. Pure: plain values, as they stand in a rule file.

The chart has values for a few bounds and knows the operator's Service: its file has placeholders for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prorl_control.advice import TABLE, Rule, bounds
from prorl_control.advice.promql import FIRST_STEP_SECONDS, HEARTBEAT_SECONDS, MASKED_SHARE, OPERATOR
from prorl_observability.operator_alerts import OPERATOR_TABLE
from prorl_observability.recordings import RECORDINGS

Group = dict[str, Any]

DEFAULTS: Mapping[str, str] = {
    HEARTBEAT_SECONDS: f"{bounds.HEARTBEAT_SECONDS:g}",
    FIRST_STEP_SECONDS: f"{bounds.FIRST_STEP_SECONDS:g}",
    MASKED_SHARE: f"{bounds.MOST_MASKED:g}",
}
"""What stands for placeholders where there is no chart; its values have the same defaults."""


def groups() -> list[Group]:
    """Return every group, with placeholders, for the chart."""
    return [
        {"name": "prorl-operator", "rules": [_alert(rule, rule.title) for rule in OPERATOR_TABLE]},
        {"name": "prorl-jobs", "rules": [_alert(rule, f"{rule.title}: [[ $labels.prorl_job ]]") for rule in TABLE]},
        {
            "name": "prorl-recordings",
            "rules": [{"record": recording.record, "expr": recording.expr} for recording in RECORDINGS],
        },
    ]


def filled(found: list[Group], values: Mapping[str, str]) -> list[Group]:
    """Return groups with the placeholders filled in, in expressions and texts."""

    def fill(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: fill(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [fill(inner) for inner in value]
        for placeholder, text in values.items():
            value = value.replace(placeholder, text)
        return value

    return [fill(group) for group in found]


def local_groups() -> list[Group]:
    """Return the groups for runs on one machine, where no operator is."""
    found = [group for group in groups() if group["name"] != "prorl-operator"]
    kept = [{**group, "rules": [rule for rule in group["rules"] if OPERATOR not in rule["expr"]]} for group in found]
    return filled(kept, DEFAULTS)


def _alert(rule: Rule, summary: str) -> dict[str, Any]:
    return {
        "alert": f"ProRL{rule.name}",
        "expr": rule.expr,
        "for": rule.hold,
        "labels": {"severity": rule.severity.value},
        "annotations": {"summary": _braced(summary), "description": _braced(f"{rule.shown} {rule.remedy}")},
    }


def _braced(text: str) -> str:
    return text.replace("[[", "{{").replace("]]", "}}")
