"""What a source of signals gives: lines to decide on, and what is to be said about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol

from prorl_api.resets import EvidenceOrigin
from prorl_api.wire.learner import LearnerStatus
from prorl_control.resets.series import Series


class SignalReason(StrEnum):
    """Why `MetricsAvailable` is what it is, where a Prometheus is the source."""

    READ = "Read"
    NOT_READ_YET = "NotReadYet"
    READING_HISTORY = "ReadingHistory"
    UNKNOWN_PROMETHEUS = "UnknownPrometheus"
    URL_NOT_ALLOWED = "UrlNotAllowed"
    UNREACHABLE = "Unreachable"
    UNAUTHORIZED = "Unauthorized"
    REFUSED = "Refused"
    BAD_ANSWER = "BadAnswer"
    NO_SERIES = "NoSeries"
    STALE = "Stale"
    FROM_THE_FUTURE = "FromTheFuture"
    TWO_LEARNERS = "TwoLearners"
    UNKNOWN_ATTEMPT = "UnknownAttempt"
    AHEAD_OF_LEARNER = "AheadOfLearner"
    CONTRADICTORY = "Contradictory"
    INCOMPLETE = "Incomplete"
    NOT_FINITE = "NotFinite"
    STEPS_FALL = "StepsFall"
    SIGNAL_FAULTY = "SignalFaulty"
    SIGNAL_EMPTY = "SignalEmpty"


_PASSABLE = frozenset(
    {
        SignalReason.READ,
        SignalReason.CONTRADICTORY,
        SignalReason.INCOMPLETE,
        SignalReason.NOT_FINITE,
        SignalReason.SIGNAL_FAULTY,
        SignalReason.SIGNAL_EMPTY,
    }
)
"""What was wrong is left out of the lines; what is left can be decided on."""


_NOT_YET = frozenset({SignalReason.NOT_READ_YET, SignalReason.READING_HISTORY})


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalFault:
    """One thing that is wrong with what a Prometheus says."""

    reason: SignalReason
    message: str

    @property
    def blocks(self) -> bool:
        """Whether nothing at all is to be decided on these lines."""
        return self.reason not in _PASSABLE

    @property
    def is_for_a_moment(self) -> bool:
        """Whether nothing is wrong: whoever has just begun must not decide differently meanwhile."""
        return self.reason in _NOT_YET


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a source says of one job now."""

    lines: list[dict[str, Any]] = field(default_factory=list)
    """Of the surviving timeline, ascending; empty while nothing may be decided on."""
    fault: SignalFault | None = None
    """None: all is well."""
    name: str = ""
    """What the Prometheus is called; empty: the learner's own series."""
    origin: OriginOf | None = None
    """Says of evidence where it was read; None: in the learner's own series."""


class OriginOf(Protocol):
    """Tells where evidence comes from."""

    def __call__(self, metric: str, steps: Sequence[int]) -> EvidenceOrigin:
        """Return the origin of the values of a metric at these steps."""


class SignalSource(Protocol):
    """Where the lines of one job come from: the learner's own series, or a Prometheus."""

    def read(self, now: float, learner: LearnerStatus | None, *, heard_now: bool = True) -> Reading:
        """Return what is known now; never waits.

        Args:
            now: Unix time.
            learner: What the learner said last.
            heard_now: Whether it said so in this look.
        """


class LearnerSeries:
    """The learner's own series, which it gives on asking."""

    def __init__(self, series: Series) -> None:
        self._series = series

    def read(self, now: float, learner: LearnerStatus | None, *, heard_now: bool = True) -> Reading:
        """Return the lines as they are known."""
        del now, learner, heard_now
        return Reading(lines=self._series.lines)


class WithStandIn:
    """A Prometheus, and the learner's own series while it is away: `spec.monitoring.onMissing: learner`."""

    def __init__(self, first: SignalSource, second: SignalSource) -> None:
        self._first, self._second = first, second

    def read(self, now: float, learner: LearnerStatus | None, *, heard_now: bool = True) -> Reading:
        """Return the first one's lines, or else those of the second with what is wrong with the first."""
        reading = self._first.read(now, learner, heard_now=heard_now)
        if reading.fault is None or not reading.fault.blocks or reading.fault.is_for_a_moment:
            return reading
        fault = replace(reading.fault, message=f"{reading.fault.message}; the learner's own series stand in")
        return replace(self._second.read(now, learner, heard_now=heard_now), fault=fault)
