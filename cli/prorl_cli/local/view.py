"""What a person sees of a run, as values and sentences. Pure: the two displays only put them on the screen."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prorl_api.resets import ResetCondition, ResetRecord
from prorl_api.spec.values import Role
from prorl_api.wire.learner import EARLY_PHASES, PHASE_REMARK, LearnerStatus
from prorl_cli.durations import duration
from prorl_cli.speed import SAMPLED, sampled_per_second
from prorl_control.advice import TRUNCATION, bounds, cuts_answers
from prorl_control.decision import Outcome
from prorl_control.members import Member, MemberState
from prorl_control.plan import RunPlan
from prorl_control.resets.records import MANUAL_TRIGGER

STEPS_FOR_PACE = 10
"""Steps that the time left is estimated from: recent enough to follow a stage's change of pace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One moment of a run."""

    plan: RunPlan
    members: tuple[Member, ...]
    learner: LearnerStatus | None
    lines: Sequence[Mapping[str, Any]]
    """Of the metrics table, surviving timeline."""
    resets: tuple[ResetRecord, ...]
    outcome: Outcome
    usual_seconds: Mapping[Role, float]
    now: float

    @property
    def is_training(self) -> bool:
        """Whether the first step is under way."""
        return self.learner is not None and self.learner.phase not in EARLY_PHASES

    @property
    def seconds_left(self) -> float | None:
        """Estimate from recent steps; None before there are any."""
        recent = step_seconds(self.lines)[-STEPS_FOR_PACE:]
        if self.learner is None or not recent:
            return None
        return float(statistics.fmean(recent)) * max(0, self.plan.total_steps - self.learner.step)


def step_seconds(lines: Sequence[Mapping[str, Any]]) -> list[float]:
    """Return how long each step took, without the wait for servers that start and the validation before the first."""
    return [
        float(line["seconds_total"]) - float(line.get("seconds_waiting", 0.0))
        for line in lines
        if line["step"] > 0 and line.get("seconds_total")
    ]


def doing(member: Member, view: View) -> str:
    """Return what a member is doing, in a few words."""
    if member.exit is not None:
        return f"ended: {member.exit}"
    if member.role is Role.LEARNER and view.learner is not None and member.index == 0:
        return phase_text(view.learner)
    if member.state is MemberState.READY:
        return "ready"
    if member.state is MemberState.RUNNING:
        return "busy"
    return {
        Role.SANDBOX: "starting verifiers",
        Role.LEARNER: "starting",
        Role.ROLLOUT: "starting the engine, then the learner's weights",
    }[member.role]


def phase_text(learner: LearnerStatus) -> str:
    """Return the learner's phase with its detail."""
    phase = learner.phase.value.replace("-", " ")
    return f"{phase}: {learner.phase_detail}" if learner.phase_detail else phase


def remark(learner: LearnerStatus) -> str:
    """Return what is unusual about the learner's phase; empty if nothing is."""
    return learner.phase_detail.partition(PHASE_REMARK)[2]


def figures(view: View) -> list[tuple[str, str]]:
    """Name and value of what matters now, newest known."""
    newest = view.lines[-1] if view.lines else {}
    accuracy = next((line for line in reversed(view.lines) if line.get("validation_accuracy") is not None), None)
    found: list[tuple[str, str]] = []
    if (reward := newest.get("reward_mean")) is not None:
        found.append(("reward", f"{reward:.3f}"))
    if accuracy is not None:
        found.append(("held-out accuracy", f"{accuracy['validation_accuracy']:.3f} (step {accuracy['step']})"))
    if (kl := newest.get("kl")) is not None:
        found.append(("KL", f"{kl:.4f} nats"))
    if (pace := sampled_per_second([newest])) is not None:
        found.append((SAMPLED, f"{pace:,.0f}".replace(",", " ")))
    if (share := newest.get("truncated")) is not None and share > 0:
        found.append(("cut", f"{share:.0%}"))
    if left := view.seconds_left:
        found.append(("left", f"about {duration(left)}"))
    return found


def warnings(lines: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return what to say about the newest step, with a word for each kind, so that it is said once."""
    found = ((TRUNCATION.name, truncation_warning(lines)), ("wrong", nothing_right_warning(lines)))
    return [(kind, text) for kind, text in found if text]


def truncation_warning(lines: Sequence[Mapping[str, Any]]) -> str:
    """Return what to say if the newest step cut too many completions before their answer; empty if it did not."""
    newest = lines[-1] if lines else {}
    share = newest.get("truncated")
    if share is None or not cuts_answers(share, newest.get("reward_mean") or 0.0):
        return ""
    return (
        f"{share:.0%} of the completions of step {newest['step']} were cut at the limit, more than "
        f"{bounds.MOST_TRUNCATED:.0%}. {TRUNCATION.remedy}"
    )


def truncation_text(line: Mapping[str, Any]) -> str:
    """Return how many completions of a step were cut, and whether that matters; empty if it is not known."""
    share = line.get("truncated")
    if share is None:
        return ""
    is_behind = share > bounds.MOST_TRUNCATED and not cuts_answers(share, line.get("reward_mean") or 0.0)
    judged = "behind their answer" if is_behind else f"up to {bounds.MOST_TRUNCATED:.0%} does no harm"
    return f"{share:.0%} cut at the limit" + (f" ({judged})" if share > 0 else "")


def nothing_right_warning(lines: Sequence[Mapping[str, Any]]) -> str:
    """Return what to say if no held-out completion has been right so far; empty if one was, or none was asked for."""
    seen = [line for line in lines if line.get("validation_accuracy") is not None]
    if not seen or any(line["validation_accuracy"] > 0 for line in seen):
        return ""
    return (
        f"no held-out completion was right so far: if samples/validation-{seen[-1]['step']}.jsonl of the run folder "
        "shows right answers, `answerFormat` or `prompt` of spec.data.sources does not fit the model; else choose "
        "easier tasks"
    )


def step_line(line: Mapping[str, Any], view: View) -> str:
    """Write one step as a line of a log."""
    parts = [f"step {line['step']}/{view.plan.total_steps}"]
    for name, key, form in (
        ("reward", "reward_mean", "{:.3f}"),
        ("held-out", "validation_accuracy", "{:.3f}"),
        ("KL", "kl", "{:.4f}"),
        ("length", "completion_length", "{:.0f}"),
    ):
        if line.get(key) is not None:
            parts.append(f"{name} {form.format(line[key])}")
    if (pace := sampled_per_second([line])) is not None:
        parts.append(f"{pace:.0f} {SAMPLED}")
    if line is view.lines[-1] and (left := view.seconds_left):
        parts.append(f"about {duration(left)} left")
    return "  ".join(parts)


def reset_lines(before: Sequence[ResetRecord], after: Sequence[ResetRecord]) -> list[str]:
    """Return what happened to resets between two looks at them."""
    old = {record.uid: record for record in before}
    lines = []
    for record in after:
        was = old.get(record.uid)
        if was is None or was.condition is not record.condition:
            lines.append(_reset_line(record))
        if record.validation_after is not None and (was is None or was.validation_after is None):
            earlier = "unknown" if record.validation_before is None else f"{record.validation_before:.3f}"
            lines.append(f"{record.name}: held-out accuracy {earlier} before, {record.validation_after:.3f} after")
    return lines


def _reset_line(record: ResetRecord) -> str:
    why = f"{record.evidence.reason} [{record.evidence.trigger}]"
    is_manual = record.evidence.trigger == MANUAL_TRIGGER
    if record.dry_run:
        return f"{record.name} would reset the reference now (dry run): {why}"
    return {
        ResetCondition.PENDING: f"{record.name} waits for `prorl resets approve`: {why}",
        # A person's reason is that a person asked: said once.
        ResetCondition.APPROVED: f"{record.name} {record.evidence.reason if is_manual else f'asked for: {why}'}",
        ResetCondition.APPLIED: (
            f"{record.name} applied at step {record.applied_step}: reference := {record.source.value} policy, "
            f"optimizer {record.optimizer.value}; {why}"
        ),
        ResetCondition.VETOED: f"{record.name} vetoed",
        ResetCondition.EXPIRED: f"{record.name} expired: {record.message}",
        ResetCondition.FAILED: f"{record.name} failed: {record.message}",
    }[record.condition]
