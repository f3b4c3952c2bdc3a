"""What to do next, computed from everything that can be seen: the one place where both bodies' behaviour is decided.

Level-based: no call remembers an earlier one, so a body may be killed and started again between any two. A lost
rollout server or sandbox is replaced alone; a lost learner rank ends its whole gang, and the next attempt starts
only when nothing of the old one is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from prorl_api.resets import ResetCondition
from prorl_api.spec.values import Role
from prorl_api.wire.learner import EARLY_PHASES, LearnerPhase
from prorl_control.conditions import STARTING_PHASES, job_status
from prorl_control.decision import Decision, Event, EventKind, Observed, Outcome, OutcomeKind, ResetCall, StopCall
from prorl_control.members import Exit, Member, MemberStart, MemberState
from prorl_control.outcome import current_attempt, judge, losses_without_progress, retry_at
from prorl_control.plan import RunPlan
from prorl_control.resets.records import command

GANG_END_SECONDS = 30.0
"""Ranks end one after the other; a rank that ended cleanly is no loss while the others follow within this time."""

_REPEATABLE_PHASES = EARLY_PHASES | {LearnerPhase.VALIDATING}
"""What is done in them is done again after a resume, with the same result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Actions:
    """What one part of the reconciliation wants done."""

    ensure: tuple[MemberStart, ...] = ()
    remove: tuple[Member, ...] = ()
    calls: tuple[StopCall | ResetCall, ...] = ()
    events: tuple[Event, ...] = ()
    due: float | None = None
    """Unix time at which something falls due by time alone."""


_NOTHING = _Actions()


def _joined(parts: Iterable[_Actions]) -> _Actions:
    """Join all of them; most parts of most looks want nothing done."""
    wanted = [part for part in parts if part is not _NOTHING]
    if len(wanted) <= 1:
        return wanted[0] if wanted else _NOTHING
    return _Actions(
        ensure=tuple(start for part in wanted for start in part.ensure),
        remove=tuple(member for part in wanted for member in part.remove),
        calls=tuple(call for part in wanted for call in part.calls),
        events=tuple(event for part in wanted for event in part.events),
        due=min((part.due for part in wanted if part.due is not None), default=None),
    )


def reconcile(plan: RunPlan, observed: Observed, now: float) -> Decision:
    """Return the decision for what is observed at Unix time `now`."""
    outcome = judge(plan, observed)
    if outcome.kind is not OutcomeKind.RUNNING:
        actions = _end_everything(observed, outcome)
    elif plan.suspend or observed.suspend:
        outcome, actions = _suspend(observed)
    else:
        actions = _joined([*_servers(plan, observed, now), _learner(plan, observed, now), _post_resets(observed)])
        outcome = _progress(observed, actions)
    attempts = [current_attempt(observed), *(start.attempt for start in actions.ensure)]
    alive = any(member.is_alive for member in observed.members)
    return Decision(
        ensure=actions.ensure,
        remove=actions.remove,
        calls=actions.calls,
        status=job_status(plan, observed, outcome, attempt=max(attempts), now=now),
        events=actions.events,
        requeue_after=None if actions.due is None else max(0.0, actions.due - now),
        outcome=outcome,
        is_over=outcome.kind is not OutcomeKind.RUNNING and not alive,
    )


def _progress(observed: Observed, actions: _Actions) -> Outcome:
    """Return how a run that goes on is doing, for the `Succeeded` condition."""
    waiting = actions.due is not None or bool(actions.remove)
    if waiting or any(loss.step >= observed.highest_step for loss in observed.losses):
        lost = observed.losses[-1] if observed.losses else None
        message = f"{lost.key.name}: {lost.exit}; started again" if lost is not None else ""
        return Outcome(kind=OutcomeKind.RUNNING, reason="Restarting", message=message)
    if observed.learner is None or observed.learner.phase in EARLY_PHASES:
        return Outcome(kind=OutcomeKind.RUNNING, reason="Starting", message="members are starting")
    return Outcome(kind=OutcomeKind.RUNNING, reason="Running", message=observed.learner.phase_detail)


def _servers(plan: RunPlan, observed: Observed, now: float) -> Iterator[_Actions]:
    """Rollout servers and sandboxes: each is replaced alone; those beyond the wanted number end."""
    for role in (Role.SANDBOX, Role.ROLLOUT):
        present = {member.index: member for member in observed.members if member.role is role}
        not_before = retry_at(plan.restarts, losses_without_progress(observed, role))
        for index in range(plan.count(role)):
            yield _server(present.get(index), MemberStart(role=role, index=index), not_before, now)
        surplus = tuple(member for member in present.values() if member.index >= plan.count(role) and member.is_alive)
        if surplus:
            yield _Actions(remove=surplus, events=tuple(_ending(member, "no longer wanted") for member in surplus))


def _server(member: Member | None, start: MemberStart, not_before: float, now: float) -> _Actions:
    if member is None:
        return _Actions(ensure=(start,), events=(_started(start),))
    if member.exit is None:
        return _NOTHING
    lost = _lost(member)
    if now < not_before:
        return _Actions(events=(lost,), due=not_before)
    message = f"{start.key.name} is started again after {member.exit}"
    again = Event(kind=EventKind.RESTARTED, subject=start.key.name, message=message, is_warning=True)
    return _Actions(ensure=(start,), events=(lost, again))


def _learner(plan: RunPlan, observed: Observed, now: float) -> _Actions:
    """Decide about the gang: all ranks of one attempt, or none."""
    members = [member for member in observed.members if member.role is Role.LEARNER]
    alive = tuple(member for member in members if member.is_alive)
    attempt = current_attempt(observed)
    if not alive:
        return _next_attempt(plan, observed, members, now)
    broken, due = _broken_rank(plan, [member for member in members if member.attempt == attempt], now)
    if broken is not None:
        lost = _lost(broken)
        return _Actions(remove=alive, events=(lost, *(_ending(member, lost.message) for member in alive)))
    outdated = tuple(member for member in alive if member.attempt < attempt)
    return _Actions(
        remove=outdated, events=tuple(_ending(m, f"attempt {attempt} has begun") for m in outdated), due=due
    )


def _broken_rank(plan: RunPlan, gang: list[Member], now: float) -> tuple[Member | None, float | None]:
    """Find the rank without which the gang cannot go on; else until when ranks that ended cleanly are waited for."""
    due: float | None = None
    for member in gang:
        if member.exit is None:
            continue
        until = (member.exited_at if member.exited_at is not None else now) + GANG_END_SECONDS
        if not member.exit.is_clean or now >= until:
            return member, None
        due = until if due is None else min(due, until)
    missing = set(range(plan.learner_ranks)) - {member.index for member in gang}
    if missing:
        attempt = gang[0].attempt
        gone = Exit(reason="it is missing")
        return Member(role=Role.LEARNER, index=min(missing), attempt=attempt, state=MemberState.EXITED, exit=gone), None
    return None, due


def _next_attempt(plan: RunPlan, observed: Observed, members: list[Member], now: float) -> _Actions:
    not_before = retry_at(plan.restarts, losses_without_progress(observed, Role.LEARNER)) if members else 0.0
    ended = next((member for member in members if member.attempt == current_attempt(observed)), None)
    lost = () if ended is None else (_lost(ended),)
    if now < not_before:
        return _Actions(events=lost, due=not_before)
    written = observed.previous.attempt if observed.previous is not None else 0
    attempt = 1 + max(written, observed.folder_attempt, observed.taken_attempt, current_attempt(observed))
    starts = tuple(MemberStart(role=Role.LEARNER, index=rank, attempt=attempt) for rank in range(plan.learner_ranks))
    if ended is None:
        return _Actions(ensure=starts, events=tuple(_started(start) for start in starts))
    saved = observed.checkpoint_step
    where = "from the start: there is no checkpoint yet" if saved is None else f"from the checkpoint of step {saved}"
    message = f"the learner is started again as attempt {attempt}, {where}"
    again = Event(kind=EventKind.RESTARTED, subject=f"attempt-{attempt}", message=message, is_warning=True)
    return _Actions(ensure=starts, events=(*lost, again))


def _post_resets(observed: Observed) -> _Actions:
    """Post every approved reset until the learner reports what became of it."""
    learner = observed.learner
    if learner is None or learner.phase in STARTING_PHASES:
        return _NOTHING
    approved = (record for record in observed.resets if record.condition is ResetCondition.APPROVED)
    return _Actions(calls=tuple(ResetCall(command=command(record)) for record in approved if not record.dry_run))


def _suspend(observed: Observed) -> tuple[Outcome, _Actions]:
    """Stop the learner with a checkpoint, then end the others."""
    why = observed.suspend_reason or "spec.suspend is true"
    alive = tuple(member for member in observed.members if member.is_alive)
    ranks = tuple(member for member in alive if member.role is Role.LEARNER)
    if not alive:
        saved = observed.checkpoint_step
        where = "no checkpoint yet" if saved is None else f"the checkpoint of step {saved} is where it goes on"
        outcome = Outcome(kind=OutcomeKind.SUSPENDED, reason="Suspended", message=f"{why}; nothing runs; {where}")
        return outcome, _Actions(events=(Event(kind=EventKind.SUSPENDED, message=outcome.message),))
    if not ranks:
        outcome = Outcome(kind=OutcomeKind.RUNNING, reason="Stopping", message="ending rollout servers and sandboxes")
        return outcome, _Actions(remove=alive)
    if _has_nothing_to_save(observed) or _has_lost_a_rank(observed):
        outcome = Outcome(
            kind=OutcomeKind.RUNNING, reason="Stopping", message="nothing can be saved; ending everything"
        )
        return outcome, _Actions(remove=alive)
    assert observed.learner is not None
    message = f"waiting for the learner to write a checkpoint ({observed.learner.phase.value})"
    outcome = Outcome(kind=OutcomeKind.RUNNING, reason="Stopping", message=message)
    event = Event(
        kind=EventKind.STOPPING, message="stopping: the learner finishes what it must and writes a checkpoint"
    )
    return outcome, _Actions(calls=(StopCall(checkpoint=True, reason=why),), events=(event,))


def _has_nothing_to_save(observed: Observed) -> bool:
    """Tell whether the learner's state is no further than its last checkpoint, so that it may simply end."""
    learner = observed.learner
    if learner is None or learner.attempt < current_attempt(observed):
        return True
    saved = max(learner.last_checkpoint_step or 0, learner.resumed_from_step or 0)
    return learner.phase in _REPEATABLE_PHASES and learner.step <= saved


def _has_lost_a_rank(observed: Observed) -> bool:
    """Tell whether the gang is incomplete, so that its collectives would never end."""
    attempt = current_attempt(observed)
    ranks = (member for member in observed.members if member.role is Role.LEARNER and member.attempt == attempt)
    return any(member.exit is not None and not member.exit.is_clean for member in ranks)


def _end_everything(observed: Observed, outcome: Outcome) -> _Actions:
    kind = EventKind.SUCCEEDED if outcome.kind is OutcomeKind.SUCCEEDED else EventKind.FAILED
    event = Event(kind=kind, message=outcome.message, is_warning=kind is EventKind.FAILED)
    return _Actions(remove=tuple(member for member in observed.members if member.is_alive), events=(event,))


def _started(start: MemberStart) -> Event:
    attempt = f" (attempt {start.attempt})" if start.attempt else ""
    return Event(kind=EventKind.STARTED, subject=start.key.name, message=f"{start.key.name} is starting{attempt}")


def _lost(member: Member) -> Event:
    attempt = f" of attempt {member.attempt}" if member.attempt else ""
    message = f"{member.key.name}{attempt}: {member.exit}"
    return Event(kind=EventKind.LOST, subject=member.key.name, message=message, is_warning=True)


def _ending(member: Member, why: str) -> Event:
    return Event(kind=EventKind.ENDING, subject=member.key.name, message=f"{member.key.name} is ended: {why}")
