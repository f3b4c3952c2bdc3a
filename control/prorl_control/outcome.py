"""Whether a run has succeeded or failed, judged from how its members ended, and the budget of restarts."""

from __future__ import annotations

import dataclasses

from prorl_api.errors import ExitCode
from prorl_api.spec.run import RestartSpec
from prorl_api.spec.values import Role
from prorl_api.status import ConditionStatus, ConditionType, JobStatus
from prorl_control.decision import Observed, Outcome, OutcomeKind
from prorl_control.members import Exit, Loss, Member, with_losses
from prorl_control.plan import RunPlan

MAX_BACKOFF_SECONDS = 60.0
"""Back-off doubles up to here: long enough for a node to recover, short enough to watch."""

MAX_EQUAL_ENDS = 3
"""A member that ends so often in the same way, without progress in between, will do so again."""
_MAX_MESSAGE_CHARACTERS = 600
"""Characters of a lost member's output in a message: with what is before them they fit into an event of 1024."""

_AGAIN = "run the same command again (in a cluster: edit the spec)"

_REMEDIES = {
    ExitCode.BAD_SPEC: f"correct the manifest, model or data it names, then {_AGAIN}",
    ExitCode.NO_SIGNAL: (
        "sampling after sampling found no group with a signal: choose easier or harder tasks, a larger groupSize or a "
        f"higher temperature, then {_AGAIN}: it goes on with the next prompts"
    ),
    ExitCode.NON_FINITE: (
        "minibatch after minibatch was not finite, and none was applied: lower the learning rate, tighten the clip or "
        f"raise precision, then {_AGAIN}: it goes on with the next prompts"
    ),
    ExitCode.MASTERED: (
        "every sampled group is right, there is nothing left to learn from this data; to go on, continue the run with "
        "harder tasks in a new job (initFrom)"
    ),
    ExitCode.STALE_ATTEMPT: "another body drives this run; stop one of the two",
    ExitCode.ENGINE_MISMATCH: (
        "vLLM and the learner compute this model differently: see `engine mismatch` in docs/troubleshooting.md"
    ),
    ExitCode.STORAGE: f"make room or make the run folder writable, then {_AGAIN}",
}


def judge(plan: RunPlan, observed: Observed) -> Outcome:
    """Succeeded, failed, or still running. Suspension is judged elsewhere: it is a wish, not an end."""
    if observed.settled is not None:
        return observed.settled
    if has_finished(plan, observed):
        message = f"all {plan.total_steps} steps are done"
        return Outcome(kind=OutcomeKind.SUCCEEDED, reason="Succeeded", message=message)
    attempt = current_attempt(observed)
    for member in observed.members:
        is_stale = member.role is Role.LEARNER and (member.attempt < attempt or _was_taken(member, observed))
        if member.exit is not None and not member.exit.restart_can_help and not (is_stale or _is_foreign(member)):
            return _permanent(member)
    for role in Role:
        recent = losses_without_progress(observed, role)
        if len(recent) > plan.restarts.max_restarts:
            return _budget_spent(plan, role, recent)
        if (equal := _equal_ends(role, recent)) is not None:
            return _ends_alike(equal)
    return Outcome(kind=OutcomeKind.RUNNING, reason="Running")


def _is_foreign(member: Member) -> bool:
    """Tell whether a code of ours must mean something else, because a member of that role never ends with it."""
    assert member.exit is not None
    return member.exit.known_code is ExitCode.MASTERED and member.role is not Role.LEARNER


def _was_taken(member: Member, observed: Observed) -> bool:
    """Tell whether it was refused because the run folder knows its number already, of a job that was there before.

    The next one after those is free. Without such a refusal another body drives the run.
    """
    ended = member.exit is not None and member.exit.known_code is ExitCode.STALE_ATTEMPT
    return ended and observed.taken_attempt >= member.attempt


def has_finished(plan: RunPlan, observed: Observed) -> bool:
    """Rank 0 of the current attempt ended cleanly with all steps done.

    It ends last of all things that matter, so how the other ranks end after it says nothing more.
    """
    attempt = current_attempt(observed)
    leader_done = any(
        member.role is Role.LEARNER
        and member.attempt == attempt
        and member.index == 0
        and member.exit is not None
        and member.exit.is_clean
        for member in observed.members
    )
    reported = observed.learner.step if observed.learner is not None and observed.learner.attempt == attempt else 0
    steps = max(observed.highest_step, reported)
    return leader_done and steps >= plan.total_steps


def with_new_losses(plan: RunPlan, observed: Observed, now: float) -> Observed:
    """Count the unplanned ends that `observed` shows among its losses; both bodies count by this function.

    Members that end while the run is being ended are no losses, nor is the clean end of a finished learner and what
    ends in the same moment.
    """
    if plan.suspend or observed.suspend or observed.settled is not None:
        return observed
    wanted = tuple(member for member in observed.members if member.index < plan.count(member.role))
    losses = with_losses(observed.losses, wanted, highest_step=observed.highest_step, now=now)
    counted = dataclasses.replace(observed, losses=losses)
    return observed if has_finished(plan, counted) else counted


def is_over(status: JobStatus | None) -> bool:
    """Tell whether a status says that the run has succeeded or failed."""
    summary = status.condition(ConditionType.SUCCEEDED) if status is not None else None
    return summary is not None and summary.status is not ConditionStatus.UNKNOWN


def settled_outcome(plan: RunPlan, status: JobStatus, *, is_current: bool) -> Outcome | None:
    """Read the outcome that was decided before out of the status that was written then; None if none was.

    It stands for the same generation of the spec (`is_current`), and a success as long as no more steps are asked for.
    """
    summary = status.condition(ConditionType.SUCCEEDED)
    if summary is None or not is_over(status):
        return None
    if not is_current and not (summary.status is ConditionStatus.TRUE and status.step >= plan.total_steps):
        return None
    kind = OutcomeKind.SUCCEEDED if summary.status is ConditionStatus.TRUE else OutcomeKind.FAILED
    return Outcome(kind=kind, reason=summary.reason, message=summary.message)


def current_attempt(observed: Observed) -> int:
    """Return the newest attempt among the learner's members; 0 if there are none."""
    return max((member.attempt for member in observed.members if member.role is Role.LEARNER), default=0)


def losses_without_progress(observed: Observed, role: Role) -> tuple[Loss, ...]:
    """Losses of a role since the last newly completed step: a step that was only repeated forgives nothing."""
    return tuple(loss for loss in observed.losses if loss.role is role and loss.step >= observed.highest_step)


def _equal_ends(role: Role, recent: tuple[Loss, ...]) -> Loss | None:
    """Return the last loss of a member that has ended alike so many times in a row; the learner's gang is one member.

    A signal may come from outside, and a member that said nothing may have ended for another reason each time.
    """
    for index in {loss.index for loss in recent}:
        last = [loss for loss in recent if role is Role.LEARNER or loss.index == index][-MAX_EQUAL_ENDS:]
        kinds = {loss.exit.kind for loss in last}
        if len(last) == MAX_EQUAL_ENDS and len(kinds) == 1 and kinds != {None}:
            return last[-1]
    return None


def retry_at(restarts: RestartSpec, recent: tuple[Loss, ...]) -> float:
    """Unix time from which a role may be started again; 0 without recent losses."""
    if not recent:
        return 0.0
    wait = restarts.backoff_seconds * 2.0 ** min(len(recent) - 1, 20)
    return max(loss.at for loss in recent) + min(wait, max(MAX_BACKOFF_SECONDS, restarts.backoff_seconds))


def _permanent(member: Member) -> Outcome:
    assert member.exit is not None
    code = member.exit.known_code
    assert code is not None
    reason = "".join(part.capitalize() for part in code.name.split("_"))
    quote = _said_last(member.exit)
    message = f"{member.key.name}: {member.exit}; {_REMEDIES[code]}{quote}"
    kind = OutcomeKind.SUCCEEDED if code is ExitCode.MASTERED else OutcomeKind.FAILED
    return Outcome(kind=kind, reason=reason, message=message, quote=quote, member=member.key, exit=member.exit)


def _budget_spent(plan: RunPlan, role: Role, recent: tuple[Loss, ...]) -> Outcome:
    last = recent[-1]
    quote = _said_last(last.exit)
    message = (
        f"{role.value} was lost {len(recent)} times without a newly completed step, last {last.key.name}: {last.exit}; "
        f"spec.restarts.maxRestarts allows {plan.restarts.max_restarts}. Its log says why; then {_AGAIN}"
        f"{quote}"
    )
    return Outcome(
        kind=OutcomeKind.FAILED,
        reason="RestartBudgetSpent",
        message=message,
        quote=quote,
        member=last.key,
        exit=last.exit,
    )


def _ends_alike(last: Loss) -> Outcome:
    quote = _said_last(last.exit)
    message = (
        f"{last.key.name} ended {MAX_EQUAL_ENDS} times in the same way without a newly completed step: {last.exit}; "
        f"starting it again does not help. Mend what its log says, then {_AGAIN}{quote}"
    )
    return Outcome(
        kind=OutcomeKind.FAILED, reason="EndsAlike", message=message, quote=quote, member=last.key, exit=last.exit
    )


def _said_last(end: Exit) -> str:
    """Quote its last lines: a process that fails says why at its end, and what is before that may be anything."""
    words = end.termination_message.strip()
    kept = words[-_MAX_MESSAGE_CHARACTERS:]
    if len(words) > len(kept):
        kept = kept.partition("\n")[2] or kept  # without the first line, which is not whole
    return f". It said last: {kept}" if kept else ""
