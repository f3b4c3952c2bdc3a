"""`prorl run` does what any body must do, and what only a command in a terminal has to. Real processes, no model."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from prorl_api.journalled import sampling_settings
from prorl_api.manifest import read_job
from prorl_api.spec.values import Role
from prorl_api.status import ConditionStatus
from tests.conformance.local_world import LocalWorld
from tests.conformance.scenarios import Conformance
from tests.conformance.world import World, metrics, saved_step, succeeded, wait_for, wait_for_step


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[LocalWorld]:
    """A folder with a manifest; nothing of it runs afterwards."""
    world = LocalWorld(tmp_path)
    yield world
    world.close()


class TestConformance(Conformance):
    """The scenarios that hold for every body."""

    @pytest.fixture
    def world(self, bench: LocalWorld) -> LocalWorld:
        """The same bench, under the scenarios' name."""
        return bench

    def termination_message(self, world: World) -> str:
        """The terminal shows the end of the log, and where it lies."""
        assert isinstance(world, LocalWorld)
        assert "learner-0.log" in world.output
        return world.output

    def end(self, world: World) -> None:
        """As a person does."""
        assert isinstance(world, LocalWorld)
        world.bodies[-1].send_signal(signal.SIGINT)
        assert world.finish(world.bodies[-1]) == 130


def test_a_second_start_of_a_finished_run_says_so_and_more_steps_go_on(bench: LocalWorld) -> None:
    bench.write_job(schedule={"totalSteps": 10})
    assert bench.finish() == 0
    assert bench.processes() == []
    assert not list(Path("/dev/shm").glob(f"prorl-{bench.uid()}*"))
    assert "step 10/10" in bench.output
    assert bench.finish() == 0
    assert "raise spec.schedule.totalSteps" in bench.output
    bench.write_job(schedule={"totalSteps": 15})
    assert bench.finish() == 0
    assert "changed since the last start: spec.schedule.totalSteps: 10 -> 15" in bench.output
    assert (bench.status.step, bench.status.attempt) == (15, 2)


def test_a_replaced_server_is_announced(bench: LocalWorld) -> None:
    bench.write_job(schedule={"totalSteps": 100})
    body = bench.begin()
    wait_for_step(bench, 2)
    os.kill(bench.pid(Role.ROLLOUT), signal.SIGKILL)
    assert bench.finish(body) == 0
    assert "rollout-0 is started again after killed by SIGKILL" in bench.output


def test_a_member_that_ends_in_the_same_way_again_and_again_stops_the_run_and_is_quoted_at_once(
    bench: LocalWorld,
) -> None:
    (bench.control / "always-exit-rollout-0").write_text("3")
    bench.write_job(restarts={"maxRestarts": 10, "backoffSeconds": 0.1})
    assert bench.finish() == 1
    assert "rollout-0 ended 3 times in the same way" in bench.output
    first, _, rest = bench.output.partition("rollout-0 is started again after exit code 3")
    assert "told to exit with 3" in first
    assert rest


def test_a_spent_budget_fails_the_run_with_the_log(bench: LocalWorld) -> None:
    (bench.control / "always-exit-rollout-0").write_text("3")
    assert bench.finish() == 1
    assert succeeded(bench.status) is ConditionStatus.FALSE
    assert "rollout was lost 3 times" in bench.output
    assert "told to exit with 3" in bench.output
    assert "rollout-0.log" in bench.output
    assert bench.processes() == []


def test_an_exit_that_no_restart_can_help_is_the_exit_code(bench: LocalWorld) -> None:
    (bench.control / "exit-learner-0").write_text("65")
    assert bench.finish() == 65
    assert "NO_SIGNAL" in bench.output


def test_a_run_that_has_mastered_its_data_ends_well(bench: LocalWorld) -> None:
    (bench.control / "exit-learner-0").write_text("69")
    assert bench.finish() == 0
    assert "MASTERED" in bench.output
    assert "nothing left to learn from this data" in bench.output
    assert succeeded(bench.status) is ConditionStatus.TRUE


def test_ctrl_c_stops_with_a_checkpoint_and_the_same_command_resumes(bench: LocalWorld) -> None:
    bench.write_job(schedule={"totalSteps": 100}, checkpoint={"everySteps": 1000})
    body = bench.begin()
    wait_for_step(bench, 8)
    body.send_signal(signal.SIGINT)
    assert bench.finish(body) == 130
    saved = saved_step(bench)
    assert saved >= 8
    assert "The same command resumes: prorl run" in bench.output
    assert f"the checkpoint of step {saved} is where it goes on" in bench.output
    assert bench.processes() == []
    assert bench.finish() == 0
    assert [line["step"] for line in metrics(bench)] == list(range(1, 101))


def test_a_second_ctrl_c_ends_at_once(bench: LocalWorld) -> None:
    (bench.control / "step-seconds").write_text("600")
    body = bench.begin()
    wait_for(lambda: bench.run.status.exists() and "sampling" in bench.run.status.read_text().lower(), "it samples")
    body.send_signal(signal.SIGTERM)
    wait_for(lambda: "stopping" in bench.output, "the stop is announced")
    assert body.poll() is None
    body.send_signal(signal.SIGINT)
    assert bench.finish(body) == 130
    assert bench.processes() == []


def test_ctrl_c_during_start_up_ends_everything(bench: LocalWorld) -> None:
    body = bench.begin()
    bench.pid(Role.LEARNER)
    body.send_signal(signal.SIGINT)
    assert bench.finish(body) == 130
    assert bench.processes() == []


def test_killing_the_body_leaves_no_orphan_and_loses_nothing(bench: LocalWorld) -> None:
    body = bench.begin()
    wait_for_step(bench, 6)
    assert len(bench.processes()) >= 4
    body.kill()
    body.wait()
    wait_for(lambda: not bench.processes(), "all children have died with the body")
    assert bench.finish() == 0
    assert bench.status.attempt == 2


def test_one_body_drives_a_run(bench: LocalWorld) -> None:
    (bench.control / "step-seconds").write_text("0.2")
    bench.write_job(schedule={"totalSteps": 1000})
    body = bench.begin()
    wait_for_step(bench, 1)
    assert bench.finish() == 1
    assert "driven by another `prorl run`" in bench.output
    body.send_signal(signal.SIGINT)
    assert bench.finish(body) == 130


def test_a_begun_run_refuses_another_model_by_name(bench: LocalWorld) -> None:
    bench.write_job(schedule={"totalSteps": 3})
    assert bench.finish() == 0
    bench.write_job(schedule={"totalSteps": 5}, seed=3)
    assert bench.finish() == 64
    assert "spec.seed: got 3, was 0" in bench.output


def test_an_edit_to_suspend_is_announced_and_ends_the_command_well(bench: LocalWorld) -> None:
    bench.write_job(schedule={"totalSteps": 200})
    body = bench.begin()
    wait_for_step(bench, 3)
    bench.write_job(schedule={"totalSteps": 200}, suspend=True)
    assert bench.finish(body) == 0
    assert "spec.suspend: false -> true (holds now)" in bench.output
    assert "spec.suspend is true: nothing runs" in bench.output


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"seed": 9}, "spec.seed: got 9, was 0; fixed once a run has begun"),
        ({"rollout": {"temprature": 1.0}}, "did you mean `temperature`?"),
        ({"learner": {"precision": "float32"}}, "the run's checkpoints hold the numbers of this one"),
        ({"learner": {"engine": "plain"}}, 'spec.learner.engine: got "plain", was "deepspeed"'),
    ],
)
def test_an_edit_that_cannot_be_taken_up_changes_nothing(
    bench: LocalWorld, sections: dict[str, Any], said: str
) -> None:
    body = bench.begin()
    wait_for_step(bench, 2)
    bench.write_job(**sections)
    assert bench.finish(body) == 0
    assert "the edit is left alone, the run goes on as before" in bench.output
    assert said in bench.output
    assert (succeeded(bench.status), bench.status.attempt) == (ConditionStatus.TRUE, 1)


def test_what_must_wait_is_said_to_wait(bench: LocalWorld) -> None:
    body = bench.begin()
    wait_for_step(bench, 2)
    bench.write_job(rollout={"dtype": "float32"}, sandbox={"replicas": 3}, learner={"deepspeed": {"zeroStage": 3}})
    wait_for(lambda: "manifest: " in bench.output, "the edit is noticed")
    assert bench.finish(body) == 0
    said = 'spec.rollout.dtype: "bfloat16" -> "float32"', "spec.sandbox.replicas: 1 -> 3", "deepspeed.zeroStage: 2 -> 3"
    for change in said:
        assert f"{change} (holds from the next start on)" in bench.output


def test_an_edit_that_is_taken_up_is_the_runs_manifest_and_one_that_is_refused_is_not(bench: LocalWorld) -> None:
    """What `prorl status` advises, `prorl run RUN/job.yaml`, goes on as the user said last."""
    bench.write_job(schedule={"totalSteps": 100_000})
    body = bench.begin()
    wait_for_step(bench, 2)
    edited = {"schedule": {"totalSteps": 100_000}, "checkpoint": {"everySteps": 7}, "rollout": {"dtype": "float32"}}
    bench.write_job(**edited)
    wait_for(lambda: "spec.checkpoint.everySteps" in bench.output, "the edit is noticed")
    assert bench.run.manifest.read_text() == bench.manifest.read_text()
    accepted = bench.run.manifest.read_text()
    bench.write_job(seed=9)
    wait_for(lambda: "spec.seed: got 9" in bench.output, "the edit is refused")
    assert bench.run.manifest.read_text() == accepted
    bench.kill_body()
    wait_for(lambda: not bench.processes(), "all children have died with the body")
    told = len(bench.output)
    bench.manifest = bench.run.manifest
    body = bench.begin()
    wait_for(lambda: bench.status.attempt == 2, "it goes on")
    assert "changed since the last start" not in bench.output[told:]
    text = bench.run.manifest.read_text().replace("totalSteps: 100000", f"totalSteps: {bench.status.step + 20}")
    bench.run.manifest.write_text(text)
    assert bench.finish(body) == 0
    assert bench.run.manifest.read_text() == text


def test_steps_that_an_edit_makes_be_sampled_again_are_named_at_the_edit_and_at_the_resume(bench: LocalWorld) -> None:
    endless = {"schedule": {"totalSteps": 100_000}, "checkpoint": {"everySteps": 100_000}}
    bench.write_job(**endless)
    bench.begin()
    wait_for_step(bench, 2)
    journal = bench.run.journal(1)
    journal.mkdir(parents=True, exist_ok=True)
    for step in (1, 2):  # as the real learner does
        (journal / f"step-{step}.jsonl").write_text("{}\n")
        settings = sampling_settings(read_job(bench.run.effective_manifest).spec)
        (journal / f"step-{step}.settings").write_text(json.dumps(settings))
    bench.kill_body()
    wait_for(lambda: not bench.processes(), "all children have died with the body")
    said = "steps 1 to 2 are sampled again, because spec.rollout.maxCompletionTokens changed"
    bench.begin()
    wait_for(lambda: bench.status.attempt == 2, "it goes on")
    assert "sampled again" not in bench.output, "without an edit nothing is said"
    bench.write_job(**endless, rollout={"maxCompletionTokens": 32})
    wait_for(lambda: f"if the run is started again before its next checkpoint, {said}" in bench.output, "it is noticed")
    os.kill(bench.pid(Role.LEARNER), signal.SIGKILL)
    wait_for(
        lambda: f" {said}" in bench.output.partition("as attempt 3")[2], "it is said when the learner starts again"
    )
    bench.kill_body()
    wait_for(lambda: not bench.processes(), "all children have died with the body")
    told = len(bench.output)
    body = bench.begin()
    wait_for(lambda: f"\n{said}" in f"\n{bench.output[told:]}", "it is said at the resume")
    body.send_signal(signal.SIGINT)
    assert bench.finish(body) == 130


def test_longer_completions_than_the_engines_take_wait_and_shorter_ones_and_those_between_do_not(
    bench: LocalWorld,
) -> None:
    bench.write_job(schedule={"totalSteps": 100_000})
    body = bench.begin()
    wait_for_step(bench, 2)
    said = []
    for length, when in ((65, "next start on: the engines are sized"), (40, "next step on"), (64, "next step on")):
        bench.write_job(schedule={"totalSteps": 100_000}, rollout={"maxCompletionTokens": length})
        said.append(f"-> {length} (holds from the {when}")
        wait_for(lambda: said[-1] in bench.output, said[-1])
    assert json.loads(bench.run.effective_manifest.read_text())["spec"]["rollout"]["maxCompletionTokens"] == 64
    body.send_signal(signal.SIGINT)
    assert bench.finish(body) == 130
    assert bench.status.attempt == 1


def test_engine_and_precision_may_change_as_long_as_there_is_no_checkpoint(bench: LocalWorld) -> None:
    """A first start that did not get far enough, for lack of memory for instance, is no dead end."""
    (bench.control / "exit-learner-0").write_text("64")
    assert bench.finish() == 64
    bench.write_job(learner={"precision": "float32"})
    assert bench.finish() == 0
    assert 'changed since the last start: spec.learner.precision: "bfloat16" -> "float32"' in bench.output
    bench.write_job(learner={"precision": "bfloat16"}, schedule={"totalSteps": 50})
    assert bench.finish() == 64
    assert 'spec.learner.precision: got "bfloat16", was "float32"' in bench.output


def test_a_lost_rank_0_process_is_gone_before_its_successor_starts(bench: LocalWorld) -> None:
    bench.write_job(learner={"processesPerReplica": 2}, schedule={"totalSteps": 80})
    body = bench.begin()
    wait_for_step(bench, 3)
    old = bench.pid(Role.LEARNER)
    (bench.control / "exit-learner-1").write_text("1")
    wait_for(lambda: bench.pid(Role.LEARNER) != old, "rank 0 is restarted too")
    assert not psutil.pid_exists(old)
    assert bench.finish(body) == 0
    assert json.loads(bench.run.current.read_text())["attempt"] == 2
