"""Which job is to run: the object's spec, or what runs already with the edits that may be taken up now. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from prorl_api.crd import job_from_object
from prorl_api.errors import Fault, SpecError
from prorl_api.manifest import validate_job
from prorl_api.spec.edits import taken_up, waiting
from prorl_api.spec.job import ProRLJob
from prorl_api.status import Condition, ConditionStatus, ConditionType, JobStatus
from prorl_operator.kube.views import Body, PlanView
from prorl_operator.manifests import cluster_faults, plan_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """The outcome."""

    job: ProRLJob | None
    """What is to run; None: nothing, the spec is faulty and nothing runs yet."""
    reason: str = "Valid"
    message: str = "the manifest is valid"

    @property
    def is_valid(self) -> bool:
        """Whether the newest spec holds, or will at the next attempt."""
        return self.reason in ("Valid", "WaitsForNextAttempt")


class ManifestGate:
    """Judges the object of one job; again only when its spec or what runs has changed, since judging costs more than
    the rest of a look."""

    def __init__(self) -> None:
        self._spec: tuple[int, ProRLJob | SpecError] | None = None
        self._known: tuple[tuple[int, str | None], Acceptance] | None = None

    def accept(self, body: Body, running: PlanView | None) -> Acceptance:
        """Judge as `accept` does; of the same spec the very same object comes back."""
        generation = int(body["metadata"]["generation"])
        if self._spec is None or self._spec[0] != generation:
            self._spec = generation, _read(body)
        key = (generation, None if running is None else running.text)
        if self._known is None or self._known[0] != key:
            self._known = key, _accept(self._spec[1], running)
        return self._known[1]


def accept(body: Body, running: PlanView | None) -> Acceptance:
    """ManifestGate an object.

    Args:
        body: The ProRLJob as the API server has it.
        running: What the current attempt was started with; None: no attempt goes on, the whole spec can be taken.
    """
    return _accept(_read(body), running)


def _read(body: Body) -> ProRLJob | SpecError:
    """Return the spec, or every fault of it."""
    try:
        edited = job_from_object(_plain(body))
        if faults := cluster_faults(edited):
            raise SpecError(faults, source="in a cluster the manifest")
    except SpecError as error:
        return error
    return edited


def _accept(edited: ProRLJob | SpecError, running: PlanView | None) -> Acceptance:
    if isinstance(edited, SpecError):
        job = None if running is None else _running_job(running)
        return Acceptance(job=job, reason="Invalid", message=str(edited))
    if running is None or running.text == plan_text(edited):  # as a rule what runs is what is asked for
        return Acceptance(job=edited)
    now = _running_job(running)
    try:
        job = taken_up(now, edited)
    except SpecError as error:
        message = f"the edit holds from the next attempt on, as a whole: {error}"
        return Acceptance(job=now, reason="WaitsForNextAttempt", message=message)
    if job != edited:
        message = f"these edited fields hold from the next attempt on: {', '.join(waiting(job, edited))}"
        return Acceptance(job=job, reason="WaitsForNextAttempt", message=message)
    return Acceptance(job=job)


def refused(accepted: Acceptance, faults: list[Fault]) -> Acceptance:
    """Return the same, unless there are faults."""
    if not faults:
        return accepted
    return Acceptance(job=None, reason="Invalid", message=str(SpecError(faults, source="in this cluster the job")))


def with_acceptance(status: JobStatus, accepted: Acceptance, now: float) -> JobStatus:
    """Return the status with the condition `Accepted` as judged; of a job that never ran, with the summary too."""
    state = ConditionStatus.TRUE if accepted.is_valid else ConditionStatus.FALSE
    conditions = {condition.type: condition for condition in status.conditions}
    before = conditions.get(ConditionType.ACCEPTED)
    conditions[ConditionType.ACCEPTED] = Condition(
        type=ConditionType.ACCEPTED,
        status=state,
        reason=accepted.reason,
        message=accepted.message,
        last_transition_time=before.last_transition_time if before is not None and before.status is state else now,
    )
    if accepted.job is None:
        summary = conditions.get(ConditionType.SUCCEEDED)
        conditions[ConditionType.SUCCEEDED] = Condition(
            type=ConditionType.SUCCEEDED,
            status=ConditionStatus.UNKNOWN,
            reason="NotAccepted",
            message="nothing was created; correct the spec",
            last_transition_time=now
            if summary is None or summary.status is not ConditionStatus.UNKNOWN
            else summary.last_transition_time,
        )
    return status.model_copy(update={"conditions": tuple(conditions.values())})


def with_trouble(status: JobStatus, message: str, now: float) -> JobStatus:
    """Return the status of a job whose children the API refuses: the summary says what was refused, and why."""
    before = status.condition(ConditionType.SUCCEEDED)
    is_known = before is not None and before.status is ConditionStatus.UNKNOWN
    trouble = Condition(
        type=ConditionType.SUCCEEDED,
        status=ConditionStatus.UNKNOWN,
        reason="RefusedByServer",
        message=f"{message}. It is tried again; correct the spec, or the operator's rights",
        last_transition_time=before.last_transition_time if before is not None and is_known else now,
    )
    others = tuple(condition for condition in status.conditions if condition.type is not ConditionType.SUCCEEDED)
    return status.model_copy(update={"conditions": (trouble, *others)})


def _running_job(running: PlanView) -> ProRLJob:
    return validate_job(json.loads(running.text), source="the ConfigMap of the running job")


def _plain(body: Body) -> dict[str, Any]:
    return {key: body[key] for key in ("apiVersion", "kind", "metadata", "spec", "status") if key in body}
