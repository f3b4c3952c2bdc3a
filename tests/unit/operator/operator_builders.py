"""Objects as the API server sends them, as small as the operator's views need them."""

from __future__ import annotations

from typing import Any, cast

from prorl_api.status import JobStatus
from prorl_operator.job_state import JobState

CREATED = "2026-01-01T00:00:00Z"
CREATED_AT = 1767225600.0


def make_pod(role: str = "learner", *, attempt: int = 1, index: int = 0, **status: Any) -> dict[str, Any]:
    """A pod; keyword arguments are its status. `deletion_timestamp` goes to the metadata."""
    name = f"demo-{role}-{attempt}-{index}"
    meta: dict[str, Any] = {
        "name": name,
        "namespace": "default",
        "uid": f"uid-{name}",
        "creationTimestamp": CREATED,
        "labels": {
            "prorl.dev/job": "demo",
            "prorl.dev/role": role,
            "prorl.dev/attempt": str(attempt),
            "batch.kubernetes.io/job-completion-index": str(index),
        },
    }
    deleted = status.pop("deletion_timestamp", None)
    if deleted:
        meta["deletionTimestamp"] = deleted
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "status": status}


def running(role: str = "learner", *, ready: bool = True) -> dict[str, Any]:
    """Status of a pod whose container runs."""
    return {
        "phase": "Running",
        "podIP": "10.0.0.1",
        "conditions": [{"type": "Ready", "status": str(ready)}],
        "containerStatuses": [{"name": role, "state": {"running": {"startedAt": CREATED}}}],
    }


def terminated(role: str = "learner", code: int = 1, *, last: bool = False, **fields: Any) -> dict[str, Any]:
    """Status of a pod whose container has ended; with `last` it is waiting to be started again."""
    end = {"exitCode": code, "reason": "Error", "startedAt": CREATED, "finishedAt": CREATED, **fields}
    state = {"waiting": {"reason": "CrashLoopBackOff"}} if last else {"terminated": end}
    container = {"name": role, "state": state, "lastState": {"terminated": end} if last else {}}
    return {"phase": "Running" if last else "Failed", "containerStatuses": [container]}


def make_job(attempt: int = 1, replicas: int = 1, **conditions: str) -> dict[str, Any]:
    """A Kubernetes Job; keyword arguments are true conditions with their reason."""
    return {
        "metadata": {
            "name": f"demo-learner-{attempt}",
            "namespace": "default",
            "uid": f"uid-job-{attempt}",
            "creationTimestamp": CREATED,
            "labels": {"prorl.dev/job": "demo", "prorl.dev/role": "learner", "prorl.dev/attempt": str(attempt)},
        },
        "spec": {"completions": replicas},
        "status": {
            "conditions": [
                {"type": kind, "status": "True", "reason": reason, "message": "", "lastTransitionTime": CREATED}
                for kind, reason in conditions.items()
            ]
        },
    }


def make_deployment(role: str = "rollout", replicas: int = 1, failure: str = "") -> dict[str, Any]:
    """A Deployment."""
    conditions = [{"type": "ReplicaFailure", "status": "True", "message": failure}] if failure else []
    return {
        "metadata": {
            "name": f"demo-{role}",
            "namespace": "default",
            "uid": f"uid-{role}",
            "labels": {"prorl.dev/job": "demo", "prorl.dev/role": role},
        },
        "spec": {"replicas": replicas},
        "status": {"conditions": conditions},
    }


def make_memory() -> JobState:
    """Of a job that has just been taken up."""
    resets = cast("Any", None)
    return JobState(uid="u", resets=resets, losses=(), restarts_before={}, highest_step=0, status=JobStatus())
