"""When the reference is reset: a pure decision over samples, the policy and what was decided before.

Bodies call `decide` in every pass; `prorl resets replay` runs the same function over a stored series, so that
triggers can be tuned before they are trusted. What becomes of a proposal is in `reset_records`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prorl_api.metrics import surviving
from prorl_api.resets import Evidence, ResetCondition, ResetRecord
from prorl_api.spec.resets import ReferenceResetSpec
from prorl_api.spec.values import OptimizerAction, ResetMode, ResetSource
from prorl_control.resets.samples import Samples, within
from prorl_control.resets.triggers import evidence

_BEFORE_ALL = -1
"""The validation before training is step 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetProposal:
    """A reset that the policy asks for now."""

    evidence: Evidence
    evidence_step: int
    attempt: int
    """The learner's attempt that the newest sample came from; 0 without samples."""
    source: ResetSource
    optimizer: OptimizerAction
    condition: ResetCondition
    dry_run: bool
    expires_after_step: int


def decide(
    policy: ReferenceResetSpec, samples: Samples, resets: Sequence[ResetRecord], step: int
) -> ResetProposal | None:
    """Return the reset to propose after `step` completed steps, if any. The first trigger in the list that fires wins.

    Args:
        policy: `spec.referenceReset`.
        samples: Lines of the metrics table on the surviving timeline, ascending.
        resets: Every record of this run, those under way included.
        step: Steps completed.
    """
    if policy.mode is ResetMode.DISABLED or any(_is_under_way(record) for record in resets):
        return None
    applied = _last_applied_step(resets)
    since = max(applied, _last_unapplied_step(policy.mode, resets))
    if step <= since or step - since < _rest(policy, since) or _is_used_up(policy.max_resets, resets):
        return None
    seen = within(samples, applied if applied else _BEFORE_ALL, step)
    for trigger in policy.triggers:
        if _is_used_up(trigger.max_resets, [item for item in resets if item.evidence.trigger == trigger.name]):
            continue
        found = evidence(trigger, seen, step=step, since=since)
        if found is not None:
            return _proposal(policy, found, step=step, attempt=int(seen[-1]["attempt"]) if seen else 0)
    return None


def replay(policy: ReferenceResetSpec, samples: Iterable[Mapping[str, Any]]) -> list[ResetProposal]:
    """Return the resets that the policy would have proposed over a stored series, each taken as applied at once.

    Judged as in mode `automatic`, whatever the mode, so that a policy can be tried before it is switched on. What
    the resets themselves would have changed in the series cannot be known.
    """
    policy = policy.model_copy(update={"mode": ResetMode.AUTOMATIC})
    timeline = surviving([dict(sample) for sample in samples])
    proposals: list[ResetProposal] = []
    applied: list[ResetRecord] = []
    for position, sample in enumerate(timeline):
        proposal = decide(policy, timeline[: position + 1], applied, int(sample["step"]))
        if proposal is not None:
            proposals.append(proposal)
            applied.append(_as_applied(proposal))
    return proposals


def _rest(policy: ReferenceResetSpec, since: int) -> int:
    """Return the steps in which nothing fires: the warm-up at the start of a run, later the cooldown."""
    return policy.cooldown_steps if since or policy.warmup_steps is None else policy.warmup_steps


def _is_used_up(bound: int | None, resets: Sequence[ResetRecord]) -> bool:
    return bound is not None and sum(record.condition is ResetCondition.APPLIED for record in resets) >= bound


def _is_under_way(record: ResetRecord) -> bool:
    return not record.condition.is_final and not record.dry_run


def _last_applied_step(resets: Sequence[ResetRecord]) -> int:
    return max((record.applied_step for record in resets if record.applied_step is not None), default=0)


def _last_unapplied_step(mode: ResetMode, resets: Sequence[ResetRecord]) -> int:
    """Evidence step of the last proposal that came to nothing and must not come again at once.

    A veto is an answer, and what failed would fail again in the next step. A dry run counts in mode `dry-run` alone:
    whoever switches to `automatic` wants the reset.
    """
    return max((record.evidence_step for record in resets if _holds_back(mode, record)), default=0)


def _holds_back(mode: ResetMode, record: ResetRecord) -> bool:
    if record.dry_run:
        return mode is ResetMode.DRY_RUN
    return record.condition in (ResetCondition.VETOED, ResetCondition.FAILED)


def _proposal(policy: ReferenceResetSpec, found: Evidence, *, step: int, attempt: int) -> ResetProposal:
    is_automatic = policy.mode is ResetMode.AUTOMATIC
    return ResetProposal(
        evidence=found,
        evidence_step=step,
        attempt=attempt,
        source=policy.source,
        optimizer=policy.optimizer,
        condition=ResetCondition.APPROVED if is_automatic else ResetCondition.PENDING,
        dry_run=policy.mode is ResetMode.DRY_RUN,
        expires_after_step=step + policy.expires_after_steps,
    )


def _as_applied(proposal: ResetProposal) -> ResetRecord:
    return ResetRecord(
        name="replay",
        number=1,
        uid="replay",
        created=0.0,
        attempt=proposal.attempt,
        evidence_step=proposal.evidence_step,
        evidence=proposal.evidence,
        source=proposal.source,
        optimizer=proposal.optimizer,
        condition=ResetCondition.APPLIED,
        applied_step=proposal.evidence_step,
    )
