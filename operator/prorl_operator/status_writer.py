"""Writes a job's status: at once when a condition changes, else at most twice a minute, never when nothing changed.

What becomes ready while a job starts is gathered for a few seconds.
"""

from __future__ import annotations

import json
from typing import Any

from prorl_api.crd import status_to_object
from prorl_api.spec.values import Role
from prorl_api.status import ConditionType, JobStatus
from prorl_control.plan import RunPlan
from prorl_operator.client import Api
from prorl_operator.memory import JobMemory
from prorl_operator.view_index import Snapshot

UNCHANGED_SECONDS = 30.0
GATHERED_SECONDS = 5.0
_READINESS = frozenset(
    {
        ConditionType.ROLLOUT_READY,
        ConditionType.LEARNER_READY,
        ConditionType.SANDBOX_READY,
        ConditionType.METRICS_AVAILABLE,
        ConditionType.SANDBOX_ISOLATED,
        ConditionType.NETWORK_ISOLATED,
    }
)
"""Conditions that change one after the other while a job starts; it runs when all hold, which is told at once."""


async def write_status(
    api: Api, snapshot: Snapshot, memory: JobMemory, status: JobStatus, plan: RunPlan | None, now: float
) -> None:
    """Write it if it is due."""
    assert snapshot.body is not None
    meta = snapshot.body["metadata"]
    replicas = sum(pod.role is Role.ROLLOUT and pod.deleted is None for pod in snapshot.pods)
    document = status_to_object(
        status, job_name=meta["name"], generation=int(meta["generation"]), rollout_replicas=replicas if plan else 0
    )
    everything = _comparable(document)
    if everything == memory.written:
        return
    outcome, readiness = _outcome(document), _readiness(document)
    age = now - memory.written_at
    if outcome == memory.written_outcome:
        if age < GATHERED_SECONDS and _is_starting(status):
            return
        if age < UNCHANGED_SECONDS and readiness == memory.written_readiness:
            return
    await api.write_status("ProRLJob", meta["namespace"], meta["name"], document)
    memory.written, memory.written_at = everything, now
    memory.written_outcome, memory.written_readiness = outcome, readiness


def _is_starting(status: JobStatus) -> bool:
    """Looked at again every few seconds."""
    summary = status.condition(ConditionType.SUCCEEDED)
    return summary is not None and summary.reason == "Starting"


def _outcome(document: dict[str, Any]) -> str:
    """What people and other controllers wait for."""
    conditions = [_told(condition) for condition in document["conditions"] if condition["type"] not in _READINESS]
    return json.dumps([conditions, document.get("attempt"), document.get("observedGeneration"), document.get("resets")])


def _readiness(document: dict[str, Any]) -> str:
    """How far the members have come."""
    return json.dumps([_told(condition) for condition in document["conditions"] if condition["type"] in _READINESS])


def _told(condition: dict[str, Any]) -> tuple[str, str, str]:
    return condition["type"], condition["status"], condition["reason"]


def _comparable(document: dict[str, Any]) -> str:
    """Without the times that change with every look."""
    return json.dumps({key: value for key, value in document.items() if key not in ("updated", "lastMetricsTime")})
