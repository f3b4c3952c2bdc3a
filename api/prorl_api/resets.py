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
