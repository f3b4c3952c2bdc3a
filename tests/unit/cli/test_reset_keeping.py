"""Records of resets on one machine: in step with what the learner says, also with what it did by itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prorl_api.resets import Evidence, ResetCondition, ResetRecord
from prorl_api.run_folder import RunFolder
from prorl_api.settings import RolloutServerSettings, SandboxSettings
from prorl_api.spec.resets import Interval, ReferenceResetSpec, Trigger
from prorl_api.spec.run import RestartSpec
from prorl_api.spec.values import OptimizerAction, ResetMode, ResetSource
from prorl_api.wire.learner import LearnerPhase, LearnerStatus, ResetCommand, ResetOutcome, ResetState
from prorl_cli.local.reset_files import ResetFiles, intended_resets
from prorl_cli.local.reset_keeper import ResetKeeper
from prorl_cli.resets import approve
from prorl_control.plan import RunPlan
from prorl_control.resets.records import ResetStateError

POLICY = ReferenceResetSpec(cooldown_steps=4, triggers=(Trigger(name="often", interval=Interval(every_steps=4)),))


def make_plan(policy: ReferenceResetSpec) -> RunPlan:
    return RunPlan(
        job_name="demo",
        total_steps=20,
        num_rollout_servers=1,
        num_sandboxes=1,
        learner_replicas=1,
        learner_ranks_per_replica=1,
        rollout_settings=RolloutServerSettings(),
        sandbox_settings=SandboxSettings(),
        restarts=RestartSpec(),
        reference_reset=policy,
        suspend=False,
    )


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


def make_keeper(run: RunFolder, policy: ReferenceResetSpec) -> ResetKeeper:
    return ResetKeeper(ResetFiles(run), make_plan(policy), new_uid=lambda: "new")


@pytest.fixture
def keeper(run: RunFolder) -> ResetKeeper:
    return make_keeper(run, POLICY)


def make_record(number: int, **changes: object) -> ResetRecord:
    record = ResetRecord(
        name=f"demo-reset-{number}",
        number=number,
        uid="u",
        created=0.0,
        attempt=1,
        evidence_step=3,
        evidence=Evidence(trigger="spike", metric="kl", rule="r", steps=(3,), values=(1.0,), reason="KL averaged 1"),
        source=ResetSource.CURRENT,
        optimizer=OptimizerAction.CLEAR,
        condition=ResetCondition.APPROVED,
    )
    return record.model_copy(update=changes)


STAGE = ResetOutcome(
    uid="stage-late",
    name="stage-late",
    state=ResetState.APPLIED,
    applied_step=6,
    digest_before="a" * 64,
    digest_after="b" * 64,
    optimizer=OptimizerAction.KEEP,
    trigger="stage late begins",
)


def test_a_reset_that_the_learner_did_by_itself_gets_one_record(keeper: ResetKeeper) -> None:
    for _ in range(2):
        keeper.take([STAGE], attempt=3, now=5.0)
    (record,) = keeper.read()
    assert (record.name, record.uid, record.attempt) == ("demo-reset-1", "stage-late", 3)
    assert (record.condition, record.applied_step, record.digest_after) == (ResetCondition.APPLIED, 6, "b" * 64)
    assert (record.evidence.trigger, record.evidence.reason) == ("stage", "stage late begins")
    assert record.optimizer is OptimizerAction.KEEP


def test_one_that_is_not_applied_yet_gets_none(keeper: ResetKeeper) -> None:
    waiting = STAGE.model_copy(update={"state": ResetState.ACCEPTED, "applied_step": None})
    keeper.take([waiting], attempt=1, now=0.0)
    assert keeper.read() == ()


@pytest.mark.parametrize(("step", "proposed"), [(9, 0), (10, 1)])
def test_cooldown_and_interval_count_from_a_stages_reset(keeper: ResetKeeper, step: int, proposed: int) -> None:
    keeper.take([STAGE], attempt=1, now=0.0)
    samples = [{"step": done, "attempt": 1, "kl": 0.1} for done in range(1, step + 1)]
    learner = LearnerStatus(
        attempt=1, phase=LearnerPhase.SAMPLING, phase_since=0, heartbeat=0, step=step, total_steps=20
    )
    keeper.advance(learner, samples, now=1.0)
    assert len(keeper.read()) == 1 + proposed


def write_log(run: RunFolder, *uids: str) -> None:
    lines = []
    for uid in uids:
        command = ResetCommand(uid=uid, name=uid, trigger=f"{uid} begins").model_dump(mode="json")
        lines.append(
            {"event": "intent", "step": 7, "digest_before": "a" * 64, "digest_after": "b" * 64, "command": command}
        )
    run.reset_log.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_what_is_open_when_the_run_succeeds_is_settled_by_the_learners_log(run: RunFolder, keeper: ResetKeeper) -> None:
    files = ResetFiles(run)
    files.create(make_record)
    files.create(lambda number: make_record(number, uid="never-applied"))
    dry = files.create(lambda number: make_record(number, uid="dry", dry_run=True, condition=ResetCondition.PENDING))
    write_log(run, "u", "stage-late")
    for _ in range(2):
        keeper.take(intended_resets(run.reset_log), attempt=2, now=9.0)
        keeper.conclude([])
    applied, never, still_dry, stage = keeper.read()
    assert (applied.condition, applied.applied_step, applied.digest_after) == (ResetCondition.APPLIED, 7, "b" * 64)
    assert never.condition is ResetCondition.EXPIRED
    assert still_dry == dry
    assert (stage.uid, stage.condition, stage.evidence.reason) == (
        "stage-late",
        ResetCondition.APPLIED,
        "stage-late begins",
    )


def test_disabled_triggers_still_record_a_stages_reset(run: RunFolder) -> None:
    keeper = make_keeper(run, POLICY.model_copy(update={"mode": ResetMode.DISABLED}))
    keeper.take([STAGE], attempt=1, now=0.0)
    assert len(keeper.read()) == 1


def test_a_pending_reset_is_superseded_by_one_applied_after_its_evidence(run: RunFolder) -> None:
    run.identity.touch()
    files, keeper = ResetFiles(run), make_keeper(run, POLICY.model_copy(update={"mode": ResetMode.APPROVE}))
    files.create(lambda number: make_record(number, uid="old", condition=ResetCondition.PENDING, evidence_step=10))
    files.create(lambda number: make_record(number, uid="new", condition=ResetCondition.APPLIED, applied_step=12))
    with pytest.raises(ResetStateError, match="superseded: demo-reset-2 was applied at step 12"):
        approve(run.path, "demo-reset-1")
    assert keeper.read()[0].condition is ResetCondition.PENDING, "no body has looked yet"
    samples = [{"step": done, "attempt": 1} for done in range(1, 14)]
    learner = LearnerStatus(attempt=1, phase=LearnerPhase.SAMPLING, phase_since=0, heartbeat=0, step=13, total_steps=20)
    keeper.advance(learner, samples, now=1.0)
    assert keeper.read()[0].condition is ResetCondition.EXPIRED
