"""The learner as a process: single events that must not end a run, and what several of them in a row come to."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prorl_api.errors import ExitCode
from prorl_api.wire.sandbox import ScoreItem
from tests.integration.learner_world import POISON, World, manifest, world
from tests.integration.tiny_model import write_poisoned
from tests.unit.trainer.http_apps import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_poisoned(tmp_path_factory.mktemp("poisoned"), POISON)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path / "world") as made:
        yield made


def step_of(name: str) -> int:
    """The training step of a request or an item; 0: a validation's."""
    return int(name.split(".")[2]) if ".train." in name else 0


def index_of(name: str) -> int:
    """The prompt's index in the stream; -1: a validation's."""
    return int(name.split(".")[3].partition("/")[0]) if ".train." in name else -1


def short(model: Path, steps: int = 6, **sections: Any) -> dict[str, Any]:
    algorithm = {"dynamicSampling": {"maxRounds": 1, "maxEmptySamplings": 3}}
    return manifest(model, **{"schedule": {"totalSteps": steps}, "algorithm": algorithm, **sections})


def training(made: World) -> list[dict[str, Any]]:
    return [line for line in made.series() if line["step"] > 0]


def samples(made: World, step: int) -> list[dict[str, Any]]:
    path = made.run.samples / f"train-{step}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def varied(item: ScoreItem) -> float:
    """One right completion a group of four."""
    return float(item.item_id.endswith("/0"))


def test_a_sampling_without_signal_is_followed_by_the_next_prompts(made: World, model: Path) -> None:
    """Step 3 looks at prompts 8 to 15 in vain and trains on 16 to 19."""
    made.judge = lambda item: 0.0 if step_of(item.item_id) == 3 and index_of(item.item_id) < 16 else varied(item)
    assert made.finish(1, short(model)) == ExitCode.OK, made.log(1)
    lines = training(made)
    assert [line["step"] for line in lines] == list(range(1, 7))
    assert [line["samplings_empty"] for line in lines] == [0, 0, 2, 0, 0, 0]
    assert [line["groups_sampled"] for line in lines] == [4, 4, 12, 4, 4, 4]
    assert {line["prompt_index"] for line in samples(made, 3)} == {16, 17, 18, 19}
    assert {line["prompt_index"] for line in samples(made, 4)} == {20, 21, 22, 23}


def test_a_kill_between_two_samplings_changes_no_number(made: World, model: Path, tmp_path: Path) -> None:
    def judge(item: ScoreItem) -> float:
        return 0.0 if step_of(item.item_id) == 3 and index_of(item.item_id) < 16 else varied(item)

    with world(tmp_path / "whole") as whole:
        whole.judge = made.judge = judge
        assert whole.finish(1, short(model)) == ExitCode.OK, whole.log(1)
        made.hold = lambda request: step_of(request) == 3 and index_of(request) >= 12
        first = made.start(1, short(model))
        wait_until(lambda: any(step_of(name) == 3 and index_of(name) >= 12 for name in made.requests), 120)
        first.kill()
        first.wait()
        made.hold = lambda _: False
        assert made.finish(2, short(model)) == ExitCode.OK, made.log(2)
        names = ("step", "policy_loss", "kl", "groups_sampled", "samplings_empty", "reward_mean")
        assert [[line[name] for name in names] for line in training(made)] == [
            [line[name] for name in names] for line in training(whole)
        ]


def test_sampling_after_sampling_without_signal_ends_with_a_checkpoint_behind_them(made: World, model: Path) -> None:
    made.judge = lambda item: 0.0 if step_of(item.item_id) == 3 else varied(item)
    assert made.finish(1, short(model)) == ExitCode.NO_SIGNAL, made.log(1)
    assert "of 12 groups in 3 samplings in a row at step 3: 12 all wrong" in made.log(1)
    assert (made.state().step, made.state().next_prompt_index) == (2, 20)
    assert {line["reward"] for line in samples(made, 3)} == {0.0}
    made.judge = varied
    assert made.finish(2, short(model)) == ExitCode.OK, made.log(2)
    assert {line["prompt_index"] for line in samples(made, 3)} == {20, 21, 22, 23}, "none of them is looked at again"


def test_a_run_whose_groups_are_all_right_has_mastered_its_data(made: World, model: Path) -> None:
    made.judge = lambda item: 1.0 if step_of(item.item_id) >= 3 else varied(item)
    assert made.finish(1, short(model)) == ExitCode.MASTERED, made.log(1)
    assert "the policy has mastered its data" in made.log(1)
    assert "12 all right" in made.log(1)
    assert made.state().step == 2
    assert {line["reward"] for line in samples(made, 3)} == {1.0}


def test_a_reward_that_is_no_number_is_masked_and_counted(made: World, model: Path) -> None:
    def judge(item: ScoreItem) -> float:
        return math.nan if step_of(item.item_id) == 2 and item.item_id.endswith("/3") else varied(item)

    made.judge = judge
    document = short(model, sandbox={"maxMaskedFraction": 0.3})
    assert made.finish(1, document) == ExitCode.OK, made.log(1)
    assert [line["rollouts_masked"] for line in training(made)] == [0, 4, 0, 0, 0, 0]
    masked = [line for line in samples(made, 2) if line["reward"] is None]
    assert len(masked) == 4
    assert {line["verdict"] for line in masked} == {"sandbox_error"}


def test_a_minibatch_that_is_not_finite_is_skipped(made: World, poisoned: Path) -> None:
    """Two minibatches of two groups a step: the second one of step 2 and both of step 4."""
    made.judge = varied
    made.poison = lambda request: (step_of(request), index_of(request) % 4 // 2) in {(2, 1), (4, 0), (4, 1)}
    assert made.finish(1, short(poisoned)) == ExitCode.OK, made.log(1)
    lines = training(made)
    assert [line["step"] for line in lines] == list(range(1, 7))
    assert [line["minibatches_skipped"] for line in lines] == [0, 1, 0, 2, 0, 0]
    assert "policy_loss" not in lines[3]
    assert lines[3]["weights_changed"] == 0.0
    assert all(math.isfinite(value) for line in lines for value in line.values() if isinstance(value, float))


def test_minibatch_after_minibatch_that_is_not_finite_ends_the_run_and_is_not_repeated(
    made: World, poisoned: Path
) -> None:
    made.judge = varied
    made.poison = lambda request: 2 <= step_of(request) <= 4
    assert made.finish(1, short(poisoned)) == ExitCode.NON_FINITE, made.log(1)
    assert "of the last 6 minibatches were not finite" in made.log(1)
    assert (made.state().step, made.state().next_prompt_index) == (4, 16)
    assert made.finish(2, short(poisoned)) == ExitCode.OK, made.log(2)
    assert [line["step"] for line in training(made)] == list(range(1, 7))


@pytest.mark.thorough
def test_a_run_of_500_steps_goes_on_through_all_of_it_to_its_end(made: World, poisoned: Path) -> None:
    """Too long prompts, samplings without signal, rewards of NaN, losses that are NaN, a live raise of the length."""
    long = {"tasks": [{"name": "chain_sum", "config": {"min_terms": 2, "max_terms": 14}}]}
    source = {"name": "sums", "domain": "logic", "reasoningGym": long}

    def document(completion: int) -> dict[str, Any]:
        return short(
            poisoned,
            500,
            data={"sources": [source]},
            rollout={"maxPromptTokens": 150, "maxCompletionTokens": completion},
            learner={"promptsPerStep": 2, "minibatchPrompts": 2},
            validation={"everySteps": 250},
            checkpoint={"everySteps": 100},
            sandbox={"maxMaskedFraction": 0.3},
        )

    def judge(item: ScoreItem) -> float:
        step = step_of(item.item_id)
        if step % 11 == 5 and index_of(item.item_id) % 3:
            return 0.0
        return math.nan if step % 17 == 3 and item.item_id.endswith("/3") else varied(item)

    made.judge = judge
    made.poison = lambda request: step_of(request) % 40 == 39
    process = made.start(1, document(8))
    wait_until(lambda: len(made.series()) > 50 or process.poll() is not None, 240)
    (made.folder / "job-1.json").write_text(json.dumps(document(100)))
    assert process.wait(timeout=600) == ExitCode.OK, made.log(1)[-3000:]
    lines = training(made)
    assert [line["step"] for line in lines] == list(range(1, 501))
    totals = {
        name: sum(line[name] for line in lines)
        for name in ("prompts_passed_over", "samplings_empty", "rollouts_masked", "minibatches_skipped")
    }
    assert all(total > 5 for total in totals.values()), totals
    assert "not taken up" not in made.log(1)
