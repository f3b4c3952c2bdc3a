"""What a run tells about itself: conditions and progress, alike on one machine and in a cluster."""

from __future__ import annotations

from enum import StrEnum

from prorl_api.spec.values import Role
from prorl_api.wire.base import WireModel

MAX_LOSS_NOTES = 32
"""More restarts without progress than anybody allows, and little enough for an object."""


class ConditionType(StrEnum):
    """The conditions of a job. `SUCCEEDED` is the summary: Unknown while it runs, then True or False."""

    SUCCEEDED = "Succeeded"
    ACCEPTED = "Accepted"
    SUSPENDED = "Suspended"
    ROLLOUT_READY = "RolloutReady"
    LEARNER_READY = "LearnerReady"
    SANDBOX_READY = "SandboxReady"
    METRICS_AVAILABLE = "MetricsAvailable"
    SANDBOX_ISOLATED = "SandboxIsolated"
    NETWORK_ISOLATED = "NetworkIsolated"
    TRACKED = "Tracked"
    """Only with `spec.tracking`. False: a tracker is not being told; training goes on."""
    BEST_EXPORTED = "BestExported"
    """Only with `checkpoint.exportBest`."""
    HEALTHY = "Healthy"
    """False: advice was given; the reason is the most urgent one's name."""


class ConditionStatus(StrEnum):
    """Kubernetes' three values."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(WireModel):
    """One condition, in the Kubernetes form."""

    type: ConditionType
    status: ConditionStatus
    reason: str
    """One CamelCase word for programs."""
    message: str = ""
    """What is happening and what to do about it."""
    last_transition_time: float
    """Unix time at which `status` last changed."""


class LossNote(WireModel):
    """One unplanned end that the restart budget still counts."""

    role: Role
    index: int
    """Number among the role's members; of the learner the rank, or the pod."""
    attempt: int = 0
    """The learner's attempt; 0 for the other roles."""
    uid: str = ""
    """The member's, in a cluster."""
    started_at: float = 0.0
    """Unix time at which it had started."""
    at: float
    """Unix time at which it was noticed."""
    step: int
    """Highest step completed by then: a later one forgives the loss."""
    how: str
    """How it ended, in words."""


class JobStatus(WireModel):
    """Progress of a run. Must be rebuildable by observation."""

    conditions: tuple[Condition, ...] = ()
    """At most one of each type."""
    step: int = 0
    """Training steps completed."""
    total_steps: int = 0
    """Steps at which the run is done."""
    stage: str = ""
    """Name of the stage in progress; empty before the first."""
    attempt: int = 0
    """The learner's attempt; 0 before the first."""
    weights_id: str = ""
    """The weights last published."""
    restarts: dict[str, int] = {}
    """Restarts by role since the run began."""
    last_checkpoint_step: int | None = None
    """Completed steps that the newest checkpoint contains."""
    last_kl: str = ""
    """KL to the reference at the newest step, as a string: the Kubernetes conventions allow no floats."""
    last_accuracy: str = ""
    """Validation accuracy at the newest validation, as a string."""
    last_metrics_time: float | None = None
    """Unix time of the newest metrics."""
    last_reset: str = ""
    """Name of the newest reset."""
    resets: int = 0
    """Resets numbered so far; never decreases, so that no number is used twice."""
    losses: tuple[LossNote, ...] = ()
    """Ends that count against `spec.restarts.maxRestarts`, the newest at most."""
    updated: float = 0.0
    """Unix time of this status."""

    def condition(self, kind: ConditionType) -> Condition | None:
        """Return the condition of that type, if it is known yet."""
        return next((condition for condition in self.conditions if condition.type is kind), None)

    def without_moments(self) -> JobStatus:
        """Return it without the times that change with every look, so that two looks can be compared."""
        return self.model_copy(update={"updated": 0.0, "last_metrics_time": None})
