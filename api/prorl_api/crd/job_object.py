"""`ProRLJob` as a Kubernetes object: its status, and the manifest that an object carries. Pure."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from prorl_api.crd.objects import (
    CONDITIONS,
    MAX_MESSAGE,
    Count,
    ObjectCondition,
    ObjectModel,
    ObjectTime,
    from_time,
    shortened,
    to_time,
)
from prorl_api.manifest import validate_job
from prorl_api.names import LABEL_JOB, LABEL_ROLE
from prorl_api.spec.job import ProRLJob
from prorl_api.spec.values import Role
from prorl_api.status import MAX_LOSS_NOTES, Condition, ConditionStatus, ConditionType, JobStatus, LossNote

_Text = Annotated[str, Field(max_length=256)]
_Metric = Annotated[str, Field(max_length=32)]
_KEPT_METADATA = ("name", "namespace")


class ObjectLoss(ObjectModel):
    """One unplanned end of a member that the restart budget still counts."""

    role: Role
    index: Count
    """Number among the role's members; of the learner the rank, or the pod."""
    attempt: Count = 0
    """The learner's attempt; 0 for the other roles."""
    uid: _Text = ""
    """The pod's."""
    started_at: ObjectTime | None = None
    """When it had started."""
    at: ObjectTime
    """When it was noticed."""
    step: Count
    """Highest step completed by then: a later one forgives the loss."""
    how: Annotated[str, Field(max_length=MAX_MESSAGE)]
    """How it ended, in words."""


class JobObjectStatus(ObjectModel):
    """Progress of a run. Written by the operator, rebuilt by observation."""

    conditions: Annotated[tuple[ObjectCondition, ...], CONDITIONS] = ()
    """`Succeeded` is the summary: Unknown while it runs, then True or False."""
    observed_generation: Annotated[int, Field(ge=0, le=2**53)] | None = None
    """Generation of the spec that this status speaks of."""
    step: Count = 0
    """Training steps completed."""
    total_steps: Count = 0
    """Steps at which the run is done."""
    stage: _Text = ""
    """Name of the stage in progress; empty before the first."""
    attempt: Count = 0
    """The learner's attempt; 0 before the first."""
    weights_id: _Text = ""
    """The weights last published."""
    restarts: Annotated[dict[str, Count], Field(max_length=16)] = {}
    """Restarts by role since the run began."""
    last_checkpoint_step: Count | None = None
    """Completed steps that the newest checkpoint contains."""
    last_kl: _Metric = ""
    """KL to the reference at the newest step, nats per token."""
    last_accuracy: _Metric = ""
    """Accuracy of the newest validation, 0 to 1."""
    last_metrics_time: ObjectTime | None = None
    """Time of the newest metrics."""
    last_reset: _Text = ""
    """Name of the newest applied ProRLReset."""
    resets: Count = 0
    """Resets numbered so far; never decreases, so that no number is used twice."""
    losses: Annotated[tuple[ObjectLoss, ...], Field(max_length=MAX_LOSS_NOTES)] = ()
    """Ends that count against `spec.restarts.maxRestarts`."""
    updated: ObjectTime | None = None
    """Time of this status."""
    rollout_replicas: Count = 0
    """Rollout servers there are, ready or not: the scale subresource."""
    rollout_selector: _Text = ""
    """Labels of the rollout servers' pods, for autoscalers."""


def job_from_object(document: dict[str, Any]) -> ProRLJob:
    """Return the job that an object of the API server describes, without what the server added to it.

    Raises:
        SpecError: With every fault found: the object was stored under another version of the schema.
    """
    metadata = {key: value for key, value in document.get("metadata", {}).items() if key in _KEPT_METADATA}
    manifest = {key: value for key, value in document.items() if key != "status"} | {"metadata": metadata}
    return validate_job(manifest, source=f"ProRLJob {metadata.get('namespace', '')}/{metadata.get('name', '')}")


def status_to_object(status: JobStatus, *, job_name: str, generation: int, rollout_replicas: int = 0) -> dict[str, Any]:
    """`.status` of the object. Times are cut to whole seconds.

    Args:
        status: Of the run.
        job_name: `metadata.name`.
        generation: `metadata.generation` of the spec that `status` speaks of.
        rollout_replicas: Rollout servers there are, ready or not.
    """
    conditions = tuple(
        ObjectCondition(
            type=condition.type.value,
            status=condition.status.value,
            reason=condition.reason,
            message=shortened(condition.message),
            last_transition_time=to_time(condition.last_transition_time),
            observed_generation=generation,
        )
        for condition in status.conditions
    )
    losses = tuple(
        ObjectLoss(
            **loss.model_dump(exclude={"started_at", "at", "how"}),
            started_at=_to_time(loss.started_at),
            at=to_time(loss.at),
            how=shortened(loss.how),
        )
        for loss in status.losses
    )
    return JobObjectStatus(
        **status.model_dump(exclude={"conditions", "last_metrics_time", "losses", "updated"}),
        conditions=conditions,
        observed_generation=generation,
        last_metrics_time=None if status.last_metrics_time is None else to_time(status.last_metrics_time),
        losses=losses,
        updated=_to_time(status.updated),
        rollout_replicas=rollout_replicas,
        rollout_selector=f"{LABEL_JOB}={job_name},{LABEL_ROLE}={Role.ROLLOUT.value}",
    ).model_dump(mode="json", by_alias=True, exclude_none=True)


def status_from_object(document: dict[str, Any] | None) -> JobStatus:
    """Return the run's status that `.status` holds; conditions of other versions are passed over. None: nothing yet.

    Raises:
        ValidationError: It is no status of ours (pydantic).
    """
    stored = JobObjectStatus.model_validate(document or {})
    known = {kind.value for kind in ConditionType}
    conditions = tuple(
        Condition(
            type=ConditionType(condition.type),
            status=ConditionStatus(condition.status),
            reason=condition.reason,
            message=condition.message,
            last_transition_time=from_time(condition.last_transition_time),
        )
        for condition in stored.conditions
        if condition.type in known
    )
    losses = tuple(
        LossNote(
            **loss.model_dump(exclude={"started_at", "at"}),
            started_at=_from_time(loss.started_at),
            at=from_time(loss.at),
        )
        for loss in stored.losses
    )
    read = {"conditions", "last_metrics_time", "losses", "updated"}
    return JobStatus(
        **{name: getattr(stored, name) for name in JobStatus.model_fields if name not in read},
        conditions=conditions,
        last_metrics_time=None if stored.last_metrics_time is None else from_time(stored.last_metrics_time),
        losses=losses,
        updated=_from_time(stored.updated),
    )


def _to_time(unix_seconds: float) -> str | None:
    """Zero stands for no time."""
    return to_time(unix_seconds) if unix_seconds else None


def _from_time(text: str | None) -> float:
    return 0.0 if text is None else from_time(text)
