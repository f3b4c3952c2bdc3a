"""The record of one reference reset: what was seen, what was decided, what came of it.

In a cluster the same content is a `ProRLReset` object; on one machine it is a file in the run folder.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from prorl_api.spec.values import OptimizerAction, ResetSource
from prorl_api.wire.base import WireModel


class ResetCondition(StrEnum):
    """Where a reset stands. The last three are final, and so is `applied`."""

    PENDING = "pending"
    """Proposed; waits for approval, or only recorded in dry-run mode."""
    APPROVED = "approved"
    """To be posted to the learner until it acknowledges."""
    APPLIED = "applied"
    VETOED = "vetoed"
    EXPIRED = "expired"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        """Nothing more will happen to it."""
        return self not in (ResetCondition.PENDING, ResetCondition.APPROVED)


class EvidenceOrigin(WireModel):
    """Where evidence was read, if not in the learner's own series."""

    prometheus: str
    """Name of the installation's Prometheus, or its address."""
    query: str
    """PromQL that shows the values."""
    window_start: float
    """Unix time of the scrape that saw the first step of the window first."""
    window_end: float
    """Unix time of the scrape that saw the last step of the window first."""
    steps_seen: Annotated[int, Field(ge=0)]
    """Steps of the window that a scrape saw."""
    steps_unseen: Annotated[int, Field(ge=0)]
    """Steps of the window that no scrape saw: nothing is known of them, and nothing was concluded from them."""


class Evidence(WireModel):
    """Why a reset was proposed, so that a reader can check it."""

    trigger: str
    """Name of the trigger; `manual` if a person asked."""
    metric: str
    """Name in the metrics table."""
    rule: str
    """The trigger's rule in words, with its numbers."""
    steps: tuple[int, ...]
    """The window: steps whose values follow."""
    values: tuple[float, ...]
    """The metric at those steps."""
    reason: str
    """One sentence for people."""
    origin: EvidenceOrigin | None = None
    """Where it was read; None: in the learner's own series."""


class ResetEffect(StrEnum):
    """What followed a reset, as far as one run can tell."""

    HELPED = "helped"
    """Accuracy after it is above what the validations before it let expect."""
    NOTHING = "nothing"
    """Nothing that can be told apart from training and noise."""
    HURT = "hurt"
    """Accuracy after it is below what the validations before it let expect."""


class Estimate(WireModel):
    """A mean with its 95 % interval."""

    value: float
    """The mean."""
    low: float | None = None
    """Lower end of the interval; None: too few values for one."""
    high: float | None = None
    """Upper end of the interval."""
    count: Annotated[int, Field(ge=0, le=2**31 - 1)]
    """Values that it is the mean of."""

    def __str__(self) -> str:
        """`0.512 (0.499 to 0.525)`."""
        if self.low is None or self.high is None:
            return f"{self.value:.3f}"
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


class Judgement(WireModel):
    """What followed a reset, told once enough validations came after it. `control/resets/judgement.py` says how."""

    effect: ResetEffect
    accuracy_before: Estimate
    """Over the validations before it, at most ten, back to the reset before."""
    accuracy_after: Estimate
    """Over the validations after it, at most ten, up to the next reset."""
    change: Estimate
    """From the mean before to the mean after."""
    expected_by_trend: float | None = None
    """Accuracy where the line through the validations before it would have led; None: it had no slope beyond doubt."""
    kl_after: Estimate | None = None
    """Over the last steps up to `until_step`."""
    until_step: int
    """Of the last validation that was looked at."""

    def __str__(self) -> str:
        """One line for people."""
        counts = f"{self.accuracy_before.count} and {self.accuracy_after.count} validations"
        trend = f"; the line before led to {self.expected_by_trend:.3f}" if self.expected_by_trend is not None else ""
        sign = f"{self.change.value:+.3f}"
        interval = (
            f" ({self.change.low:+.3f} to {self.change.high:+.3f})"
            if self.change.low is not None and self.change.high is not None
            else ""
        )
        return (
            f"{self.effect.value}: held-out accuracy {self.accuracy_before} before, {self.accuracy_after} after, "
            f"{sign}{interval}, {counts} up to step {self.until_step}{trend}"
        )


class ResetRecord(WireModel):
    """One reset, from proposal to judgement."""

    name: Annotated[str, Field(max_length=253)]
    """`<job>-reset-<n>`."""
    number: Annotated[int, Field(ge=1)]
    """Counts the job's resets from 1; never used twice."""
    uid: str
    """ULID on one machine; the object's uid in a cluster. Its identity everywhere."""
    created: float
    """Unix time."""
    attempt: int
    """The learner's attempt that the evidence came from."""
    evidence_step: int
    """Completed steps when it was proposed."""
    evidence: Evidence
    source: ResetSource
    optimizer: OptimizerAction
    apply_at_step: int | None = None
    """At the boundary after this many completed steps; None: the next boundary."""
    expires_after_step: int | None = None
    """Not applied once more steps than this are completed."""
    condition: ResetCondition
    dry_run: bool = False
    """Recorded only, never applied."""
    message: str = ""
    """Why it was vetoed, expired or failed."""
    applied_step: int | None = None
    """Completed steps at the boundary where it was applied."""
    digest_before: str | None = None
    """Digest of the reference that was replaced."""
    digest_after: str | None = None
    """Digest of the reference that replaced it."""
    validation_before: float | None = None
    """Accuracy of the last validation before it was applied."""
    validation_after: float | None = None
    """Accuracy of the first validation after it was applied."""
    kl_before: Estimate | None = None
    """KL over the last steps before it was applied."""
    judgement: Judgement | None = None
    """What followed it; None: not applied, or too few validations on either side of it."""
