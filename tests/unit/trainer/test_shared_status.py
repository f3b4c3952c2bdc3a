"""What the learner tells about itself: status, the surviving series, the scrape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prorl_api.limits import Limits
from prorl_api.wire.learner import LearnerPhase
from prorl_trainer.service.metrics_export import exposition
from prorl_trainer.service.shared_status import FINAL_REPORT, SharedStatus
from prorl_trainer.storage.lines import LineFile
from tests.unit.trainer.trainer_builders import make_shared_status, make_spec


def test_a_phase_keeps_its_beginning_while_it_lasts() -> None:
    shared_status = make_shared_status(1, 10)
    shared_status.enter(LearnerPhase.SAMPLING, "round 1")
    first = shared_status.status
    shared_status.enter(LearnerPhase.SAMPLING, "round 2")
    shared_status.beat("round 3")
    status = shared_status.status
    assert (status.phase_since, status.phase_detail) == (first.phase_since, "round 3")
    assert status.heartbeat >= first.heartbeat


def test_a_stop_is_told_to_whoever_waits_and_to_whoever_begins_to() -> None:
    shared_status, told = make_shared_status(1, 10), list[str]()
    shared_status.on_stop(lambda: told.append("waiting"))
    before = shared_status.is_stopping
    shared_status.request_stop(checkpoint=False)
    shared_status.on_stop(lambda: told.append("later"))
    assert told == ["waiting", "later"]
    assert (before, shared_status.is_stopping, shared_status.stop_with_checkpoint) == (False, True, False)


def test_the_last_questions_count_only_if_answered_once_the_loop_is_done() -> None:
    shared_status = make_shared_status(1, 10)
    phase = shared_status.status.phase
    shared_status.enter(LearnerPhase.DONE)
    for what in FINAL_REPORT:
        shared_status.has_told(phase, what)
    before = shared_status.wait_until_told(0.0)
    shared_status.has_told(LearnerPhase.DONE, "resets")
    halfway = shared_status.wait_until_told(0.0)
    shared_status.has_told(LearnerPhase.DONE, "metrics")
    assert (before, halfway, shared_status.wait_until_told(0.0)) == (False, False, True)


def record(shared_status: SharedStatus, file: LineFile, line: dict[str, Any]) -> None:
    """As the loop does."""
    shared_status.publish_metrics(line, file.append(line))


def test_only_the_surviving_timeline_is_shown(tmp_path: Path) -> None:
    file = LineFile(tmp_path / "metrics.jsonl")
    shared_status = SharedStatus(2, 10, file)
    for step, attempt in ((1, 1), (2, 1), (3, 1), (2, 2)):
        record(shared_status, file, {"step": step, "attempt": attempt})
    assert [(line["step"], line["attempt"]) for line in shared_status.metrics_since(-1)] == [(1, 1), (2, 2)]
    assert [line["step"] for line in shared_status.metrics_since(1)] == [2]
    assert shared_status.last_metrics() == {"step": 2, "attempt": 2}


def test_a_scrape_is_one_snapshot_with_job_stage_and_source() -> None:
    shared_status = make_shared_status(1, 10)
    limits = Limits.of(make_spec())
    assert b"prorl_learner_kl_nats" not in exposition("demo", shared_status.status, None, limits)
    line = {"step": 3, "attempt": 1, "stage": "warm", "kl": 0.25, "accuracy_sampled/sums": 0.5, "time": 1.0}
    shared_status.publish_metrics(line, 0)
    text = exposition("demo", shared_status.status, shared_status.last_metrics(), limits).decode()
    assert 'prorl_learner_kl_nats{prorl_job="demo",stage="warm"} 0.25' in text
    assert 'prorl_learner_step{prorl_job="demo",stage="warm"} 3.0' in text
    assert 'prorl_learner_accuracy_sampled{prorl_job="demo",source="sums",stage="warm"} 0.5' in text
    assert "validation_accuracy" not in text, "what does not exist for the step is absent"


def test_a_scrape_says_what_holds_now_and_what_the_spec_asks_for() -> None:
    triggers = [{"name": "spike", "klSpike": {"above": 0.2}}, {"name": "often", "interval": {"everySteps": 9}}]
    spec = make_spec(referenceReset={"mode": "disabled", "triggers": triggers}, checkpoint={"everyMinutes": 5})
    shared_status = make_shared_status(1, 10)
    for step in range(1, 11):
        line = {"step": step, "attempt": 1, "truncated": 0.3, "entropy_sampled/sums": 1.5, "time": 5.0}
        shared_status.publish_metrics(line, 0)
    status = shared_status.status.model_copy(update={"live_rollout_servers": 2, "started": 7.0})
    text = exposition("demo", status, shared_status.last_metrics(), Limits.of(spec)).decode()
    assert 'prorl_learner_kl_bound{metric="kl",prorl_job="demo",trigger="spike"} 0.2' in text
    assert 'prorl_learner_resets_applied{prorl_job="demo"} 0.0' in text
    assert 'prorl_learner_rollout_servers_live{prorl_job="demo"} 2.0' in text
    assert 'prorl_learner_rollout_servers_wanted{prorl_job="demo"} 1.0' in text
    assert 'prorl_learner_checkpoint_due_seconds{prorl_job="demo"} 300.0' in text
    assert 'prorl_learner_step_timestamp_seconds{prorl_job="demo"} 7.0' in text, "the attempt began after it"
    assert 'prorl_learner_truncated_recent_ratio{prorl_job="demo"} 0.3' in text
    assert 'prorl_learner_entropy_sampled_start_nats{prorl_job="demo",source="sums"} 1.5' in text
    assert "prorl_learner_entropy_sampled_recent_nats" not in text
    assert "process_resident_memory_bytes" in text
