"""What the operator remembers of a job between two passes. All of it can be found again after a restart, from the
status, the objects and the learner; remembering saves asking.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from prorl_api.resets import ResetCondition
from prorl_api.spec.job import ProRLJob
from prorl_api.spec.values import Role
from prorl_api.status import JobStatus
from prorl_api.wire.learner import LearnerStatus, ResetOutcome
from prorl_control.decision import Event
from prorl_control.members import Exit, Loss
from prorl_control.plan import RunPlan, plan_in_pods
from prorl_control.resets.changes import Place
from prorl_control.resets.series import Series
from prorl_control.resets.triggers import DECISIVE
from prorl_operator.acceptance import ManifestGate
from prorl_operator.actions import BaseDigest
from prorl_operator.kube.reset_objects import ResetObjects
from prorl_operator.status_writer import StatusWriter


@dataclass(slots=True, kw_only=True)
class JobState:
    """What is remembered of one ProRLJob, by uid."""

    uid: str
    resets: ResetObjects
    losses: tuple[Loss, ...]
    restarts_before: dict[str, int]
    highest_step: int
    status: JobStatus
    """As last computed."""
    statuses: StatusWriter = field(default_factory=StatusWriter)
    learner: LearnerStatus | None = None
    series: Series = field(default_factory=lambda: Series(DECISIVE))
    """A long run has thousands of lines, and an operator hundreds of runs: no more is kept than is decided on. Every
    pass says how much that is."""
    heard_at: float = 0.0
    """When the learner answered last, Unix time."""
    decided: Place | None = None
    """Line of a Prometheus up to which resets were decided on; None: nothing is known of earlier looks."""
    outcomes: tuple[ResetOutcome, ...] = ()
    asked_first: dict[int, float] = field(default_factory=dict)
    """When each attempt's learner was first asked."""
    events: frozenset[Event] = frozenset()
    told_resets: dict[str, ResetCondition] | None = None
    """Where each reset stood when events last told of it; None: this operator has told of none yet."""
    gate: ManifestGate = field(default_factory=ManifestGate)
    planned: tuple[ProRLJob, RunPlan] | None = None
    base_digest: BaseDigest = field(default_factory=BaseDigest)
    held: str = ""
    """Why the newest Kubernetes Job has no pods."""
    held_asked: float = 0.0

    def plan_of(self, job: ProRLJob) -> RunPlan:
        """Return the plan, made once for the same object, which the gate gives while the spec is the same."""
        if self.planned is None or self.planned[0] is not job:
            self.planned = job, plan_in_pods(job)
        return self.planned[1]

    def begin_anew(self) -> None:
        """Begin again after an edit of a run that was over: its losses stay counted, and no budget is spent by them."""
        for loss in self.losses:
            self.restarts_before[loss.role.value] = self.restarts_before.get(loss.role.value, 0) + 1
        self.losses = ()


def from_status(status: JobStatus, *, uid: str, resets: ResetObjects) -> JobState:
    """Build the state from what a status tells an operator that has just begun."""
    losses = tuple(
        Loss(
            role=note.role,
            index=note.index,
            attempt=note.attempt,
            started_at=note.started_at,
            at=note.at,
            step=note.step,
            exit=Exit(reason=note.how),
            uid=note.uid,
        )
        for note in status.losses
    )
    counted = {role.value: sum(loss.role is role for loss in losses) for role in Role}
    before = {role: max(0, total - counted.get(role, 0)) for role, total in status.restarts.items()}
    return JobState(
        uid=uid,
        resets=resets,
        losses=losses,
        restarts_before=before,
        highest_step=status.step,
        status=status,
    )


class JobStates:
    """The states of all jobs, by namespace and name."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], JobState] = {}

    def of(self, key: tuple[str, str], uid: str, begin: Callable[[], JobState]) -> JobState:
        """Return the state of the job; that of an earlier object of the same name is dropped."""
        found = self._kept.get(key)
        if found is None or found.uid != uid:
            found = self._kept[key] = begin()
        return found

    def forget(self, key: tuple[str, str]) -> None:
        """Forget a job that is gone."""
        self._kept.pop(key, None)
