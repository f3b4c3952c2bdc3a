"""What Grafana and Helm fill in, filled in here."""

from __future__ import annotations

from collections.abc import Mapping

from prorl_control.advice.promql import OPERATOR
from prorl_observability.operator_alerts import NAMESPACE
from prorl_observability.rules import DEFAULTS, Group, filled, groups


def cluster_groups(service: str, namespace: str) -> list[Group]:
    """All rule groups as the chart renders them by default, for an operator behind this Service."""
    operator = f'job="{service}", namespace="{namespace}"'
    return filled(groups(), {**DEFAULTS, OPERATOR: operator, NAMESPACE: namespace})


def with_variables(expr: str, values: Mapping[str, str]) -> str:
    """Return a query as Grafana would send it.

    Args:
        expr: With variables.
        values: By name without the dollar; the interval's and the range's too.
    """
    for name in sorted(values, key=len, reverse=True):
        expr = expr.replace(f"${name}", values[name])
    return expr
