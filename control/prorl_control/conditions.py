"""The status of a run, computed anew from each observation. Only transition times are carried over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prorl_api.spec.values import Role
from prorl_api.status import MAX_LOSS_NOTES, Condition, ConditionStatus, ConditionType, JobStatus, LossNote
from prorl_api.wire.isolation import IsolationReport, PolicyFinding
from prorl_api.wire.learner import LearnerPhase, TrackerState
from prorl_control.advice import advise
from prorl_control.decision import Observed, Outcome, OutcomeKind
from prorl_control.members import MemberState
from prorl_control.plan import RunPlan
from prorl_control.signals.reading import Reading

STARTING_PHASES = frozenset({LearnerPhase.STARTING, LearnerPhase.LOADING_MODEL})
"""Phases in which the learner answers but has not taken up the run."""

_TRAINING = frozenset(
    {
        LearnerPhase.PUBLISHING,
        LearnerPhase.VALIDATING,
        LearnerPhase.SAMPLING,
        LearnerPhase.UPDATING,
        LearnerPhase.CHECKPOINTING,
        LearnerPhase.RESETTING,
    }
)
"""They follow each other several times a minute: one reason for all, or every look would be news worth a write."""

_NOT_WANTED: Mapping[OutcomeKind, str] = {
    OutcomeKind.SUCCEEDED: "the run is over",
    OutcomeKind.FAILED: "the run is over",
    OutcomeKind.SUSPENDED: "the run is suspended",
}
"""Why no server is to run."""

_MAX_ADVICE = 4000
"""Characters; enough for every row of the table at once."""

_TRUE, _FALSE, _UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN


@dataclass(frozen=True, slots=True)
class _Finding:
    kind: ConditionType
    status: ConditionStatus
    reason: str
    message: str


def job_status(plan: RunPlan, observed: Observed, outcome: Outcome, *, attempt: int, now: float) -> JobStatus:
    """Return the whole status: progress and conditions."""
    previous = observed.previous or JobStatus()
    learner = observed.learner
    newest = observed.metrics[-1] if observed.metrics else {}
    applied = [record for record in observed.resets if record.applied_step is not None]
    return JobStatus(
        conditions=_conditions(plan, observed, outcome, previous, now),
        step=learner.step if learner is not None else max(previous.step, observed.highest_step),
        total_steps=plan.total_steps,
        stage=learner.stage if learner is not None else previous.stage,
        attempt=max(attempt, previous.attempt),
        weights_id=str(learner.weights_id or "") if learner is not None else previous.weights_id,
        restarts=_restarts(observed),
        last_checkpoint_step=_last_checkpoint(observed, previous),
        last_kl=_text(newest, "kl") or previous.last_kl,
        last_accuracy=_last(observed, "validation_accuracy") or previous.last_accuracy,
        last_metrics_time=observed.metrics_at if observed.metrics_at is not None else previous.last_metrics_time,
        resets=max([previous.resets, *(record.number for record in observed.resets)]),
        losses=_recent(observed),
        last_reset=max(applied, key=lambda record: record.number).name if applied else previous.last_reset,
        updated=now,
    )


def _conditions(
    plan: RunPlan, observed: Observed, outcome: Outcome, previous: JobStatus, now: float
) -> tuple[Condition, ...]:
    findings = (
        _succeeded(outcome),
        _Finding(ConditionType.ACCEPTED, _TRUE, "Valid", "the manifest is valid"),
        _suspended(outcome),
        _servers_ready(plan, observed, outcome, Role.SANDBOX, ConditionType.SANDBOX_READY),
        _sandbox_isolated(observed, previous),
        _network_isolated(observed, previous),
        _learner_ready(observed),
        _servers_ready(plan, observed, outcome, Role.ROLLOUT, ConditionType.ROLLOUT_READY),
        _metrics_available(observed),
        _healthy(plan, observed, previous, now),
        *_tracked(observed, previous),
        *_best_exported(observed, previous),
    )
    return tuple(_dated(finding, previous, now) for finding in findings)


def _dated(finding: _Finding, previous: JobStatus, now: float) -> Condition:
    before = previous.condition(finding.kind)
    since = before.last_transition_time if before is not None and before.status is finding.status else now
    return Condition(
        type=finding.kind,
        status=finding.status,
        reason=finding.reason,
        message=finding.message,
        last_transition_time=since,
    )


def _succeeded(outcome: Outcome) -> _Finding:
    status = {OutcomeKind.SUCCEEDED: _TRUE, OutcomeKind.FAILED: _FALSE}.get(outcome.kind, _UNKNOWN)
    return _Finding(ConditionType.SUCCEEDED, status, outcome.reason, outcome.message)


def _suspended(outcome: Outcome) -> _Finding:
    if outcome.kind is OutcomeKind.SUSPENDED:
        return _Finding(ConditionType.SUSPENDED, _TRUE, outcome.reason, outcome.message)
    if outcome.reason == "Stopping":
        return _Finding(ConditionType.SUSPENDED, _FALSE, "Stopping", outcome.message)
    return _Finding(ConditionType.SUSPENDED, _FALSE, "NotAsked", "")


def _servers_ready(plan: RunPlan, observed: Observed, outcome: Outcome, role: Role, kind: ConditionType) -> _Finding:
    members = [member for member in observed.members if member.role is role and member.index < plan.count(role)]
    ready = sum(member.state is MemberState.READY for member in members)
    wanted = plan.count(role)
    message = f"{ready} of {wanted} ready"
    if ready == wanted:
        return _Finding(kind, _TRUE, "Ready", message)
    if outcome.kind in _NOT_WANTED:
        return _Finding(kind, _FALSE, "NotWanted", f"{message}; {_NOT_WANTED[outcome.kind]}")
    lost = [member for member in members if member.exit is not None]
    if lost:
        return _Finding(kind, _FALSE, "Lost", f"{message}; {lost[0].key.name}: {lost[0].exit}; it is started again")
    held = [member for member in members if member.detail]
    if held:
        return _Finding(kind, _FALSE, "Pending", f"{message}; {held[0].key.name}: {held[0].detail}")
    waits = " for the learner's first weights" if role is Role.ROLLOUT else ""
    return _Finding(kind, _FALSE, "Starting", f"{message}; waiting{waits}")


def _learner_ready(observed: Observed) -> _Finding:
    kind = ConditionType.LEARNER_READY
    ranks = [member for member in observed.members if member.role is Role.LEARNER]
    alive = [member for member in ranks if member.is_alive]
    if not alive:
        ended = next((member for member in ranks if member.exit is not None), None)
        message = f"{ended.key.name} of attempt {ended.attempt}: {ended.exit}" if ended is not None else "not started"
        return _Finding(kind, _FALSE, "NotRunning", message)
    held = [member for member in alive if member.detail]
    if held:
        return _Finding(kind, _FALSE, "Pending", f"{held[0].key.name}: {held[0].detail}")
    learner = observed.learner
    if learner is None:
        return _Finding(kind, _FALSE, "Starting", "the learner does not answer yet")
    message = learner.error or learner.phase_detail or learner.phase.value
    if learner.phase in STARTING_PHASES:
        return _Finding(kind, _FALSE, "Starting", message)
    if learner.phase in _TRAINING:
        detail = f": {learner.phase_detail}" if learner.phase_detail else ""
        return _Finding(kind, _TRUE, "Training", learner.error or f"{learner.phase.value}{detail}")
    reason = "".join(part.capitalize() for part in learner.phase.value.split("-"))
    return _Finding(kind, _TRUE, reason, message)


def _sandbox_isolated(observed: Observed, previous: JobStatus) -> _Finding:
    kind, report = ConditionType.SANDBOX_ISOLATED, _isolation(observed)
    if report is None:
        return _as_before(kind, previous)
    why = f"; for more: {'; '.join(report.missing)}" if report.missing else ""
    return _Finding(kind, _TRUE, report.level.capitalize(), f"programs run at level `{report.level}`{why}"[:1024])


def _network_isolated(observed: Observed, previous: JobStatus) -> _Finding:
    kind, report = ConditionType.NETWORK_ISOLATED, _isolation(observed)
    if report is None:
        return _as_before(kind, previous)
    if report.policy is PolicyFinding.ENFORCED:
        return _Finding(kind, _TRUE, "PolicyVerified", report.policy_detail)
    if report.keeps_off_network:
        return _Finding(kind, _TRUE, "InProcess", f"level `{report.level}` denies programs the network")
    remedy = "in `sandbox.isolation` set `minimum: landlock`, or in a cluster `network: policy-verified`"
    message = f"at level `{report.level}` programs reach whatever the sandbox reaches; {remedy}"
    return _Finding(kind, _FALSE, "NotIsolated", message)


def _as_before(kind: ConditionType, previous: JobStatus) -> _Finding:
    """Return what the last learner found: it stands until another one asks."""
    before = previous.condition(kind)
    if before is None:
        return _Finding(kind, _UNKNOWN, "NotAskedYet", "the learner asks every sandbox before it begins")
    return _Finding(kind, before.status, before.reason, before.message)


def _isolation(observed: Observed) -> IsolationReport | None:
    return observed.learner.isolation if observed.learner is not None else None


def _metrics_available(observed: Observed) -> _Finding:
    kind = ConditionType.METRICS_AVAILABLE
    if observed.signals is not None:
        return _signals_available(observed.signals)
    if observed.metrics_at is None:
        return _Finding(kind, _UNKNOWN, "NotReadYet", "no metrics were read yet; metric-driven resets wait for them")
    if not observed.metrics:
        return _Finding(kind, _FALSE, "NoSamples", "no step has been completed yet")
    return _Finding(kind, _TRUE, "Read", f"up to step {observed.metrics[-1]['step']}")


def _signals_available(reading: Reading) -> _Finding:
    """Return what a Prometheus's samples are worth. What they lack is no evidence, for or against a reset."""
    kind, fault = ConditionType.METRICS_AVAILABLE, reading.fault
    if fault is not None:
        status = _UNKNOWN if fault.is_for_a_moment else _FALSE
        return _Finding(kind, status, fault.reason.value, fault.message)
    newest = f", up to step {reading.lines[-1]['step']}" if reading.lines else ""
    return _Finding(kind, _TRUE, "Read", f"from Prometheus {reading.name}{newest}")


def _healthy(plan: RunPlan, observed: Observed, previous: JobStatus, now: float) -> _Finding:
    """Return the advice on a learner that runs; of one that does not, what was found last."""
    kind, learner = ConditionType.HEALTHY, observed.learner
    if learner is None or learner.phase in STARTING_PHASES:
        before = previous.condition(kind)
        if before is None:
            return _Finding(kind, _UNKNOWN, "NotJudgedYet", "the run is judged once the learner trains")
        return _Finding(kind, before.status, before.reason, before.message)
    found = advise(plan.limits, learner.vitals, learner, now)
    if found:
        message = " ".join(advice.text for advice in found)
        return _Finding(kind, _FALSE, found[0].name, message[:_MAX_ADVICE])
    if not learner.vitals:
        return _Finding(kind, _UNKNOWN, "NotJudgedYet", "there are too few steps to judge the run by")
    return _Finding(kind, _TRUE, "NothingFound", "nothing that calls for somebody is known")


def _tracked(observed: Observed, previous: JobStatus) -> tuple[_Finding, ...]:
    """Return how trackers do, where there are any; of a learner that is not there, what was found last."""
    kind, learner = ConditionType.TRACKED, observed.learner
    if learner is None:
        return (_as_found(kind, previous),) if previous.condition(kind) is not None else ()
    if not learner.trackers:
        return ()
    failing = [f"{tracker.name}: {tracker.problem}" for tracker in learner.trackers if tracker.problem]
    if failing:
        return (_Finding(kind, _FALSE, "TrackerFails", f"training goes on; {'; '.join(failing)}"[:1024]),)
    told = ", ".join(f"{tracker.name}: {_told(tracker)}" for tracker in learner.trackers)
    return (_Finding(kind, _TRUE, "Told", told[:1024]),)


def _told(tracker: TrackerState) -> str:
    where = f" ({tracker.where})" if tracker.where else ""
    # Without the step, which changes with every look: each would be news worth a write.
    return f"{'told' if tracker.step is not None else 'not told yet: it waits for a checkpoint'}{where}"


def _best_exported(observed: Observed, previous: JobStatus) -> tuple[_Finding, ...]:
    kind, learner = ConditionType.BEST_EXPORTED, observed.learner
    if learner is None:
        return (_as_found(kind, previous),) if previous.condition(kind) is not None else ()
    if learner.export_problem:
        return (_Finding(kind, _FALSE, "ExportFails", f"training goes on; {learner.export_problem}"[:1024]),)
    if learner.exported_best_step is None:
        return ()
    message = f"exported/best in the run folder holds the policy of step {learner.exported_best_step}"
    return (_Finding(kind, _TRUE, "Exported", message),)


def _as_found(kind: ConditionType, previous: JobStatus) -> _Finding:
    before = previous.condition(kind)
    assert before is not None
    return _Finding(kind, before.status, before.reason, before.message)


def _last_checkpoint(observed: Observed, previous: JobStatus) -> int | None:
    told = observed.learner.last_checkpoint_step if observed.learner is not None else previous.last_checkpoint_step
    known = [step for step in (told, observed.checkpoint_step) if step is not None]
    return max(known, default=None)


def _restarts(observed: Observed) -> dict[str, int]:
    totals = {role.value: observed.restarts_before.get(role.value, 0) for role in Role}
    for loss in observed.losses:
        totals[loss.role.value] += 1
    return totals


def _recent(observed: Observed) -> tuple[LossNote, ...]:
    """Return what the restart budget is counted from, so that another body goes on counting."""
    recent = [loss for loss in observed.losses if loss.step >= observed.highest_step]
    return tuple(
        LossNote(
            role=loss.role,
            index=loss.index,
            attempt=loss.attempt,
            uid=loss.uid,
            started_at=loss.started_at,
            at=loss.at,
            step=loss.step,
            how=str(loss.exit),
        )
        for loss in recent[-MAX_LOSS_NOTES:]
    )


def _text(line: Mapping[str, Any], name: str) -> str:
    value = line.get(name)
    return f"{value:.4g}" if isinstance(value, int | float) else ""


def _last(observed: Observed, name: str) -> str:
    return next((text for line in reversed(observed.metrics) if (text := _text(line, name))), "")
