"""Writes a job's status: at once when a condition changes, else at most twice a minute, never when nothing changed."""

from __future__ import annotations

import json
from typing import Any

from prorl_api.crd import status_to_object
from prorl_api.spec.values import Role
from prorl_api.status import JobStatus
from prorl_control.plan import RunPlan
from prorl_operator.client import Api
from prorl_operator.memory import JobMemory
from prorl_operator.view_index import Snapshot

UNCHANGED_SECONDS = 30.0


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
    urgent, everything = _urgent(document), _comparable(document)
    if everything == memory.written:
        return
    if urgent == memory.written_urgent and now - memory.written_at < UNCHANGED_SECONDS:
        return
    await api.write_status("ProRLJob", meta["namespace"], meta["name"], document)
    memory.written, memory.written_urgent, memory.written_at = everything, urgent, now


def _urgent(document: dict[str, Any]) -> str:
    """What people and other controllers wait for."""
    conditions = [(condition["type"], condition["status"], condition["reason"]) for condition in document["conditions"]]
    return json.dumps([conditions, document.get("attempt"), document.get("observedGeneration"), document.get("resets")])


def _comparable(document: dict[str, Any]) -> str:
    """Without the times that change with every look."""
    return json.dumps({key: value for key, value in document.items() if key not in ("updated", "lastMetricsTime")})
