"""The operator's own series: what a job leaves behind when it changes or goes."""

from __future__ import annotations

from prometheus_client import generate_latest

from prorl_api.resets import Evidence, ResetCondition, ResetRecord
from prorl_api.spec.values import OptimizerAction, ResetSource
from prorl_operator.telemetry import Telemetry

KEY = ("team-a", "demo")


def record(number: int, condition: ResetCondition, trigger: str = "spike") -> ResetRecord:
    evidence = Evidence(trigger=trigger, metric="kl", rule="", steps=(), values=(), reason="")
    return ResetRecord(
        name=f"demo-reset-{number}",
        number=number,
        uid=str(number),
        created=0.0,
        attempt=1,
        evidence_step=1,
        evidence=evidence,
        source=ResetSource.CURRENT,
        optimizer=OptimizerAction.CLEAR,
        condition=condition,
    )


def shown(telemetry: Telemetry) -> dict[str, float]:
    """The samples of jobs, without their two labels."""
    text = generate_latest(telemetry.registry).decode()
    found = {}
    for line in text.splitlines():
        if 'prorl_job="demo"' in line:
            name, _, value = line.rpartition(" ")
            found[name.replace('prorl_job="demo",', "").replace('prorl_namespace="team-a",', "")] = float(value)
    return found


def test_resets_are_counted_by_trigger_and_condition_and_leave_none_behind() -> None:
    telemetry = Telemetry()
    telemetry.job_state(KEY, "Running")
    records = [record(1, ResetCondition.APPLIED), record(2, ResetCondition.PENDING)]
    telemetry.job_counts(KEY, records, {"learner": 0, "rollout": 2})
    assert shown(telemetry) == {
        'prorl_operator_resets{condition="applied",trigger="spike"}': 1.0,
        'prorl_operator_resets{condition="pending",trigger="spike"}': 1.0,
        'prorl_operator_restarts{role="learner"}': 0.0,
        'prorl_operator_restarts{role="rollout"}': 2.0,
        'prorl_operator_job_state{state="Running"}': 1.0,
    }
    records = [record(1, ResetCondition.APPLIED), record(2, ResetCondition.APPLIED)]
    telemetry.job_counts(KEY, records, {"learner": 1, "rollout": 2})
    assert shown(telemetry) == {
        'prorl_operator_resets{condition="applied",trigger="spike"}': 2.0,
        'prorl_operator_restarts{role="learner"}': 1.0,
        'prorl_operator_restarts{role="rollout"}': 2.0,
        'prorl_operator_job_state{state="Running"}': 1.0,
    }
    telemetry.job_state(KEY, None)
    assert shown(telemetry) == {}
