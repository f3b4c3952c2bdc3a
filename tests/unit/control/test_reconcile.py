"""Reconciliation: what each situation leads to, and laws that hold for every situation."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prorl_api.errors import ExitCode
from prorl_api.resets import Evidence, ResetCondition, ResetRecord
from prorl_api.spec.values import OptimizerAction, ResetSource, Role
from prorl_api.status import ConditionStatus, ConditionType, JobStatus
from prorl_api.wire.learner import LearnerPhase, TrackerState
from prorl_control.decision import Decision, EventKind, Observed, OutcomeKind, ResetCall, StopCall
from prorl_control.members import Exit, Loss, Member, MemberState, with_losses
from prorl_control.plan import plan
from prorl_control.reconcile import GANG_END_SECONDS, reconcile
from prorl_control.signals.reading import Reading, SignalFault, SignalReason

sys.path.insert(0, str(Path(__file__).parent))
from control_builders import make_job, make_loss, make_member, make_status

PLAN = plan(make_job())
TWO_RANKS = plan(make_job(learner={"replicas": 1, "processesPerReplica": 2}))
LEARNER, ROLLOUT, SANDBOX = (make_member(role) for role in (Role.LEARNER, Role.ROLLOUT, Role.SANDBOX))
KILLED = Exit(signal=9)


def at(now: float, *members: Member, run_plan: Any = PLAN, **observed: Any) -> Decision:
    return reconcile(run_plan, Observed(members=members, **observed), now)


def ensured(decision: Decision) -> list[tuple[str, int]]:
    return [(start.key.name, start.attempt) for start in decision.ensure]


def removed(decision: Decision) -> list[str]:
    return [member.key.name for member in decision.remove]


def test_from_nothing_everything_is_created_at_once() -> None:
    decision = at(0.0)
    assert ensured(decision) == [("sandbox-0", 0), ("rollout-0", 0), ("learner-0", 1)]
    assert decision.outcome.kind is OutcomeKind.RUNNING
    assert decision.status.attempt == 1


@pytest.mark.parametrize(
    ("observed", "attempt"),
    [({"folder_attempt": 4}, 5), ({"previous": JobStatus(attempt=6), "folder_attempt": 4}, 7)],
)
def test_an_attempt_is_above_every_one_ever_seen(observed: dict[str, Any], attempt: int) -> None:
    assert ("learner-0", attempt) in ensured(at(0.0, **observed))


def test_when_all_are_there_nothing_is_done() -> None:
    decision = at(0.0, LEARNER, ROLLOUT, SANDBOX, learner=make_status())
    assert (decision.ensure, decision.remove, decision.calls, decision.requeue_after) == ((), (), (), None)
    succeeded = decision.status.condition(ConditionType.SUCCEEDED)
    assert succeeded is not None
    assert succeeded.status is ConditionStatus.UNKNOWN


def healthy(decision: Decision) -> tuple[ConditionStatus, str, str]:
    found = decision.status.condition(ConditionType.HEALTHY)
    assert found is not None
    return found.status, found.reason, found.message


def test_advice_is_a_condition_with_the_most_urgent_one_as_its_reason() -> None:
    def look(now: float = 0.0, **status: Any) -> tuple[ConditionStatus, str, str]:
        return healthy(at(now, LEARNER, ROLLOUT, SANDBOX, learner=make_status(**status)))

    assert healthy(at(0.0))[:2] == (ConditionStatus.UNKNOWN, "NotJudgedYet")
    assert look()[:2] == (ConditionStatus.UNKNOWN, "NotJudgedYet")
    assert look(vitals={"truncated_recent": 0.1})[:2] == (ConditionStatus.TRUE, "NothingFound")
    status, reason, message = look(vitals={"truncated_recent": 0.6, "groups_kept_recent": 0.1})
    assert (status, reason) == (ConditionStatus.FALSE, "LittleSignal")
    assert "90% of the groups" in message
    assert "60% of the completions" in message
    overdue = {"truncated_recent": 0.6, "step_usual": 1.0, "step_timestamp": 5.0}
    assert look(1000.0, heartbeat=999.0, started=1.0, vitals=overdue)[1] == "StepOverdue"


def test_trackers_and_the_kept_best_policy_are_conditions_only_where_there_are_any() -> None:
    def look(kind: ConditionType, previous: JobStatus | None = None, **status: Any) -> tuple[str, str] | None:
        learner = make_status(**status) if status else None
        seen = at(0.0, LEARNER, ROLLOUT, SANDBOX, learner=learner, previous=previous).status.condition(kind)
        return None if seen is None else (seen.reason, seen.message)

    assert look(ConditionType.TRACKED, step=1) is None
    assert look(ConditionType.BEST_EXPORTED, step=1) is None
    board = TrackerState(name="board", kind="tensorboard", step=3, where="here")
    failing = TrackerState(name="service", kind="wandb", problem="set WANDB_API_KEY")
    assert look(ConditionType.TRACKED, trackers=(board,)) == ("Told", "board: told (here)")
    reason, message = look(ConditionType.TRACKED, trackers=(board, failing)) or ("", "")
    assert (reason, message) == ("TrackerFails", "training goes on; service: set WANDB_API_KEY")
    kept = look(ConditionType.BEST_EXPORTED, exported_best_step=4)
    assert kept == ("Exported", "exported/best in the run folder holds the policy of step 4")
    failed = at(0.0, LEARNER, learner=make_status(export_problem="no room", exported_best_step=4)).status
    assert look(ConditionType.BEST_EXPORTED, previous=failed) == ("ExportFails", "training goes on; no room")


def test_what_was_advised_stands_while_no_learner_runs() -> None:
    first = at(0.0, LEARNER, ROLLOUT, SANDBOX, learner=make_status(vitals={"truncated_recent": 0.6}))
    after = at(5.0, ROLLOUT, SANDBOX, previous=first.status)
    assert healthy(after) == healthy(first)
    resumed = make_status(phase=LearnerPhase.LOADING_MODEL)
    assert healthy(at(6.0, LEARNER, ROLLOUT, SANDBOX, learner=resumed, previous=after.status)) == healthy(first)


def test_the_phases_of_a_step_are_told_in_the_message_and_not_in_the_reason() -> None:
    phases = (LearnerPhase.SAMPLING, LearnerPhase.UPDATING, LearnerPhase.VALIDATING, LearnerPhase.CHECKPOINTING)
    found = [
        at(
            0.0, LEARNER, ROLLOUT, SANDBOX, learner=make_status(phase=phase, phase_detail="part 1 of 2")
        ).status.condition(ConditionType.LEARNER_READY)
        for phase in phases
    ]
    assert {(said.status, said.reason) for said in found if said is not None} == {(ConditionStatus.TRUE, "Training")}
    assert [said.message for said in found if said is not None] == [f"{phase.value}: part 1 of 2" for phase in phases]


@pytest.mark.parametrize("role", [Role.ROLLOUT, Role.SANDBOX])
def test_a_lost_server_is_replaced_alone_after_its_back_off(role: Role) -> None:
    lost = make_member(role, exit=KILLED)
    others = [member for member in (LEARNER, ROLLOUT, SANDBOX) if member.role is not role]
    losses = (make_loss(role, at=100.0, step=5),)
    early = at(100.4, lost, *others, learner=make_status(), losses=losses, highest_step=5)
    assert early.ensure == ()
    assert early.requeue_after == pytest.approx(0.6)
    due = at(101.0, lost, *others, learner=make_status(), losses=losses, highest_step=5)
    assert ensured(due) == [(f"{role.value}-0", 0)]
    assert due.remove == ()


def test_back_off_doubles_without_progress_and_is_forgiven_by_a_new_step() -> None:
    lost = make_member(Role.ROLLOUT, exit=KILLED)
    losses = (make_loss(Role.ROLLOUT, at=50.0, step=5), make_loss(Role.ROLLOUT, at=100.0, step=5))
    assert at(100.0, LEARNER, lost, SANDBOX, losses=losses, highest_step=5).requeue_after == pytest.approx(2.0)
    assert ensured(at(100.0, LEARNER, lost, SANDBOX, losses=losses, highest_step=6)) == [("rollout-0", 0)]


def test_a_lost_rank_ends_the_gang_and_the_next_attempt_waits_for_its_end() -> None:
    lost, alive = make_member(Role.LEARNER, 0, exit=KILLED), make_member(Role.LEARNER, 1)
    losses = (make_loss(Role.LEARNER, at=100.0, attempt=1),)
    first = at(200.0, lost, alive, ROLLOUT, SANDBOX, run_plan=TWO_RANKS, losses=losses)
    assert removed(first) == ["learner-1"]
    assert first.ensure == ()
    both = (lost, make_member(Role.LEARNER, 1, exit=KILLED))
    then = at(200.0, *both, ROLLOUT, SANDBOX, run_plan=TWO_RANKS, losses=losses)
    assert ensured(then) == [("learner-0", 2), ("learner-1", 2)]
    assert then.remove == ()


def test_a_rank_that_ended_cleanly_is_waited_for_with_the_others() -> None:
    done, alive = make_member(Role.LEARNER, 1, exit=Exit(code=0)), make_member(Role.LEARNER, 0)
    decision = at(101.0, alive, done, ROLLOUT, SANDBOX, run_plan=TWO_RANKS)
    assert decision.remove == ()
    assert decision.requeue_after == pytest.approx(GANG_END_SECONDS - 1.0)
    late = at(100.0 + GANG_END_SECONDS, alive, done, ROLLOUT, SANDBOX, run_plan=TWO_RANKS)
    assert removed(late) == ["learner-0"]


def test_the_gang_counts_one_loss_an_attempt() -> None:
    gang = tuple(make_member(Role.LEARNER, rank, exit=KILLED, started_at=float(rank)) for rank in range(2))
    losses = with_losses((), gang, highest_step=3, now=9.0)
    assert [(loss.role, loss.attempt, loss.step) for loss in losses] == [(Role.LEARNER, 1, 3)]
    assert with_losses(losses, gang, highest_step=4, now=10.0) == losses


def test_a_spent_budget_fails_the_job_and_ends_everything() -> None:
    losses = tuple(make_loss(Role.ROLLOUT, at=float(number), step=5) for number in range(3))
    decision = at(200.0, LEARNER, make_member(Role.ROLLOUT, exit=KILLED), SANDBOX, losses=losses, highest_step=5)
    assert decision.outcome.kind is OutcomeKind.FAILED
    assert decision.outcome.reason == "RestartBudgetSpent"
    assert sorted(removed(decision)) == ["learner-0", "sandbox-0"]
    assert not decision.is_over
    refilled = at(200.0, LEARNER, make_member(Role.ROLLOUT, exit=KILLED), SANDBOX, losses=losses, highest_step=6)
    assert refilled.outcome.kind is OutcomeKind.RUNNING


def said(words: str, **end: Any) -> Exit:
    return Exit(**({"code": 1} | end), termination_message=words)


def lost(role: Role, ends: list[Exit], **fields: Any) -> tuple[Loss, ...]:
    """One loss after the other, of the same member or, of the learner, of attempt after attempt."""
    attempts = [number + 1 if role is Role.LEARNER else 0 for number in range(len(ends))]
    return tuple(
        make_loss(role, at=float(number), attempt=attempt, exit=end, **fields)
        for number, (attempt, end) in enumerate(zip(attempts, ends, strict=True))
    )


PATIENT = plan(make_job(restarts={"maxRestarts": 10}))
CRASH = "Traceback (most recent call last):\n  File x\nRuntimeError: CUDA error {}: no kernel image\n"


@pytest.mark.parametrize("role", list(Role))
def test_three_ends_in_the_same_way_without_progress_are_enough(role: Role) -> None:
    ends = [said(CRASH.format(number)) for number in (209, 17, 0x7F)]
    others = [make_member(other) for other in Role if other is not role]
    decision = at(200.0, *others, run_plan=PATIENT, losses=lost(role, ends, step=5), highest_step=5)
    assert (decision.outcome.kind, decision.outcome.reason) == (OutcomeKind.FAILED, "EndsAlike")
    assert "ended 3 times in the same way" in decision.outcome.message
    assert "no kernel image" in decision.outcome.message
    assert decision.outcome.message.removesuffix(decision.outcome.quote).endswith("(in a cluster: edit the spec)")


@pytest.mark.parametrize(
    ("ends", "fields"),
    [
        ([said("a"), said("a")], {}),
        ([said("a"), said("b"), said("a")], {}),
        ([said("a"), said("a"), said("a", code=2)], {}),
        ([said("")] * 3, {}),
        ([said("training as ever", signal=9, code=None)] * 3, {}),
        ([said("a")] * 3, {"step": 4}),
    ],
)
def test_other_ends_are_counted_against_the_budget_alone(ends: list[Exit], fields: dict[str, Any]) -> None:
    losses = lost(Role.LEARNER, ends, **{"step": 5} | fields)
    decision = at(200.0, ROLLOUT, SANDBOX, run_plan=PATIENT, losses=losses, highest_step=5)
    assert decision.outcome.kind is OutcomeKind.RUNNING


def test_servers_that_end_together_are_not_one_that_ends_again_and_again() -> None:
    losses = tuple(make_loss(Role.ROLLOUT, index=index, exit=said("a"), step=5) for index in range(3))
    assert at(200.0, LEARNER, SANDBOX, run_plan=PATIENT, losses=losses).outcome.kind is OutcomeKind.RUNNING


def test_a_learner_that_has_mastered_its_data_has_succeeded_before_its_last_step() -> None:
    decision = at(200.0, make_member(Role.LEARNER, exit=Exit(code=ExitCode.MASTERED)), ROLLOUT, SANDBOX)
    assert (decision.outcome.kind, decision.outcome.reason) == (OutcomeKind.SUCCEEDED, "Mastered")
    assert "nothing left to learn" in decision.outcome.message
    assert decision.ensure == ()
    assert decision.status.condition(ConditionType.SUCCEEDED).status is ConditionStatus.TRUE  # type: ignore[union-attr]


@pytest.mark.parametrize("role", [Role.ROLLOUT, Role.SANDBOX])
def test_the_same_code_of_another_member_says_nothing_about_the_data(role: Role) -> None:
    """69 is `service unavailable` elsewhere: no success may come of it."""
    others = [make_member(other) for other in Role if other is not role]
    decision = at(200.0, make_member(role, exit=Exit(code=ExitCode.MASTERED)), *others)
    assert decision.outcome.kind is OutcomeKind.RUNNING
    assert [name for name, _ in ensured(decision)] == [f"{role.value}-0"]


@pytest.mark.parametrize(
    "code", sorted({code for code in ExitCode if code and not code.restart_can_help} - {ExitCode.MASTERED})
)
def test_an_exit_that_no_restart_can_help_fails_the_job_with_its_reason(code: ExitCode) -> None:
    decision = at(200.0, make_member(Role.LEARNER, exit=Exit(code=code)), ROLLOUT, SANDBOX)
    assert decision.outcome.kind is OutcomeKind.FAILED
    assert code.name in decision.outcome.message
    assert decision.outcome.member is not None
    assert decision.outcome.member.name == "learner-0"
    condition = decision.status.condition(ConditionType.SUCCEEDED)
    assert condition is not None
    assert condition.status is ConditionStatus.FALSE


def test_a_message_has_the_last_lines_of_what_a_lost_member_said() -> None:
    words = "\n".join([*(f"INFO step {number} done" for number in range(60)), "CheckpointError: 5 bytes are free"])
    decision = at(
        200.0, make_member(Role.LEARNER, exit=Exit(code=ExitCode.STORAGE, termination_message=words)), ROLLOUT, SANDBOX
    )
    message = decision.outcome.message
    assert message.endswith("INFO step 59 done\nCheckpointError: 5 bytes are free")
    assert "It said last: INFO step " in message, "whole lines"
    assert "step 20 done" not in message
    assert len(message) < 1024, "an event holds it"


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        ({"exit": Exit(code=0), "highest_step": 20}, "0 of 1 ready; the run is over"),
        ({"exit": Exit(code=ExitCode.STORAGE)}, "0 of 1 ready; the run is over"),
        ({"exit": Exit(code=0), "suspend": True}, "0 of 1 ready; the run is suspended"),
    ],
    ids=["succeeded", "failed", "suspended"],
)
def test_servers_that_are_not_to_run_are_not_waited_for(seen: dict[str, Any], why: str) -> None:
    learner = make_member(Role.LEARNER, exit=seen.pop("exit"))
    status = at(200.0, learner, **seen).status
    for kind in (ConditionType.ROLLOUT_READY, ConditionType.SANDBOX_READY):
        condition = status.condition(kind)
        assert condition is not None
        assert (condition.status, condition.reason, condition.message) == (ConditionStatus.FALSE, "NotWanted", why)


def test_an_older_attempt_that_notices_it_is_stale_fails_nothing() -> None:
    stale = make_member(Role.LEARNER, attempt=1, exit=Exit(code=ExitCode.STALE_ATTEMPT))
    decision = at(200.0, stale, make_member(Role.LEARNER, attempt=2), ROLLOUT, SANDBOX, learner=make_status(attempt=2))
    assert decision.outcome.kind is OutcomeKind.RUNNING
    assert decision.ensure == ()


def test_a_learner_that_ends_after_its_last_step_has_succeeded() -> None:
    done = make_member(Role.LEARNER, exit=Exit(code=0))
    decision = at(200.0, done, ROLLOUT, SANDBOX, highest_step=20)
    assert decision.outcome.kind is OutcomeKind.SUCCEEDED
    assert sorted(removed(decision)) == ["rollout-0", "sandbox-0"]
    ended = [make_member(role, exit=Exit(signal=15)) for role in (Role.ROLLOUT, Role.SANDBOX)]
    over = at(201.0, done, *ended, highest_step=20)
    assert over.is_over
    summary = over.status.condition(ConditionType.SUCCEEDED)
    assert summary is not None
    assert (summary.status, summary.reason) == (ConditionStatus.TRUE, "Succeeded"), "what kubectl shows as its state"


def test_how_the_others_end_changes_nothing_about_success() -> None:
    members = (make_member(Role.LEARNER, exit=Exit(code=0)), make_member(Role.LEARNER, 1, exit=Exit(signal=15)))
    decision = at(200.0, *members, run_plan=TWO_RANKS, highest_step=20)
    assert decision.outcome.kind is OutcomeKind.SUCCEEDED


def test_a_settled_outcome_stands_whatever_is_seen_later() -> None:
    losses = tuple(make_loss(Role.ROLLOUT, at=float(number), step=5) for number in range(3))
    failed = at(200.0, LEARNER, make_member(Role.ROLLOUT, exit=KILLED), losses=losses, highest_step=5).outcome
    decision = at(201.0, LEARNER, losses=losses, highest_step=6, settled=failed)
    assert decision.outcome == failed
    assert removed(decision) == ["learner-0"]


def test_a_learner_that_ends_early_without_being_asked_is_started_again() -> None:
    decision = at(200.0, make_member(Role.LEARNER, exit=Exit(code=0)), ROLLOUT, SANDBOX, highest_step=19)
    assert ensured(decision) == [("learner-0", 2)]


@pytest.mark.parametrize(
    ("saved", "where"), [(None, "from the start: there is no checkpoint yet"), (15, "from the checkpoint of step 15")]
)
def test_a_restart_says_where_it_goes_on(saved: int | None, where: str) -> None:
    killed = make_member(Role.LEARNER, exit=KILLED)
    decision = at(200.0, killed, ROLLOUT, SANDBOX, highest_step=19, checkpoint_step=saved)
    (again,) = [event.message for event in decision.events if event.kind is EventKind.RESTARTED]
    assert again == f"the learner is started again as attempt 2, {where}"


def test_suspend_asks_for_a_checkpoint_and_waits_for_the_learner() -> None:
    decision = at(0.0, LEARNER, ROLLOUT, SANDBOX, learner=make_status(), suspend=True, suspend_reason="Ctrl-C")
    assert decision.calls == (StopCall(checkpoint=True, reason="Ctrl-C"),)
    assert decision.remove == ()
    assert "checkpoint" in decision.outcome.message
    stopped = make_member(Role.LEARNER, exit=Exit(code=0))
    then = at(1.0, stopped, ROLLOUT, SANDBOX, suspend=True)
    assert sorted(removed(then)) == ["rollout-0", "sandbox-0"]
    ended = [make_member(role, exit=Exit(signal=15)) for role in (Role.ROLLOUT, Role.SANDBOX)]
    last = at(2.0, stopped, *ended, suspend=True)
    assert last.is_over
    assert last.outcome.kind is OutcomeKind.SUSPENDED


@pytest.mark.parametrize(
    "learner",
    [
        None,
        make_status(phase=LearnerPhase.LOADING_MODEL, step=0),
        make_status(phase=LearnerPhase.VALIDATING, step=0),
        make_status(phase=LearnerPhase.WAITING_FOR_ROLLOUT, step=5, resumed_from_step=5),
    ],
)
def test_suspend_during_start_up_ends_everything_at_once(learner: Any) -> None:
    decision = at(0.0, LEARNER, ROLLOUT, SANDBOX, learner=learner, suspend=True)
    assert sorted(removed(decision)) == ["learner-0", "rollout-0", "sandbox-0"]
    assert decision.calls == ()


def test_a_learner_that_waits_for_servers_with_unsaved_steps_is_stopped_with_a_checkpoint() -> None:
    waiting = make_status(phase=LearnerPhase.WAITING_FOR_ROLLOUT, step=5, last_checkpoint_step=4)
    assert len(at(0.0, LEARNER, ROLLOUT, SANDBOX, learner=waiting, suspend=True).calls) == 1


def test_a_broken_gang_cannot_save_and_is_not_waited_for() -> None:
    members = (LEARNER, make_member(Role.LEARNER, 1, exit=KILLED), ROLLOUT, SANDBOX)
    decision = at(0.0, *members, run_plan=TWO_RANKS, learner=make_status(), suspend=True)
    assert "learner-0" in removed(decision)
    assert decision.calls == ()


def test_a_suspended_spec_creates_nothing() -> None:
    decision = at(0.0, run_plan=plan(make_job(suspend=True)))
    assert decision.ensure == ()
    assert decision.is_over


def test_servers_beyond_the_wanted_number_end() -> None:
    surplus = make_member(Role.ROLLOUT, 1)
    assert removed(at(0.0, LEARNER, ROLLOUT, surplus, SANDBOX, learner=make_status())) == ["rollout-1"]


def test_approved_resets_are_posted_until_they_are_final() -> None:
    evidence = Evidence(trigger="t", metric="kl", rule="r", steps=(1,), values=(1.0,), reason="why")
    record = ResetRecord(
        name="demo-reset-1",
        number=1,
        uid="u",
        created=0.0,
        attempt=1,
        evidence_step=1,
        evidence=evidence,
        source=ResetSource.CURRENT,
        optimizer=OptimizerAction.CLEAR,
        condition=ResetCondition.APPROVED,
    )

    def calls(record: ResetRecord, **status: Any) -> tuple[Any, ...]:
        return at(0.0, LEARNER, ROLLOUT, SANDBOX, learner=make_status(**status), resets=(record,)).calls

    (call,) = calls(record)
    assert isinstance(call, ResetCall)
    assert call.command.uid == "u"
    assert calls(record, phase=LearnerPhase.LOADING_MODEL) == ()
    for final in (ResetCondition.APPLIED, ResetCondition.PENDING, ResetCondition.VETOED):
        assert calls(record.model_copy(update={"condition": final})) == ()
    assert calls(record.model_copy(update={"dry_run": True})) == ()


def test_transition_times_move_with_the_status_alone() -> None:
    first = at(10.0, LEARNER, ROLLOUT, SANDBOX, learner=make_status()).status
    second = at(20.0, LEARNER, ROLLOUT, SANDBOX, learner=make_status(step=6), previous=first).status
    assert [item.last_transition_time for item in second.conditions] == [10.0] * len(second.conditions)
    third = at(30.0, LEARNER, SANDBOX, learner=make_status(), previous=second).status
    changed = {item.type for item in third.conditions if item.last_transition_time == 30.0}
    assert changed == {ConditionType.ROLLOUT_READY}


EXITS = st.one_of(
    st.none(),
    st.builds(Exit, code=st.sampled_from([0, 1, 2, 64, 66, 67])),
    st.builds(Exit, signal=st.sampled_from([9, 15])),
)


@st.composite
def observations(draw: st.DrawFn) -> Observed:
    members = []
    for role, count in ((Role.ROLLOUT, 2), (Role.SANDBOX, 1), (Role.LEARNER, 2)):
        for index in range(count):
            for attempt in (1, 2) if role is Role.LEARNER else (0,):
                if draw(st.booleans()):
                    ended = draw(EXITS)
                    state = MemberState.EXITED if ended else draw(st.sampled_from(list(MemberState)[:3]))
                    members.append(make_member(role, index, attempt=attempt, state=state, exit=ended))
    step = draw(st.integers(0, 20))
    learner = draw(st.one_of(st.none(), st.builds(make_status, attempt=st.integers(1, 2), step=st.just(step))))
    return Observed(
        members=tuple(members),
        learner=learner,
        highest_step=step,
        folder_attempt=draw(st.integers(0, 3)),
        suspend=draw(st.booleans()),
        losses=with_losses((), tuple(members), highest_step=draw(st.integers(0, step)), now=100.0),
    )


@given(observed=observations(), now=st.floats(0, 1000))
def test_the_same_observation_gives_the_same_decision(observed: Observed, now: float) -> None:
    assert reconcile(TWO_RANKS, observed, now) == reconcile(TWO_RANKS, observed, now)


@given(observed=observations(), now=st.floats(0, 1000))
def test_only_what_is_not_alive_is_created_and_only_what_is_alive_is_ended(observed: Observed, now: float) -> None:
    decision = reconcile(TWO_RANKS, observed, now)
    alive = {member.key for member in observed.members if member.is_alive}
    assert not alive & {start.key for start in decision.ensure}
    assert all(member.is_alive for member in decision.remove)


@given(observed=observations(), now=st.floats(0, 1000))
def test_an_attempt_never_begins_while_another_lives(observed: Observed, now: float) -> None:
    starts = [start for start in reconcile(TWO_RANKS, observed, now).ensure if start.role is Role.LEARNER]
    if starts:
        assert not any(member.is_alive for member in observed.members if member.role is Role.LEARNER)
        assert len(starts) == TWO_RANKS.learner_ranks
        seen = [observed.folder_attempt, *(m.attempt for m in observed.members if m.role is Role.LEARNER)]
        assert {start.attempt for start in starts} == {1 + max(seen)}


@given(observed=observations(), now=st.floats(0, 1000))
def test_a_settled_run_creates_nothing(observed: Observed, now: float) -> None:
    decision = reconcile(TWO_RANKS, observed, now)
    if decision.outcome.kind is not OutcomeKind.RUNNING or observed.suspend:
        assert decision.ensure == ()


@pytest.mark.parametrize(("told", "kind"), [(0, OutcomeKind.FAILED), (4, OutcomeKind.RUNNING)])
def test_a_refused_attempt_fails_the_run_unless_the_run_folder_said_which_are_taken(
    told: int, kind: OutcomeKind
) -> None:
    """The folder of one machine is seen by its body; who cannot see it learns from the refusal where to go on."""
    stale = make_member(Role.LEARNER, attempt=1, exit=Exit(code=ExitCode.STALE_ATTEMPT))
    decision = at(1000.0, stale, SANDBOX, ROLLOUT, taken_attempt=told, folder_attempt=4)
    assert decision.outcome.kind is kind
    assert {start.attempt for start in decision.ensure} == ({5} if told else set())


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (None, ConditionStatus.TRUE),
        (SignalFault(reason=SignalReason.NOT_READ_YET, message="m"), ConditionStatus.UNKNOWN),
        (SignalFault(reason=SignalReason.READING_HISTORY, message="m"), ConditionStatus.UNKNOWN),
        (SignalFault(reason=SignalReason.UNREACHABLE, message="m"), ConditionStatus.FALSE),
        (SignalFault(reason=SignalReason.NOT_FINITE, message="m"), ConditionStatus.FALSE),
    ],
)
def test_the_condition_of_the_signals_says_what_the_prometheus_is_worth(
    fault: SignalFault | None, status: ConditionStatus
) -> None:
    reading = Reading(lines=[{"step": 7, "attempt": 1}], name="main", fault=fault)
    seen = Observed(metrics=({"step": 9, "attempt": 1},), metrics_at=1.0, signals=reading)
    found = reconcile(plan(make_job()), seen, 10.0).status.condition(ConditionType.METRICS_AVAILABLE)
    assert found is not None
    assert found.status is status
    expected = ("Read", "from Prometheus main, up to step 7") if fault is None else (fault.reason.value, "m")
    assert (found.reason, found.message) == expected
