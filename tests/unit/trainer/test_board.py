"""What the learner tells about itself: status, the surviving series, the scrape."""

from __future__ import annotations

from prorl_api.wire.learner import LearnerPhase
from prorl_trainer.service.board import FAREWELL, Board
from prorl_trainer.service.metrics_export import exposition


def test_a_phase_keeps_its_beginning_while_it_lasts() -> None:
    board = Board(1, 10)
    board.enter(LearnerPhase.SAMPLING, "round 1")
    first = board.status
    board.enter(LearnerPhase.SAMPLING, "round 2")
    board.beat("round 3")
    status = board.status
    assert (status.phase_since, status.phase_detail) == (first.phase_since, "round 3")
    assert status.heartbeat >= first.heartbeat


def test_a_stop_is_told_to_whoever_waits_and_to_whoever_begins_to() -> None:
    board, told = Board(1, 10), list[str]()
    board.on_stop(lambda: told.append("waiting"))
    before = board.is_stopping
    board.request_stop(checkpoint=False)
    board.on_stop(lambda: told.append("later"))
    assert told == ["waiting", "later"]
    assert (before, board.is_stopping, board.stop_with_checkpoint) == (False, True, False)


def test_the_last_questions_count_only_if_answered_once_the_loop_is_done() -> None:
    board = Board(1, 10)
    phase = board.status.phase
    board.enter(LearnerPhase.DONE)
    for what in FAREWELL:
        board.has_told(phase, what)
    before = board.wait_until_told(0.0)
    board.has_told(LearnerPhase.DONE, "resets")
    halfway = board.wait_until_told(0.0)
    board.has_told(LearnerPhase.DONE, "metrics")
    assert (before, halfway, board.wait_until_told(0.0)) == (False, False, True)


def test_only_the_surviving_timeline_is_shown() -> None:
    board = Board(2, 10)
    for step, attempt in ((1, 1), (2, 1), (3, 1), (2, 2)):
        board.publish_metrics({"step": step, "attempt": attempt})
    assert [(line["step"], line["attempt"]) for line in board.metrics_since(-1)] == [(1, 1), (2, 2)]
    assert [line["step"] for line in board.metrics_since(1)] == [2]
    assert board.last_metrics() == {"step": 2, "attempt": 2}


def test_a_scrape_is_one_snapshot_with_job_stage_and_source() -> None:
    board = Board(1, 10)
    assert b"prorl_learner_kl" not in exposition("demo", board)
    line = {"step": 3, "attempt": 1, "stage": "warm", "kl": 0.25, "accuracy_sampled/sums": 0.5, "time": 1.0}
    board.publish_metrics(line)
    text = exposition("demo", board).decode()
    assert 'prorl_learner_kl_nats{prorl_job="demo",stage="warm"} 0.25' in text
    assert 'prorl_learner_step{prorl_job="demo",stage="warm"} 3.0' in text
    assert 'prorl_learner_accuracy_sampled{prorl_job="demo",source="sums",stage="warm"} 0.5' in text
    assert "validation_accuracy" not in text, "what does not exist for the step is absent"
