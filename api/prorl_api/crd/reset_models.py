"""What a `ProRLReset` holds, as models: its definition is generated from them.

The spec says what was seen and what may happen; people edit `approved`, `vetoed` and `message` alone. The status says
what came of it. A person asks for a reset by creating an object with `jobName` alone: what is left open there is
settled once, when the operator first sees it, and kept in the status.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from prorl_api.crd.objects import (
    CONDITIONS,
    MAX_MESSAGE,
    Count,
    Decimal,
    Digest,
    ObjectCondition,
    ObjectModel,
    ObjectTime,
)
from prorl_api.resets import ResetEffect
from prorl_api.spec.base import Cel, Change, Name
from prorl_api.spec.values import OptimizerAction, ResetSource

MAX_EVIDENCE = 1000
"""Values listed at most, the newest ones: an object must stay far below etcd's 1.5 MB."""

MAX_LINE = 4096
_Line = Annotated[str, Field(max_length=MAX_LINE)]


class ObjectEvidence(ObjectModel):
    """Why a reset was proposed, so that a reader can check it."""

    trigger: Annotated[str, Field(min_length=1, max_length=63)]
    """Name of the trigger in `spec.referenceReset.triggers`, `stage` for a stage's reset, `manual` for a person's."""
    metric: Annotated[str, Field(min_length=1, max_length=253)]
    """Name in the metrics table."""
    prometheus: _Line | None = None
    """Where the values were read: name of the installation's Prometheus, or its address; unset: the learner's own
    series."""
    query: _Line | None = None
    """PromQL that shows the values."""
    window_start: ObjectTime | None = None
    """When a scrape first saw the first step of the window."""
    window_end: ObjectTime | None = None
    """When a scrape first saw the last step of the window."""
    steps_seen: Count | None = None
    """Steps of the window that a scrape saw."""
    steps_unseen: Count | None = None
    """Steps of the window that no scrape saw: nothing is known of them, and nothing was concluded from them."""
    rule: _Line
    """The trigger's rule in words, with its numbers."""
    reason: Annotated[str, Field(max_length=MAX_MESSAGE)]
    """One sentence for people."""
    steps: Annotated[tuple[Count, ...], Field(max_length=MAX_EVIDENCE)] = ()
    """The window: steps whose values follow."""
    values: Annotated[tuple[Decimal, ...], Field(max_length=MAX_EVIDENCE)] = ()
    """The metric at those steps."""
    omitted: Count = 0
    """Older steps of the window that are not listed."""


class ResetObjectSpec(ObjectModel):
    """What was seen, and whether it may happen."""

    job_name: Annotated[Name, Change.IMMUTABLE]
    """The ProRLJob, in the same namespace, whose reference is reset."""
    number: Annotated[Annotated[int, Field(ge=1, le=2**31 - 1)] | None, Change.IMMUTABLE] = None
    """Counts the job's resets from 1; unset: the next one."""
    attempt: Annotated[Count | None, Change.IMMUTABLE] = None
    """The learner's attempt that the evidence came from; unset: the one under way."""
    evidence: Annotated[ObjectEvidence | None, Change.IMMUTABLE] = None
    """Why it was proposed; unset: a person asks for it."""
    evidence_step: Annotated[Count | None, Change.IMMUTABLE] = None
    """Completed steps when it was proposed; unset: when the operator first sees it."""
    apply_at_step: Annotated[Count | None, Change.IMMUTABLE] = None
    """At the boundary after this many completed steps; unset: the next boundary."""
    expires_after_step: Annotated[Count | None, Change.IMMUTABLE] = None
    """Not applied once more steps than this are completed; unset: never."""
    source: Annotated[ResetSource | None, Change.IMMUTABLE] = None
    """What the reference becomes; unset: as the job's `spec.referenceReset.source` says."""
    optimizer: Annotated[OptimizerAction | None, Change.IMMUTABLE] = None
    """What happens to the optimizer's state; unset: as the job's `spec.referenceReset.optimizer` says."""
    dry_run: Annotated[bool, Change.IMMUTABLE] = False
    """Recorded only, never applied. Needs `approved: false`."""
    approved: bool = True
    """It may be applied. False: it waits for a person to set this, or `vetoed`."""
    vetoed: bool = False
    """A person says no. Only while `approved` is false: an approved one may be being applied already."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """Why a person asks for it, approves or vetoes it."""

    immutable_remedy: ClassVar[str] = "create another reset"
    server_rules: ClassVar[tuple[Cel, ...]] = (
        Cel(
            "!(self.approved && self.vetoed)",
            "`approved` and `vetoed` exclude one another; an approved reset cannot be taken back",
        ),
        Cel(
            "!(self.approved && self.dryRun)",
            "`dryRun` is never applied and cannot be `approved`; set `approved: false`, or create one without `dryRun`",
        ),
        Cel(
            "self.approved || !oldSelf.approved",
            "`approved` cannot be taken back: the learner may be applying it; create another reset instead",
        ),
        Cel(
            "has(self.evidence) || !has(self.evidenceStep)",
            "`evidenceStep` is the step of `evidence`, which is not there; leave it out: it is settled when first seen",
        ),
        Cel(
            "!has(self.applyAtStep) || !has(self.expiresAfterStep) || self.applyAtStep <= self.expiresAfterStep",
            "`expiresAfterStep` comes before `applyAtStep`: it would never be applied",
        ),
        Cel("self.vetoed || !oldSelf.vetoed", "`vetoed` is final; create another reset instead"),
    )


class ObjectEstimate(ObjectModel):
    """A mean with its 95 % interval."""

    value: Decimal
    """The mean."""
    low: Decimal = ""
    """Lower end of the interval; empty: too few values for one."""
    high: Decimal = ""
    """Upper end of the interval."""
    count: Count
    """Values that it is the mean of."""


class ObjectJudgement(ObjectModel):
    """What followed a reset, told once enough validations came after it."""

    effect: ResetEffect
    """`helped`, `nothing` (that can be told apart from training and noise) or `hurt`."""
    accuracy_before: ObjectEstimate
    """Over the validations before it, at most ten, back to the reset before."""
    accuracy_after: ObjectEstimate
    """Over the validations after it, at most ten, up to the next reset."""
    change: ObjectEstimate
    """From the mean before to the mean after."""
    expected_by_trend: Decimal = ""
    """Accuracy where the line through the validations before it led; empty: it had no slope beyond doubt."""
    kl_after: ObjectEstimate | None = None
    """KL over the last steps up to `untilStep`, nats."""
    until_step: Count
    """Of the last validation that was looked at."""


class ResetObjectStatus(ObjectModel):
    """What came of it. Written by the operator."""

    conditions: Annotated[tuple[ObjectCondition, ...], CONDITIONS] = ()
    """`Applied` is the summary: Unknown until it is decided; its reason names where the reset stands."""
    number: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    """Its number among the job's resets."""
    attempt: Count | None = None
    """The learner's attempt that the evidence came from."""
    evidence_step: Count | None = None
    """Completed steps when it was proposed, or first seen."""
    source: ResetSource | None = None
    """What the reference becomes."""
    optimizer: OptimizerAction | None = None
    """What happens to the optimizer's state."""
    applied_step: Count | None = None
    """Completed steps at the boundary where it was applied."""
    reference_digest_before: Digest | None = None
    """Digest of the reference that was replaced."""
    reference_digest_after: Digest | None = None
    """Digest of the reference that replaced it."""
    validation_before: Decimal = ""
    """Accuracy of the last validation before it was applied, 0 to 1; empty: unknown."""
    validation_after: Decimal = ""
    """Accuracy of the first validation after it was applied, 0 to 1; empty: unknown."""
    kl_before: ObjectEstimate | None = None
    """KL over the last steps before it was applied, nats."""
    judgement: ObjectJudgement | None = None
    """What followed it; unset: not applied, or too few validations on either side of it."""
