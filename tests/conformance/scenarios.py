"""What any body must do, told once: `class TestMyBody(Conformance)` with a fixture `world` runs all of it."""

from __future__ import annotations

import itertools
import os
import random
import signal
import time
from functools import partial
from typing import Any

import psutil
import pytest

from prorl_api.resets import ResetCondition, ResetRecord
from prorl_api.spec.values import Role
from prorl_api.status import ConditionStatus, ConditionType
from tests.conformance.world import (
    World,
    applied_by_the_learner,
    message,
    metrics,
    published,
    saved_step,
    succeeded,
    wait_for,
    wait_for_step,
)

SPIKES = [{"name": "spike", "klSpike": {"above": 0.001, "windowSteps": 2}}]


def is_gone(pid: int) -> bool:
    """Whether the process has ended."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def has_published(world: World, attempt: int) -> bool:
    """Whether a rollout server took weights of that attempt."""
    return attempt in {number for number, _ in published(world)}


def is_open(record: ResetRecord) -> bool:
    """Whether something may still become of it."""
    return not record.condition.is_final


def record_of(world: World, name: str) -> ResetRecord:
    """A record by name."""
    return next(record for record in world.resets if record.name == name)


class Conformance:
    """Needs a fixture `world`: a `World` whose job has not begun."""

    def test_a_run_goes_to_its_end(self, world: World) -> None:
        world.write_job(schedule={"totalSteps": 10})
        world.start()
        status = world.wait_until_over()
        assert (succeeded(status), status.step, status.attempt) == (ConditionStatus.TRUE, 10, 1)
        assert status.last_checkpoint_step == 10
        assert not any(status.restarts.values())
        wait_for(lambda: not world.processes(), "nothing is left running")

    @pytest.mark.parametrize("role", [Role.ROLLOUT, Role.SANDBOX])
    def test_a_killed_server_is_replaced_alone_and_what_it_started_ends_with_it(self, world: World, role: Role) -> None:
        world.write_job(schedule={"totalSteps": 300})
        (world.control / f"detached-{role.value}").touch()
        world.start()
        wait_for_step(world, 2)
        (world.control / f"detached-{role.value}").unlink()
        before, process = world.incarnation(role), psutil.Process(world.pid(role))
        helpers = [child.pid for child in process.children()]
        assert helpers
        learner = world.incarnation(Role.LEARNER)
        process.kill()
        wait_for(lambda: all(map(is_gone, helpers)), "what it started is ended with it")
        wait_for(lambda: world.incarnation(role) not in ("", before), f"{role.value} is replaced")
        assert world.incarnation(Role.LEARNER) == learner
        status = world.wait_until_over()
        assert (succeeded(status), status.attempt) == (ConditionStatus.TRUE, 1)
        assert status.restarts == {**dict.fromkeys(map(str, Role), 0), role.value: 1}

    def test_a_killed_learner_comes_back_as_the_next_attempt_from_its_checkpoint(self, world: World) -> None:
        world.start()
        wait_for_step(world, 7)
        os.kill(world.pid(Role.LEARNER), signal.SIGKILL)
        status = world.wait_until_over()
        assert (succeeded(status), status.attempt) == (ConditionStatus.TRUE, 2)
        assert status.restarts["learner"] == 1
        resumed = next(line["step"] for line in metrics(world) if line["attempt"] == 2)
        assert resumed % 5 == 1
        assert resumed > 5

    def test_one_lost_rank_restarts_the_whole_gang(self, world: World) -> None:
        world.write_job(learner={"processesPerReplica": 2}, schedule={"totalSteps": 80})
        world.start()
        wait_for_step(world, 3)
        before, old = world.incarnation(Role.LEARNER), world.pid(Role.LEARNER)
        (world.control / "exit-learner-1").write_text("1")
        wait_for(lambda: world.incarnation(Role.LEARNER) not in ("", before), "rank 0 is restarted too")
        assert is_gone(old)
        status = world.wait_until_over()
        assert (succeeded(status), status.attempt) == (ConditionStatus.TRUE, 2)

    def test_a_spent_budget_fails_the_run_with_its_termination_message(self, world: World) -> None:
        (world.control / "always-exit-learner-0").write_text("3")
        world.start()
        status = world.wait_until_over()
        assert succeeded(status) is ConditionStatus.FALSE
        assert status.condition(ConditionType.SUCCEEDED).reason == "RestartBudgetSpent"  # type: ignore[union-attr]
        assert "learner was lost 3 times" in message(status)
        assert "told to exit with 3" in self.termination_message(world)
        wait_for(lambda: not world.processes(), "nothing is left running")

    def test_an_exit_that_no_restart_can_help_fails_the_run_at_once(self, world: World) -> None:
        (world.control / "exit-learner-0").write_text("65")
        world.start()
        status = world.wait_until_over()
        assert (succeeded(status), status.attempt) == (ConditionStatus.FALSE, 1)
        assert "NO_SIGNAL" in message(status)

    def test_a_run_that_has_mastered_its_data_succeeds_before_its_last_step(self, world: World) -> None:
        (world.control / "exit-learner-0").write_text("69")
        world.start()
        status = world.wait_until_over()
        assert (succeeded(status), status.attempt) == (ConditionStatus.TRUE, 1)
        assert status.condition(ConditionType.SUCCEEDED).reason == "Mastered"  # type: ignore[union-attr]
        assert "nothing left to learn from this data" in message(status)
        wait_for(lambda: not world.processes(), "nothing is left running")

    def test_suspension_saves_and_its_removal_resumes_without_losing_a_step(self, world: World) -> None:
        world.write_job(schedule={"totalSteps": 200}, checkpoint={"everySteps": 1000})
        world.start()
        wait_for_step(world, 3)
        world.write_job(schedule={"totalSteps": 200}, checkpoint={"everySteps": 1000}, suspend=True)
        status = world.wait_until_over()
        assert "nothing runs" in message(status, ConditionType.SUSPENDED)
        wait_for(lambda: not world.processes(), "nothing is left running")
        stopped = saved_step(world)
        assert stopped >= 3
        world.write_job(schedule={"totalSteps": stopped + 5}, checkpoint={"everySteps": 1000})
        world.start()
        wait_for_step(world, stopped + 5)
        status = world.wait_until_over()
        assert (succeeded(status), status.step, status.attempt) == (ConditionStatus.TRUE, stopped + 5, 2)
        assert [line["step"] for line in metrics(world)] == list(range(1, stopped + 6))

    def test_a_hanging_server_does_not_stall_the_run(self, world: World) -> None:
        world.start()
        wait_for_step(world, 1)
        os.kill(world.pid(Role.ROLLOUT), signal.SIGSTOP)
        assert succeeded(world.wait_until_over()) is ConditionStatus.TRUE

    def test_weights_of_an_attempt_are_never_taken_after_those_of_a_later_one(self, world: World) -> None:
        world.start()
        for attempt in (1, 2):
            wait_for(partial(has_published, world, attempt), f"attempt {attempt} publishes")
            (world.control / "exit-learner-0").write_text("1")
        assert succeeded(world.wait_until_over()) is ConditionStatus.TRUE
        attempts = [attempt for attempt, _ in published(world)]
        assert attempts == sorted(attempts)
        assert set(attempts) == {1, 2, 3}

    def test_resets_happen_exactly_once_however_often_the_body_is_killed(self, world: World) -> None:
        moments = random.Random(7)
        (world.control / "step-seconds").write_text("0.1")
        reset = {"mode": "automatic", "cooldownSteps": 15, "expiresAfterSteps": 1000, "triggers": SPIKES}
        world.write_job(schedule={"totalSteps": 10_000}, referenceReset=reset)
        world.start()
        for target in (12, 24, 36, 48):
            wait_for_step(world, target)
            # Somewhere in a pass, not at a moment that is the same in every round.
            time.sleep(moments.uniform(0.0, 1.0))
            world.kill_body()
            world.revive_body()
        # However long the last one to start takes until it decides.
        wait_for(lambda: sum(record.condition is ResetCondition.APPLIED for record in world.resets) >= 2, "two resets")
        world.write_job(schedule={"totalSteps": 10_000}, referenceReset={**reset, "mode": "disabled"})
        wait_for(lambda: world.resets and not any(is_open(record) for record in world.resets), "all resets are settled")
        world.write_job(schedule={"totalSteps": metrics(world)[-1]["step"] + 30}, referenceReset={"mode": "disabled"})
        assert succeeded(world.wait_until_over()) is ConditionStatus.TRUE
        records = world.resets
        assert [record.number for record in records] == list(range(1, len(records) + 1))
        applied = applied_by_the_learner(world)
        assert set(applied) == {record.uid for record in records if record.condition is ResetCondition.APPLIED}
        steps = sorted(applied.values())
        assert len(steps) >= 2
        assert all(later - earlier >= 15 for earlier, later in itertools.pairwise(steps))

    def test_people_decide_about_resets_while_the_run_goes_on(self, world: World) -> None:
        (world.control / "step-seconds").write_text("0.2")
        reset = {"mode": "approve", "cooldownSteps": 1, "triggers": SPIKES}
        world.write_job(schedule={"totalSteps": 10_000}, referenceReset=reset)
        world.start()
        wait_for(lambda: world.resets, "a reset is proposed")
        first = world.resets[0].name
        assert record_of(world, first).condition is ResetCondition.PENDING
        world.approve(first)
        wait_for(lambda: record_of(world, first).condition is ResetCondition.APPLIED, "it is applied")
        assert record_of(world, first).uid in applied_by_the_learner(world)
        wait_for(lambda: len(world.resets) > 1, "another is proposed")
        second = world.resets[1].name
        world.veto(second)
        asked = world.request_reset()
        wait_for(lambda: record_of(world, asked).condition is ResetCondition.APPLIED, "the one by hand is applied")
        assert record_of(world, asked).evidence.trigger == "manual"
        wait_for(lambda: record_of(world, second).condition is ResetCondition.VETOED, "the other is vetoed")
        assert record_of(world, second).uid not in applied_by_the_learner(world)
        self.end(world)

    def test_a_dry_run_records_what_it_would_do_and_does_nothing(self, world: World) -> None:
        reset = {"mode": "dry-run", "cooldownSteps": 10, "triggers": SPIKES}
        world.write_job(schedule={"totalSteps": 200}, referenceReset=reset)
        world.start()
        assert succeeded(world.wait_until_over()) is ConditionStatus.TRUE
        assert world.resets
        assert all(record.dry_run and record.applied_step is None for record in world.resets)
        assert applied_by_the_learner(world) == {}

    def test_triggers_that_are_edited_while_it_runs_fire(self, world: World) -> None:
        world.write_job(schedule={"totalSteps": 300})
        world.start()
        wait_for_step(world, 2)
        triggers: list[dict[str, Any]] = [{"name": "often", "interval": {"everySteps": 5}}]
        reset = {"mode": "automatic", "cooldownSteps": 0, "triggers": triggers}
        world.write_job(schedule={"totalSteps": 300}, referenceReset=reset)
        status = world.wait_until_over()
        applied = [record for record in world.resets if record.condition is ResetCondition.APPLIED]
        assert {record.evidence.trigger for record in applied} == {"often"}
        assert status.attempt == 1

    def termination_message(self, world: World) -> str:
        """Where the body shows the end of a member's log."""
        return message(world.status)

    def end(self, world: World) -> None:
        """End a run that goes on."""
        raise NotImplementedError
