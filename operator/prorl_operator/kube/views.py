"""What the operator keeps of the objects it watches: typed, and a small part of what the API sends. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from prorl_api.names import LABEL_ATTEMPT, LABEL_JOB, LABEL_POD_GROUP, LABEL_ROLE
from prorl_api.spec.values import Role
from prorl_control.members import Exit

LABEL_INDEX = "batch.kubernetes.io/job-completion-index"
ANNOTATION_APPLIED = "prorl.dev/applied"
"""Digest of what the operator last applied, on the object itself."""
_ROLES = {role.value: role for role in Role}
_SIGNALLED = 128
"""A container's exit code above this is a signal's number plus this."""

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """One end of a container."""

    exit: Exit
    started_at: float
    finished_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PodView:
    """A pod of a member."""

    name: str
    uid: str
    role: Role
    attempt: int
    index: int
    """Completion index of a learner's pod; 0 for the others."""
    created: float
    deleted: float | None
    """Unix time by which a pod that is being deleted should be gone."""
    ip: str
    is_ready: bool
    running_since: float | None
    """The main container's start; None while it does not run."""
    ended: Ended | None
    """How the main container ended, if it is not running now."""
    disruption: str
    """Reason of the `DisruptionTarget` condition, such as `PreemptionByScheduler`."""
    held: str
    """Why it does not run yet, in the platform's words; empty: nothing is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """The Kubernetes Job of one attempt."""

    name: str
    uid: str
    attempt: int
    created: float
    replicas: int
    failed_at: float | None
    """When it was found to fail; its pods may still be ending."""
    failure: str
    """Reason and message of that."""
    is_complete: bool
    is_deleted: bool
    group: str = ""
    """PodGroup of its pods; empty: they are no gang."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentView:
    """The Deployment of a role."""

    name: str
    uid: str
    role: Role
    applied: str
    """Digest of what the operator applied."""
    replicas: int
    failure: str
    """Why it cannot create pods, such as a quota."""
    is_deleted: bool
    group: str = ""
    """PodGroup of its pods; empty: they are no gang."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanView:
    """The ConfigMap that says what runs."""

    attempt: int
    applied: str
    """Digest of the base objects as they were applied."""
    text: str
    """`job.json`."""


def job_key(body: Body) -> tuple[str, str] | None:
    """Namespace and name of the ProRLJob that an object belongs to."""
    name = _labels(body).get(LABEL_JOB)
    return (body["metadata"].get("namespace", ""), name) if name else None


def pod_view(body: Body) -> PodView | None:
    """Read a pod; None if its labels say no role of ours."""
    labels, meta, status = _labels(body), body["metadata"], body.get("status") or {}
    role = _role(labels)
    if role is None:
        return None
    container = _main_container(status, role)
    conditions = _conditions(status)
    ready = conditions.get("Ready", {}).get("status") == "True"
    return PodView(
        name=meta["name"],
        uid=meta["uid"],
        role=role,
        attempt=_number(labels.get(LABEL_ATTEMPT)) if role is Role.LEARNER else 0,
        index=_number(labels.get(LABEL_INDEX)),
        created=_time(meta.get("creationTimestamp")) or 0.0,
        deleted=_time(meta.get("deletionTimestamp")),
        ip=status.get("podIP") or "",
        is_ready=ready,
        running_since=_time(((container.get("state") or {}).get("running") or {}).get("startedAt")),
        ended=_ended(status, container),
        disruption=_disruption(conditions),
        held=_held(status, conditions),
    )


def job_view(body: Body) -> JobView:
    """Return the Job of a learner's attempt."""
    meta, status = body["metadata"], body.get("status") or {}
    conditions = _conditions(status)
    failed = conditions.get("FailureTarget") or conditions.get("Failed") or {}
    return JobView(
        name=meta["name"],
        uid=meta["uid"],
        attempt=_number(_labels(body).get(LABEL_ATTEMPT)),
        created=_time(meta.get("creationTimestamp")) or 0.0,
        replicas=int((body.get("spec") or {}).get("completions") or 1),
        failed_at=_time(failed.get("lastTransitionTime")) if failed.get("status") == "True" else None,
        failure=f"{failed.get('reason', '')}: {failed.get('message', '')}" if failed else "",
        is_complete=conditions.get("Complete", {}).get("status") == "True"
        or conditions.get("SuccessCriteriaMet", {}).get("status") == "True",
        is_deleted="deletionTimestamp" in meta,
        group=_labels(body).get(LABEL_POD_GROUP, ""),
    )


def deployment_view(body: Body) -> DeploymentView | None:
    """Read a Deployment; None if the labels say no role of ours."""
    meta, labels = body["metadata"], _labels(body)
    role = _role(labels)
    if role is None:
        return None
    failure = _conditions(body.get("status") or {}).get("ReplicaFailure", {})
    return DeploymentView(
        name=meta["name"],
        uid=meta["uid"],
        role=role,
        applied=(meta.get("annotations") or {}).get(ANNOTATION_APPLIED, ""),
        replicas=int((body.get("spec") or {}).get("replicas", 1)),
        failure=failure.get("message", "") if failure.get("status") == "True" else "",
        is_deleted="deletionTimestamp" in meta,
        group=_labels(body).get(LABEL_POD_GROUP, ""),
    )


def plan_view(body: Body) -> PlanView | None:
    """Read the plan; None if it is another ConfigMap of the job."""
    data = body.get("data") or {}
    if "job.json" not in data:
        return None
    annotations = body["metadata"].get("annotations") or {}
    return PlanView(
        attempt=_number(_labels(body).get(LABEL_ATTEMPT)),
        applied=annotations.get(ANNOTATION_APPLIED, ""),
        text=data["job.json"],
    )


def _labels(body: Body) -> Mapping[str, str]:
    return body["metadata"].get("labels") or {}


def _role(labels: Mapping[str, str]) -> Role | None:
    return _ROLES.get(labels.get(LABEL_ROLE, ""))


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


def _time(text: str | None) -> float | None:
    return datetime.fromisoformat(text).timestamp() if text else None


def _conditions(status: Body) -> dict[str, Body]:
    return {condition["type"]: condition for condition in status.get("conditions") or []}


def _main_container(status: Body, role: Role) -> Body:
    """Return the container that is named after the role; sidecars do not count."""
    containers = status.get("containerStatuses") or []
    return next((item for item in containers if item.get("name") == role.value), {})


def _ended(status: Body, container: Body) -> Ended | None:
    state = container.get("state") or {}
    if "running" in state:
        return None
    terminated = state.get("terminated") or (container.get("lastState") or {}).get("terminated")
    if terminated is None:
        if status.get("phase") != "Failed":
            return None
        # Evicted, or refused by its node: it never had a container, or lost it.
        words = f"{status.get('reason') or 'Failed'}: {status.get('message') or ''}".rstrip(": ")
        return Ended(exit=Exit(reason=words), started_at=0.0, finished_at=_last_change(status))
    code = int(terminated.get("exitCode", 0))
    number = int(terminated.get("signal") or (code - _SIGNALLED if code > _SIGNALLED else 0))
    said = terminated.get("reason", "")
    return Ended(
        exit=Exit(
            code=None if number else code,
            signal=number or None,
            reason="" if said in ("Error", "Completed") else said,
            termination_message=terminated.get("message", "")[-2048:],
        ),
        started_at=_time(terminated.get("startedAt")) or 0.0,
        finished_at=_time(terminated.get("finishedAt")) or 0.0,
    )


def _last_change(status: Body) -> float:
    times = [_time(condition.get("lastTransitionTime")) for condition in status.get("conditions") or []]
    return max((time for time in times if time is not None), default=0.0)


def _disruption(conditions: Mapping[str, Body]) -> str:
    target = conditions.get("DisruptionTarget", {})
    return str(target.get("reason", "")) if target.get("status") == "True" else ""


def _held(status: Body, conditions: Mapping[str, Body]) -> str:
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return f"{scheduled.get('reason', 'Unschedulable')}: {scheduled.get('message', '')}"
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing", "CrashLoopBackOff"):
            return f"{waiting['reason']}: {waiting.get('message', '')}"
    return ""
