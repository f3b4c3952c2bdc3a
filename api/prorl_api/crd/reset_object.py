"""Conversions between a reset's record and its Kubernetes object, `ProRLReset`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prorl_api import API_VERSION
from prorl_api.crd.objects import ObjectCondition, by_type, from_time, shortened, to_time
from prorl_api.crd.reset_models import (
    MAX_EVIDENCE,
    MAX_LINE,
    ObjectEstimate,
    ObjectEvidence,
    ObjectJudgement,
    ResetObjectSpec,
    ResetObjectStatus,
)
from prorl_api.manifest import RESET_KIND
from prorl_api.names import LABEL_JOB
from prorl_api.resets import Estimate, Evidence, EvidenceOrigin, Judgement, ResetCondition, ResetRecord
from prorl_api.spec.values import OptimizerAction, ResetSource

_BY_A_PERSON = "asked for by a person"
_STATES = tuple(ResetCondition)
_ESTIMATES = ("accuracy_before", "accuracy_after", "change")
_APPROVED = (ResetCondition.APPROVED, ResetCondition.APPLIED, ResetCondition.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenFields:
    """What holds for a reset whose author left these open and which nobody has seen yet."""

    number: int
    """The next of the job's counter."""
    attempt: int
    """The learner's attempt under way; 0 before the first."""
    evidence_step: int
    """Steps completed now."""
    source: ResetSource
    """Of the job's `spec.referenceReset`."""
    optimizer: OptimizerAction
    """Of the job's `spec.referenceReset`."""


def reset_to_object(record: ResetRecord, *, job_name: str, namespace: str) -> dict[str, Any]:
    """Return the object to create for a record: everything but its status (`reset_status`) and what the server adds.

    Args:
        record: Its uid and time of creation become those that the server gives.
        job_name: The job's name.
        namespace: The job's namespace.
    """
    evidence, kept = record.evidence, slice(-MAX_EVIDENCE, None)
    spec = ResetObjectSpec(
        job_name=job_name,
        number=record.number,
        attempt=record.attempt,
        evidence=ObjectEvidence(
            trigger=evidence.trigger,
            metric=evidence.metric,
            **_origin_fields(evidence.origin),
            rule=evidence.rule,
            reason=shortened(evidence.reason),
            steps=evidence.steps[kept],
            values=tuple(repr(value) for value in evidence.values[kept]),
            omitted=max(0, len(evidence.values) - MAX_EVIDENCE),
        ),
        evidence_step=record.evidence_step,
        apply_at_step=record.apply_at_step,
        expires_after_step=record.expires_after_step,
        source=record.source,
        optimizer=record.optimizer,
        dry_run=record.dry_run,
        approved=record.condition in _APPROVED,
        vetoed=record.condition is ResetCondition.VETOED,
    )
    return {
        "apiVersion": API_VERSION,
        "kind": RESET_KIND,
        "metadata": {"name": record.name, "namespace": namespace, "labels": {LABEL_JOB: job_name}},
        "spec": spec.model_dump(mode="json", by_alias=True, exclude_none=True),
    }


def reset_status(
    record: ResetRecord, *, generation: int, now: float, before: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """`.status` of the object of a record.

    Args:
        record: Where the reset stands.
        generation: `metadata.generation` of the object that the record was read from.
        now: Unix time, for conditions that change.
        before: `.status` as it is; the times of conditions that do not change are taken from there.
    """
    earlier = by_type(ResetObjectStatus.model_validate(before or {}).conditions)
    conditions = tuple(
        _condition(state, record, generation, to_time(now), earlier.get(state.value.capitalize())) for state in _STATES
    )
    return ResetObjectStatus(
        conditions=conditions,
        number=record.number,
        attempt=record.attempt,
        evidence_step=record.evidence_step,
        source=record.source,
        optimizer=record.optimizer,
        applied_step=record.applied_step,
        reference_digest_before=record.digest_before,
        reference_digest_after=record.digest_after,
        validation_before=_text(record.validation_before),
        validation_after=_text(record.validation_after),
        kl_before=_estimate_text(record.kl_before),
        judgement=_judgement_text(record.judgement),
    ).model_dump(mode="json", by_alias=True, exclude_none=True)


def status_without_job(message: str, *, generation: int, now: float) -> dict[str, Any]:
    """`.status` of an object whose job does not exist: a word why nothing happens, and nothing settled."""
    applied = ObjectCondition(
        type=ResetCondition.APPLIED.value.capitalize(),
        status="Unknown",
        reason="NoJob",
        message=shortened(message),
        last_transition_time=to_time(now),
        observed_generation=generation,
    )
    return ResetObjectStatus(conditions=(applied,)).model_dump(mode="json", by_alias=True, exclude_none=True)


def reset_from_object(document: Mapping[str, Any], open_fields: OpenFields | None = None) -> ResetRecord:
    """Return the record that an object holds: what came of it if that is final, else what its spec says now.

    Args:
        document: The object, as the API server gave it.
        open_fields: For an object that leaves fields open and that nobody has seen yet.

    Raises:
        ValueError: Fields are open and `open_fields` is None, or it is no reset of ours.
    """
    metadata = document["metadata"]
    spec = ResetObjectSpec.model_validate(document["spec"])
    status = ResetObjectStatus.model_validate(document.get("status") or {})
    settled = {name: _settled(name, spec, status, open_fields) for name in OpenFields.__dataclass_fields__}
    condition = _state(spec, status)
    written = by_type(status.conditions).get(condition.value.capitalize())
    is_written = written is not None and written.status == "True"
    return ResetRecord(
        name=metadata["name"],
        uid=metadata["uid"],
        created=from_time(metadata["creationTimestamp"]),
        evidence=_evidence(spec, settled["evidence_step"]),
        apply_at_step=spec.apply_at_step,
        expires_after_step=spec.expires_after_step,
        condition=condition,
        dry_run=spec.dry_run,
        message=written.message if written is not None and is_written else spec.message,
        applied_step=status.applied_step,
        digest_before=status.reference_digest_before,
        digest_after=status.reference_digest_after,
        validation_before=_number(status.validation_before),
        validation_after=_number(status.validation_after),
        kl_before=_estimate(status.kl_before),
        judgement=_judgement(status.judgement),
        **settled,
    )


def _condition(
    state: ResetCondition, record: ResetRecord, generation: int, now: str, before: ObjectCondition | None
) -> ObjectCondition:
    """Write one condition. `Applied` is Unknown while nothing is decided; the others are True or False."""
    is_so = record.condition is state
    status = str(is_so)
    if state is ResetCondition.APPLIED and not record.condition.is_final:
        status = "Unknown"
    return ObjectCondition(
        type=state.value.capitalize(),
        status=status,
        reason=record.condition.value.capitalize(),
        message=shortened(record.message) if is_so else "",
        last_transition_time=before.last_transition_time if before is not None and before.status == status else now,
        observed_generation=generation,
    )


def _state(spec: ResetObjectSpec, status: ResetObjectStatus) -> ResetCondition:
    written = by_type(status.conditions)
    for state in _STATES:
        condition = written.get(state.value.capitalize())
        if state.is_final and condition is not None and condition.status == "True":
            return state
    if spec.vetoed:
        return ResetCondition.VETOED
    return ResetCondition.APPROVED if spec.approved and not spec.dry_run else ResetCondition.PENDING


def _settled(name: str, spec: ResetObjectSpec, status: ResetObjectStatus, open_fields: OpenFields | None) -> Any:
    found = getattr(spec, name)
    found = getattr(status, name) if found is None else found
    if found is None and open_fields is not None:
        found = getattr(open_fields, name)
    if found is None:
        raise ValueError(f"`{name}` is set neither in spec nor in status; say with `open_fields` what holds")
    return found


def _evidence(spec: ResetObjectSpec, step: int) -> Evidence:
    found = spec.evidence
    if found is None:
        reason = f"{_BY_A_PERSON} at step {step}"
        return Evidence(
            trigger="manual", metric="step", rule=_BY_A_PERSON, steps=(step,), values=(float(step),), reason=reason
        )
    return Evidence(
        trigger=found.trigger,
        metric=found.metric,
        rule=found.rule,
        steps=found.steps,
        values=tuple(float(value) for value in found.values),
        reason=found.reason,
        origin=_origin(found),
    )


def _origin_fields(origin: EvidenceOrigin | None) -> dict[str, Any]:
    if origin is None:
        return {}
    return {
        "prometheus": shortened(origin.prometheus, MAX_LINE),
        "query": shortened(origin.query, MAX_LINE),
        "window_start": to_time(origin.window_start),
        "window_end": to_time(origin.window_end),
        "steps_seen": origin.steps_seen,
        "steps_unseen": origin.steps_unseen,
    }


def _origin(found: ObjectEvidence) -> EvidenceOrigin | None:
    if found.prometheus is None:
        return None
    return EvidenceOrigin(
        prometheus=found.prometheus,
        query=found.query or "",
        window_start=from_time(found.window_start) if found.window_start else 0.0,
        window_end=from_time(found.window_end) if found.window_end else 0.0,
        steps_seen=found.steps_seen or 0,
        steps_unseen=found.steps_unseen or 0,
    )


def _text(value: float | None) -> str:
    return "" if value is None else repr(value)


def _estimate_text(found: Estimate | None) -> ObjectEstimate | None:
    if found is None:
        return None
    low, high = _text(found.low), _text(found.high)
    return ObjectEstimate(value=_text(found.value), low=low, high=high, count=found.count)


def _estimate(found: ObjectEstimate | None) -> Estimate | None:
    return None if found is None else _sure_estimate(found)


def _sure_estimate(found: ObjectEstimate) -> Estimate:
    low, high = _number(found.low), _number(found.high)
    return Estimate(value=float(found.value), low=low, high=high, count=found.count)


def _judgement_text(found: Judgement | None) -> ObjectJudgement | None:
    if found is None:
        return None
    estimates = {name: _estimate_text(getattr(found, name)) for name in _ESTIMATES}
    return ObjectJudgement.model_validate(
        {
            **estimates,
            "effect": found.effect,
            "expected_by_trend": _text(found.expected_by_trend),
            "kl_after": _estimate_text(found.kl_after),
            "until_step": found.until_step,
        }
    )


def _judgement(found: ObjectJudgement | None) -> Judgement | None:
    if found is None:
        return None
    return Judgement(
        effect=found.effect,
        accuracy_before=_sure_estimate(found.accuracy_before),
        accuracy_after=_sure_estimate(found.accuracy_after),
        change=_sure_estimate(found.change),
        expected_by_trend=_number(found.expected_by_trend),
        kl_after=_estimate(found.kl_after),
        until_step=found.until_step,
    )


def _number(text: str) -> float | None:
    return float(text) if text else None
