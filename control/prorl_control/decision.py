"""What goes into a reconciliation and what comes out of it: `Observed` and `Decision`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from prorl_api.resets import ResetRecord
from prorl_api.status import JobStatus
from prorl_api.wire.learner import LearnerStatus, ResetCommand
from prorl_control.members import Exit, Loss, Member, MemberKey, MemberStart
from prorl_control.signals.reading import Reading

LINES_FOR_STATUS = 200
"""Newest lines of the metrics that a body hands over for the status; a validation may be some steps old."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """Everything a decision depends on, apart from the plan and the clock."""

    members: tuple[Member, ...] = ()
    """At most one per (role, index, attempt). Those that ended stay until they are replaced."""
    learner: LearnerStatus | None = None
    """The newest answer of the learner's current attempt; None while there is none."""
    resets: tuple[ResetRecord, ...] = ()
    metrics: tuple[Mapping[str, Any], ...] = ()
    """Surviving lines of the metrics table, ascending; the newest few suffice."""
    metrics_at: float | None = None
    """Unix time of the last successful read of the metrics; None: never."""
    signals: Reading | None = None
    """What a Prometheus says that resets are decided on; None: `metrics` are."""
    highest_step: int = 0
    """Highest step that was ever completed, over all attempts."""
    checkpoint_step: int | None = None
    """Step of the checkpoint that the run folder would continue from."""
    folder_attempt: int = 0
    """Highest attempt that the run folder shows."""
    taken_attempt: int = 0
    """Highest attempt that a learner was told of when it was refused its own, where the body cannot see the run
    folder; 0: none."""
    suspend: bool = False
    """Asked to stop, beside `spec.suspend`."""
    suspend_reason: str = ""
    losses: tuple[Loss, ...] = ()
    """Those known so far; `prorl_control.outcome.with_new_losses` adds what is new."""
    restarts_before: Mapping[str, int] = field(default_factory=dict)
    """Restarts by role before this body's own record of losses began."""
    previous: JobStatus | None = None
    """The status last written."""
    settled: Outcome | None = None
    """An outcome other than `running` that was decided before and is being carried out: it stands, however the
    members that are ended for it end."""


class OutcomeKind(StrEnum):
    """Where the whole run stands."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SUSPENDED = "suspended"

    @property
    def is_settled(self) -> bool:
        """Succeeded or failed: it stands until the spec is edited."""
        return self in (OutcomeKind.SUCCEEDED, OutcomeKind.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Where the whole run stands, and why."""

    kind: OutcomeKind
    reason: str
    """One CamelCase word."""
    message: str = ""
    """What happened and what to do about it."""
    quote: str = ""
    """End of the message, if it quotes what a member said last; a body that shows the member's log leaves it out."""
    member: MemberKey | None = None
    """Whose end decided it, so that its log can be shown."""
    exit: Exit | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StopCall:
    """`POST /v1/stop` at the learner; repeated until it has ended."""

    checkpoint: bool = True
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetCall:
    """`POST /v1/resets` at the learner; repeated until the outcome is known."""

    command: ResetCommand


class EventKind(StrEnum):
    """What an event is about."""

    STARTED = "Started"
    RESTARTED = "Restarted"
    LOST = "Lost"
    ENDING = "Ending"
    STOPPING = "Stopping"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SUSPENDED = "Suspended"
    NOT_ACCEPTED = "NotAccepted"
    RESET = "Reset"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something a person may want to know. The same event may come out of several passes; show it once."""

    kind: EventKind
    message: str
    subject: str = ""
    """Name of a member, or empty: the run."""
    is_warning: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do now. Carrying it out twice does no harm."""

    ensure: tuple[MemberStart, ...] = ()
    remove: tuple[Member, ...] = ()
    """Members to end, all of them alive."""
    calls: tuple[StopCall | ResetCall, ...] = ()
    status: JobStatus
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None
    """Seconds after which something falls due by time alone."""
    outcome: Outcome
    is_over: bool = False
    """The outcome is final and no member is left."""
