"""The life of a reset's record: from proposal through approval and the learner's answer to its judgement.

Pure: each function takes a record and returns the next one. Bodies store them, as files or as objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prorl_api.errors import ProRLError
from prorl_api.names import reset_name
from prorl_api.resets import Evidence, ResetCondition, ResetRecord
from prorl_api.spec.values import OptimizerAction, ResetSource
from prorl_api.wire.learner import ResetCommand, ResetOutcome, ResetState
from prorl_control.resets.decide import ResetProposal

MANUAL_TRIGGER = "manual"
STAGE_TRIGGER = "stage"


class ResetStateError(ProRLError):
    """Something was asked of a reset that its state does not allow."""


def proposed(proposal: ResetProposal, *, job_name: str, number: int, uid: str, now: float) -> ResetRecord:
    """Return the record that a proposal begins with."""
    return ResetRecord(
        name=reset_name(job_name, number),
        number=number,
        uid=uid,
        created=now,
        attempt=proposal.attempt,
        evidence_step=proposal.evidence_step,
        evidence=proposal.evidence,
        source=proposal.source,
        optimizer=proposal.optimizer,
        # A learner that was killed may stand before the evidence again: it replays up to it, then resets.
        apply_at_step=proposal.evidence_step,
        expires_after_step=proposal.expires_after_step,
        condition=proposal.condition,
        dry_run=proposal.dry_run,
    )


def requested(
    *,
    job_name: str,
    number: int,
    uid: str,
    now: float,
    attempt: int,
    step: int,
    source: ResetSource,
    optimizer: OptimizerAction,
) -> ResetRecord:
    """Return the record of a reset that a person asks for.

    Approved at once, at the next step boundary, never expiring.
    """
    evidence = Evidence(
        trigger=MANUAL_TRIGGER,
        metric="step",
        rule="asked for by a person",
        steps=(step,),
        values=(float(step),),
        reason=f"asked for by a person at step {step}",
    )
    return ResetRecord(
        name=reset_name(job_name, number),
        number=number,
        uid=uid,
        created=now,
        attempt=attempt,
        evidence_step=step,
        evidence=evidence,
        source=source,
        optimizer=optimizer,
        condition=ResetCondition.APPROVED,
    )


def adopted(outcome: ResetOutcome, number: int, *, job_name: str, attempt: int, now: float) -> ResetRecord:
    """Return the record of a reset that the learner applied by itself, as `resetReferenceOnEntry` of a stage asks.

    Args:
        outcome: The learner's, with `applied_step` set.
        number: The record's number.
        job_name: The job's name.
        attempt: The learner's attempt that told of it.
        now: Unix time.
    """
    assert outcome.applied_step is not None
    step = outcome.applied_step
    evidence = Evidence(
        trigger=STAGE_TRIGGER,
        metric="step",
        rule="a stage with resetReferenceOnEntry",
        steps=(step,),
        values=(float(step),),
        reason=outcome.trigger,
    )
    return ResetRecord(
        name=reset_name(job_name, number),
        number=number,
        uid=outcome.uid,
        created=now,
        attempt=attempt,
        evidence_step=step,
        evidence=evidence,
        source=outcome.source,
        optimizer=outcome.optimizer,
        apply_at_step=step,
        condition=ResetCondition.APPLIED,
        applied_step=step,
        digest_before=outcome.digest_before,
        digest_after=outcome.digest_after,
    )


def of_the_learner_alone(outcomes: Iterable[ResetOutcome], records: Sequence[ResetRecord]) -> list[ResetOutcome]:
    """Find applied resets that no record knows: the body wrote none, so the learner did them by itself."""
    known = {record.uid for record in records}
    return [outcome for outcome in outcomes if outcome.state is ResetState.APPLIED and outcome.uid not in known]


def command(record: ResetRecord) -> ResetCommand:
    """Return what is posted to the learner, any number of times: it applies a uid once."""
    return ResetCommand(
        uid=record.uid,
        name=record.name,
        source=record.source,
        optimizer=record.optimizer,
        apply_at_step=record.apply_at_step,
        expires_after_step=record.expires_after_step,
        trigger=f"{record.evidence.trigger}: {record.evidence.reason}",
    )


def approved(record: ResetRecord) -> ResetRecord:
    """Return the record after a person's approval.

    Raises:
        ResetStateError: It is final, or a dry run.
    """
    if record.dry_run:
        raise ResetStateError(
            f"{record.name} is a dry run and is never applied; ask for one with `prorl resets request`"
        )
    if record.condition.is_final:
        why = f" ({record.message})" if record.message else ""
        raise ResetStateError(
            f"{record.name} is {record.condition.value} already{why}; approve resets that are pending, "
            "or ask for one with `prorl resets request`"
        )
    return record.model_copy(update={"condition": ResetCondition.APPROVED, "message": "approved by a person"})


def vetoed(record: ResetRecord) -> ResetRecord:
    """Return the record after a person's veto.

    Raises:
        ResetStateError: It is approved, so the learner may be applying it, or final.
    """
    if record.condition is not ResetCondition.PENDING:
        raise ResetStateError(
            f"{record.name} is {record.condition.value} already and cannot be taken back; with "
            "spec.referenceReset.mode: approve resets stay pending until approved or vetoed"
        )
    return record.model_copy(update={"condition": ResetCondition.VETOED, "message": "vetoed by a person"})


def expired(record: ResetRecord, step: int) -> ResetRecord:
    """Return the record after `step` completed steps: a proposal that nobody approved in time has expired.

    An approved one is left to the learner, which alone knows whether it has applied it.
    """
    limit = record.expires_after_step
    if record.condition is not ResetCondition.PENDING or record.dry_run or limit is None or step <= limit:
        return record
    message = f"nobody approved it by step {limit}"
    return record.model_copy(update={"condition": ResetCondition.EXPIRED, "message": message})


def out_of_reach(record: ResetRecord, total_steps: int) -> ResetRecord:
    """Return the record, expired if its step comes after the run's last: waiting for it would block every other reset.

    Args:
        record: Not known to the learner yet.
        total_steps: Of the run.
    """
    step = record.apply_at_step
    if record.condition.is_final or record.dry_run or step is None or step <= total_steps:
        return record
    message = (
        f"spec.applyAtStep: got {step}, after the run's last step {total_steps} (the job's spec.schedule.totalSteps); "
        "create another reset, for a step of the run or without one"
    )
    return record.model_copy(update={"condition": ResetCondition.EXPIRED, "message": message})


def superseded(record: ResetRecord, records: Iterable[ResetRecord]) -> ResetRecord:
    """Return the record, expired if another reset was applied at or after the step of its evidence.

    That evidence speaks of the reference which the other reset replaced. An approved one is left to the learner, which
    judges it by the same rule (`ResetQueue.due`).
    """
    if record.condition is not ResetCondition.PENDING or record.dry_run:
        return record
    for other in records:
        if other.uid != record.uid and other.applied_step is not None and other.applied_step >= record.evidence_step:
            message = (
                f"superseded: {other.name} was applied at step {other.applied_step}, "
                f"not before the evidence of step {record.evidence_step}"
            )
            return record.model_copy(update={"condition": ResetCondition.EXPIRED, "message": message})
    return record


_CONDITIONS = {
    ResetState.APPLIED: ResetCondition.APPLIED,
    ResetState.EXPIRED: ResetCondition.EXPIRED,
    ResetState.FAILED: ResetCondition.FAILED,
}


def with_outcome(record: ResetRecord, outcome: ResetOutcome) -> ResetRecord:
    """Return the record after the learner's answer. A final record no longer changes; `accepted` changes nothing."""
    condition = _CONDITIONS.get(outcome.state)
    if condition is None or record.condition.is_final or record.uid != outcome.uid:
        return record
    return record.model_copy(
        update={
            "condition": condition,
            "applied_step": outcome.applied_step,
            "digest_before": outcome.digest_before,
            "digest_after": outcome.digest_after,
            "message": outcome.message or record.message,
        }
    )
