"""Resets at the learner: accepted once, due at their step, never lost and never applied twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prorl_api.wire.learner import ResetCommand, ResetState
from prorl_trainer.service.reset_queue import ResetQueue
from prorl_trainer.storage.lines import LineFile

BEFORE, AFTER = "1" * 64, "2" * 64


def make_desk(folder: Path, *, step: int = 0, applied: tuple[str, ...] = ()) -> ResetQueue:
    """The reset queue of a learner that resumed at a checkpoint."""
    reset_queue = ResetQueue(LineFile(folder / "resets.jsonl"))
    reset_queue.resume(step, applied)
    return reset_queue


def make_command(uid: str = "u1", **fields: Any) -> ResetCommand:
    return ResetCommand(uid=uid, name=f"demo-reset-{uid}", **fields)


def due(reset_queue: ResetQueue, step: int) -> list[str]:
    return [command.uid for command in reset_queue.due(step)]


def states(reset_queue: ResetQueue) -> dict[str, ResetState]:
    return {outcome.uid: outcome.state for outcome in reset_queue.outcomes().resets}


def test_posting_again_changes_nothing(tmp_path: Path) -> None:
    reset_queue = make_desk(tmp_path)
    first = reset_queue.post(make_command(apply_at_step=5), step=1)
    assert first.state is ResetState.ACCEPTED
    assert reset_queue.post(make_command(apply_at_step=9), step=2) == first
    assert due(reset_queue, 5) == ["u1"]
    reset_queue.applied(make_command(), step=5, before=BEFORE, after=AFTER)
    outcome = reset_queue.post(make_command(), step=6)
    assert (outcome.state, outcome.applied_step, outcome.digest_after) == (ResetState.APPLIED, 5, AFTER)
    assert due(reset_queue, 6) == []


def test_a_reset_is_due_at_its_step_or_at_the_next_boundary(tmp_path: Path) -> None:
    reset_queue = make_desk(tmp_path)
    reset_queue.post(make_command("now"), step=2)
    reset_queue.post(make_command("later", apply_at_step=4), step=2)
    assert due(reset_queue, 2) == ["now"]
    assert due(reset_queue, 3) == ["now"]
    assert due(reset_queue, 4) == ["now", "later"]


@pytest.mark.parametrize(("step", "is_due"), [(6, True), (7, False)])
def test_a_late_reset_expires(tmp_path: Path, step: int, is_due: bool) -> None:
    reset_queue = make_desk(tmp_path)
    reset_queue.post(make_command(expires_after_step=6), step=1)
    assert due(reset_queue, step) == (["u1"] if is_due else [])
    assert states(reset_queue)["u1"] is (ResetState.ACCEPTED if is_due else ResetState.EXPIRED)


def test_an_expired_or_failed_reset_stays_so_after_a_resume(tmp_path: Path) -> None:
    reset_queue = make_desk(tmp_path)
    reset_queue.post(make_command("old", expires_after_step=1), step=0)
    reset_queue.post(make_command("bad"), step=0)
    due(reset_queue, 2)
    reset_queue.fail(make_command("bad"), "no best policy")
    again = make_desk(tmp_path, step=0)
    assert states(again) == {"old": ResetState.EXPIRED, "bad": ResetState.FAILED}
    assert again.post(make_command("bad"), step=0).message == "no best policy"
    assert due(again, 0) == []


def test_an_intent_beyond_the_checkpoint_is_applied_again_at_exactly_its_step(tmp_path: Path) -> None:
    reset_queue = make_desk(tmp_path)
    reset_queue.post(make_command(), step=5)
    reset_queue.intend(make_command(), step=6, before=BEFORE, after=AFTER)
    again = make_desk(tmp_path, step=4)  # killed before the checkpoint that would contain it
    again.post(make_command(), step=4)  # the body has seen no acknowledgement and posts it again
    assert [due(again, step) for step in (4, 5, 6)] == [[], [], ["u1"]]
    assert states(again) == {"u1": ResetState.ACCEPTED}


def test_a_reset_that_the_checkpoint_contains_is_acknowledged_and_not_applied_again(tmp_path: Path) -> None:
    reset_queue = make_desk(tmp_path)
    reset_queue.intend(make_command(), step=6, before=BEFORE, after=AFTER)
    again = make_desk(tmp_path, step=6, applied=("u1",))
    assert due(again, 6) == []
    (outcome,) = again.outcomes().resets
    assert (outcome.state, outcome.applied_step) == (ResetState.APPLIED, 6)
    assert (outcome.digest_before, outcome.digest_after) == (BEFORE, AFTER)


def test_a_finished_reset_posted_before_the_resume_is_not_applied_again(tmp_path: Path) -> None:
    make_desk(tmp_path).intend(make_command(), step=6, before=BEFORE, after=AFTER)
    again = ResetQueue(LineFile(tmp_path / "resets.jsonl"))
    again.post(make_command(), step=0)  # the API is up before the checkpoint is read
    again.resume(6, ("u1",))
    assert due(again, 6) == []
    assert states(again) == {"u1": ResetState.APPLIED}


def test_a_pending_reset_posted_before_the_resume_waits_for_its_step(tmp_path: Path) -> None:
    make_desk(tmp_path).intend(make_command(), step=6, before=BEFORE, after=AFTER)
    again = ResetQueue(LineFile(tmp_path / "resets.jsonl"))
    again.post(make_command(), step=0)
    again.resume(4, ())
    assert [due(again, step) for step in (4, 5, 6)] == [[], [], ["u1"]]


def test_a_reset_that_nobody_noted_is_forgotten_and_asked_for_again(tmp_path: Path) -> None:
    make_desk(tmp_path).post(make_command(), step=3)
    again = make_desk(tmp_path, step=2)
    assert states(again) == {}
    again.post(make_command(), step=2)
    assert due(again, 2) == ["u1"]


def test_evidence_of_a_reference_that_is_gone_moves_nothing(tmp_path: Path) -> None:
    reset_queue = make_desk(tmp_path)
    reset_queue.post(make_command("stale", apply_at_step=10), step=36)
    (command,) = reset_queue.due(37)
    assert reset_queue.supersede(command, last_reset_step=20)
    assert due(reset_queue, 37) == []
    again = make_desk(tmp_path, step=37)
    outcome = again.post(command, step=37)
    assert (outcome.state, "reset at step 20" in outcome.message) == (ResetState.EXPIRED, True)


@pytest.mark.parametrize("last_reset_step", [None, 9])
def test_evidence_after_the_last_reset_counts(tmp_path: Path, last_reset_step: int | None) -> None:
    reset_queue = make_desk(tmp_path)
    reset_queue.post(make_command(apply_at_step=10), step=9)
    assert [reset_queue.supersede(command, last_reset_step) for command in reset_queue.due(10)] == [False]
    assert due(reset_queue, 10) == ["u1"]


def test_what_a_person_asks_for_is_never_superseded(tmp_path: Path) -> None:
    reset_queue = make_desk(tmp_path)
    assert not reset_queue.supersede(make_command(), last_reset_step=20)


def test_two_resets_begun_at_one_boundary_are_both_repeated_after_a_kill(tmp_path: Path) -> None:
    before = make_desk(tmp_path)
    for uid in ("stage", "asked"):
        before.intend(make_command(uid), step=6, before=BEFORE, after=AFTER)
    again = make_desk(tmp_path, step=4)
    assert [again.supersede(command, last_reset_step=6) for command in again.due(6)] == [False, False]
