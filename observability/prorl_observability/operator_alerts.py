"""Alerts about the operator itself, which no run can give advice on."""

from __future__ import annotations

from prorl_control.advice import Rule, Severity
from prorl_control.advice.promql import OPERATOR

NAMESPACE = "__OPERATOR_NAMESPACE__"
"""Placeholder for the release's namespace, in texts."""

OPERATOR_TABLE: tuple[Rule, ...] = (
    Rule(
        name="OperatorDown",
        severity=Severity.CRITICAL,
        title="No ProRL operator answers",
        remedy=f"See `kubectl -n {NAMESPACE} get pods -l app.kubernetes.io/name=prorl-operator`.",
        expr=f"absent(up{{{OPERATOR}}} == 1)",
        hold="5m",
        shown="Training goes on, but nothing that fails is restarted and no reset is issued.",
    ),
    Rule(
        name="OperatorNoLeader",
        severity=Severity.CRITICAL,
        title="ProRL operators run, but none leads",
        remedy="See the Lease and the operators' logs: they may lack rights on leases.",
        expr=f"sum(prorl_operator_leader{{{OPERATOR}}}) < 1",
        hold="2m",
        shown="Nothing is reconciled.",
    ),
    Rule(
        name="OperatorReconcileErrors",
        severity=Severity.WARNING,
        title="Passes over ProRL jobs fail",
        remedy="The operator's log names the job and what the API said.",
        expr=f'sum(increase(prorl_operator_reconcile_total{{{OPERATOR}, result="error"}}[15m])) > 3',
        hold="15m",
        shown="[[ $value | humanize ]] of the last 15 minutes.",
    ),
    Rule(
        name="OperatorWatchesSilent",
        severity=Severity.WARNING,
        title="A ProRL operator hears nothing of pods, Jobs or Deployments",
        remedy="What fails meanwhile is not seen. After five minutes the operator's liveness probe ends it; its "
        "log says which watch broke.",
        expr=f"max(prorl_operator_children_age_seconds{{{OPERATOR}}}) > 200",
        hold="1m",
        shown="For [[ $value | humanizeDuration ]]; the API server sends a sign of life every minute.",
    ),
)
