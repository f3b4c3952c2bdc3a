"""The learner as a process: whole runs, kills at random moments, resets, stops, and one attempt after another."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prorl_api.errors import ExitCode
from prorl_api.metrics import BY_NAME
from prorl_api.names import ENV_TERMINATION_LOG
from prorl_api.run_folder import RunFolder
from prorl_api.wire.sandbox import ScoreItem
from tests.integration.learner_world import World, manifest, world
from tests.unit.trainer.http_apps import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

COMPARED = (
    "policy_loss",
    "kl",
    "kl_loss",
    "gradient_norm",
    "entropy",
    "reward_mean",
    "groups_sampled",
    "resets_total",
    "validation_accuracy",
)
RESET = {"uid": "01RESET", "name": "demo-reset-1", "apply_at_step": 5, "trigger": "kl spike"}
STALE = RESET | {"uid": "02STALE", "name": "demo-reset-2"}
"""Rests on evidence of step 5 too, where the other one replaces the reference that it speaks of."""
ONLY_SOMETIMES = {
    "validation_accuracy",
    "validation_source_accuracy",
    "validation_completions",
    "validation_source_completions",
    "validation_stderr",
    "validation_source_stderr",
    "seconds_validating",
    "seconds_checkpointing",
    "seconds_waiting",
}


@pytest.fixture(scope="module")
def finished(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """An uninterrupted run of eight steps with a reset after the fifth."""
    with world(tmp_path_factory.mktemp("finished")) as made:
        process = made.start(1, manifest(model))
        made.call("POST", "/v1/resets", RESET)
        made.call("POST", "/v1/resets", STALE)
        assert process.wait(timeout=240) == ExitCode.OK, made.log(1)
        yield made


def compared(made: World) -> list[dict[str, Any]]:
    return [{name: line.get(name) for name in ("step", *COMPARED)} for line in made.series()]


def test_every_step_has_one_line_with_every_metric_that_applies(finished: World) -> None:
    lines = finished.series()
    assert [line["step"] for line in lines] == list(range(9))
    for line in lines[1:]:
        known = {name.partition("/")[0] for name in line} - {"time", "stage"}
        assert known <= set(BY_NAME)
        assert set(BY_NAME) - known <= ONLY_SOMETIMES
        assert ("validation_accuracy" in line) == (line["step"] in (4, 8))
        assert line["policy_version"] == line["step"] - 1
        assert 0 < line["weights_changed"] <= 1
    assert set(lines[0]) >= {"step", "attempt", "validation_accuracy", "validation_source_accuracy/sums"}
    assert lines[0]["seconds_waiting"] > 0, "for the first servers, and no part of the rest"
    assert lines[0]["validation_source_accuracy/sums"] == lines[0]["validation_accuracy"]


def test_a_reset_is_applied_at_its_step_and_its_lineage_is_kept(finished: World) -> None:
    state = finished.state()
    assert state.step == 8
    assert state.applied_resets == ("01RESET",)
    first, second = state.lineage
    assert (first.since_step, first.trigger) == (0, "base model")
    assert (second.since_step, second.reset_uid, second.trigger) == (5, "01RESET", "kl spike")
    lines = finished.series()
    assert [line["resets_total"] for line in lines] == [0] * 6 + [1] * 3
    assert lines[5]["kl"] > 1e-3
    assert lines[6]["kl"] < lines[5]["kl"] / 2, "measured against the new reference"
    events = [json.loads(line)["event"] for line in finished.run.reset_log.read_text().splitlines()]
    assert events == ["intent", "expired"], "the second one is superseded by the first"


def test_a_finished_run_leaves_samples_and_nothing_in_shared_memory(finished: World) -> None:
    names = {path.name for path in finished.run.samples.iterdir()}
    assert names == {
        *(f"train-{step}.jsonl" for step in range(1, 9)),
        *(f"validation-{step}.jsonl" for step in (0, 4, 8)),
    }
    assert list((finished.folder / "shared").iterdir()) == []
    kept = {path.name for path in finished.run.references.iterdir()}
    assert kept >= finished.state().digests


def test_a_job_of_no_steps_is_an_evaluation_and_leaves_no_checkpoint(model: Path, tmp_path: Path) -> None:
    wanted = {"samplesPerPrompt": 3, "sources": [{"name": "sums", "size": 4}]}
    with world(tmp_path) as made:
        document = manifest(model, schedule={"totalSteps": 0}, validation=wanted, algorithm={"kl": {"coefficient": 0}})
        assert made.start(1, document).wait(timeout=240) == ExitCode.OK, made.log(1)
        (line,) = made.series()
        assert line["step"] == 0
        assert 0 <= line["validation_accuracy"] <= 1
        samples = [json.loads(text) for text in (made.run.samples / "validation-0.jsonl").read_text().splitlines()]
        assert {(sample["index"], sample["sample"]) for sample in samples} == {
            (i, n) for i in range(4) for n in range(3)
        }
        assert not made.run.current.exists()


@pytest.mark.parametrize("sign", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.thorough)])
def test_an_ended_evaluation_is_no_success_and_samples_again_only_what_was_in_flight(
    model: Path, tmp_path: Path, sign: signal.Signals
) -> None:
    wanted = {"samplesPerPrompt": 2, "sources": [{"name": "sums", "size": 12}]}
    document = manifest(model, schedule={"totalSteps": 0}, validation=wanted, algorithm={"kl": {"coefficient": 0}})

    def index(request: str) -> int:
        return int(request.rpartition(".")[2])

    with world(tmp_path) as made:
        made.hold = lambda request: index(request) >= 8
        process = made.start(1, document)
        journal = made.run.journal(1) / "validation-0.jsonl"
        wait_until(lambda: journal.exists() and journal.read_bytes().count(b"\n") == 8, 240)
        process.send_signal(sign)
        assert process.wait(timeout=60) == (-sign if sign is signal.SIGKILL else ExitCode.FAILED), made.log(1)
        assert made.series() == []
        made.hold = lambda _: False
        made.requests.clear()
        assert made.start(2, document).wait(timeout=240) == ExitCode.OK, made.log(2)
        assert sorted(map(index, made.requests)) == [8, 9, 10, 11], "what was journalled is asked for no more"
        samples = [json.loads(text) for text in (made.run.samples / "validation-0.jsonl").read_text().splitlines()]
        assert {(sample["index"], sample["sample"]) for sample in samples} == {
            (item, number) for item in range(12) for number in (0, 1)
        }


def kill_at_random(made: World, process: Any, dice: random.Random) -> None:
    """SIGKILL in the middle of sampling, or some milliseconds after a step was recorded."""
    if dice.random() < 0.5:
        left = [dice.randint(1, 12)]

        def count(_: str) -> None:
            left[0] -= 1
            if left[0] == 0:
                process.kill()

        made.on_generate = count
    else:
        begun, lines = made.run.metrics, len(made.series())
        delay = dice.uniform(0, 0.3)

        def watch() -> None:
            while process.poll() is None:
                if begun.exists() and begun.read_bytes().count(b"\n") > lines:
                    time.sleep(delay)  # the moment of the kill, not a wait for something
                    process.kill()
                time.sleep(0.002)

        threading.Thread(target=watch, daemon=True).start()


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.thorough)])
def test_kills_at_random_moments_change_no_number(model: Path, finished: World, tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    with world(tmp_path) as made:
        for attempt in range(1, 30):
            made.on_generate = lambda _: None
            process = made.start(attempt, manifest(model))
            if attempt <= 4:
                kill_at_random(made, process, dice)
            made.call("POST", "/v1/resets", RESET)
            code = process.wait(timeout=240)
            if code == ExitCode.OK:
                break
            assert code == -signal.SIGKILL, made.log(attempt)
        assert attempt > 3, "it was killed"
        assert compared(made) == compared(finished)
        state = made.state()
        assert state.applied_resets == ("01RESET",)
        assert [entry.since_step for entry in state.lineage] == [0, 5]
        assert [entry.digest for entry in state.lineage] == [entry.digest for entry in finished.state().lineage]
        # What was journalled is not sampled again: at most the groups in flight at each kill are.
        training = [request.partition(".train.")[2] for request in made.requests if ".train." in request]
        assert len(training) - len(set(training)) <= 4 * (attempt - 1)


def test_deepspeed_trains_and_resumes_to_nearly_the_same_numbers(model: Path, finished: World, tmp_path: Path) -> None:
    document = manifest(model, learner={**manifest(model)["spec"]["learner"], "engine": "deepspeed"})
    with world(tmp_path) as made:
        first = made.start(1, document)
        wait_until(lambda: len(made.series()) > 4 or first.poll() is not None, 240)
        first.kill()
        first.wait()
        assert made.finish(2, document) == ExitCode.OK, made.log(2)
        for line, plain in zip(made.series()[1:6], finished.series()[1:6], strict=True):
            for name in ("policy_loss", "kl", "gradient_norm"):
                assert line[name] == pytest.approx(plain[name], rel=1e-3, abs=1e-5)


def test_an_overtaken_attempt_stops_and_writes_nothing_more(model: Path, tmp_path: Path) -> None:
    with world(tmp_path / "old") as old:
        first = old.start(1, manifest(model))
        wait_until(lambda: len(old.series()) > 2, 240)
        old.hold = lambda _: True  # it sits in the middle of a step
        with world(tmp_path / "new") as new:
            new.run = old.run
            second = new.start(2, manifest(model))
            wait_until(lambda: new.run.highest_attempt() == 2 or second.poll() is not None, 240)
            before = old.series()
            old.hold = lambda _: False
            assert first.wait(timeout=60) == ExitCode.STALE_ATTEMPT, old.log(1)
            assert "attempt 2 has begun" in old.log(1)
            assert second.wait(timeout=240) == ExitCode.OK, new.log(2)
            assert [line["step"] for line in new.series()] == list(range(9))
            assert new.state().attempt == 2
            written = [json.loads(line) for line in new.run.metrics.read_text().splitlines()]
            assert [line for line in written if line["attempt"] == 1] == before


@pytest.mark.parametrize(
    ("where", "trained", "told"),
    [("train.3", 2, 2), pytest.param("validation.4", 4, 3, marks=pytest.mark.thorough), ("validation.8", 8, 7)],
)
def test_a_stop_ends_in_seconds_with_a_checkpoint_and_loses_nothing(
    model: Path, finished: World, tmp_path: Path, where: str, trained: int, told: int
) -> None:
    last_words = tmp_path / "termination-log"
    last_words.touch()
    with world(tmp_path / "world") as made:
        held = threading.Event()

        def hold(request: str) -> bool:
            if f".{where}." in request:
                held.set()
                return True
            return False

        made.hold = hold
        process = made.start(1, manifest(model), **{ENV_TERMINATION_LOG: str(last_words)})
        made.call("POST", "/v1/resets", RESET)
        assert held.wait(240), made.log(1)
        made.call("POST", "/v1/stop", {"checkpoint": True})
        assert process.wait(timeout=30) == ExitCode.OK, made.log(1)
        assert made.state().step == trained
        assert last_words.read_text() == f"completed step {told} of 8\n", "a step is complete once it is recorded"
        made.hold = lambda _: False
        process = made.start(2, manifest(model))
        made.call("POST", "/v1/resets", RESET)
        assert process.wait(timeout=240) == ExitCode.OK, made.log(2)
        assert compared(made) == compared(finished)
        validated = [line["step"] for line in made.series() if "validation_accuracy" in line]
        assert validated == [0, 4, 8]


def test_termination_is_a_stop_with_a_checkpoint(model: Path, tmp_path: Path) -> None:
    with world(tmp_path) as made:
        process = made.start(1, manifest(model))
        wait_until(lambda: len(made.series()) > 2, 240)
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(timeout=60) == ExitCode.OK, made.log(1)
        assert made.state().step >= 2


@pytest.mark.parametrize("checkpoint", ["last", "best", "step-6"])
def test_a_run_continues_another_ones_policy_reference_and_lineage(
    model: Path, finished: World, tmp_path: Path, checkpoint: str
) -> None:
    before = finished.state()
    document = manifest(
        model, initFrom={"run": str(finished.run.path), "checkpoint": checkpoint}, schedule={"totalSteps": 1}
    )
    with world(tmp_path) as made:
        assert made.finish(1, document) == ExitCode.OK, made.log(1)
        state = made.state()
        assert state.lineage[:-1] == before.lineage
        assert state.reference_digest == before.reference_digest
        assert state.lineage[-1].trigger == f"continues {finished.run.path}"
        assert (made.run.references / before.reference_digest / "model.safetensors").is_file()
        assert RunFolder(finished.run.path).highest_attempt() == 1, "the other run is left alone"
        # The policy has moved away from the reference already, unless the best one was before the reset.
        assert made.series()[1]["kl"] > 0


def test_a_run_that_continued_another_one_needs_it_no_more(model: Path, finished: World, tmp_path: Path) -> None:
    """Killed before its first step, and the other run is gone: it still begins where the other one stood."""
    other = tmp_path / "other"
    shutil.copytree(finished.run.path, other)
    document = manifest(model, initFrom={"run": str(other), "checkpoint": "last"}, schedule={"totalSteps": 1})
    with world(tmp_path / "made") as made:
        made.hold = lambda _: True
        first = made.start(1, document)
        wait_until(lambda: bool(made.requests) or first.poll() is not None, 240)
        first.kill()
        first.wait()
        shutil.rmtree(other)
        made.hold = lambda _: False
        assert made.finish(2, document) == ExitCode.OK, made.log(2)
        assert made.state().lineage[-1].trigger == f"continues {other}"
        assert made.state().lineage[:-1] == finished.state().lineage


def test_an_edited_manifest_holds_from_the_next_step_on(model: Path, tmp_path: Path) -> None:
    with world(tmp_path) as made:
        held = threading.Event()

        def hold(request: str) -> bool:
            if ".train.3." in request:
                held.set()
            return held.is_set()

        made.hold = hold
        process = made.start(1, manifest(model))
        assert held.wait(240), made.log(1)
        edited = manifest(model, schedule={"totalSteps": 4})
        edited["spec"]["learner"]["groupSize"] = 2
        (made.folder / "job-1.json").write_text(json.dumps(edited))
        made.hold = lambda _: False
        assert process.wait(timeout=240) == ExitCode.OK, made.log(1)
        assert [line["step"] for line in made.series()] == [0, 1, 2, 3, 4]
        samples = [made.run.samples / f"train-{step}.jsonl" for step in (3, 4)]
        # Four prompts a step, each with a group.
        assert [len(path.read_text().splitlines()) for path in samples] == [16, 8]


def test_a_reward_function_of_one_s_own_travels_from_its_file_to_the_judge(model: Path, tmp_path: Path) -> None:
    rows = [{"prompt": f"What is {number} + 1?", "row": {"wanted": number}} for number in range(12)]
    data, source = tmp_path / "rows.jsonl", "def score(completion, row):\n    return 0.5\n"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "own.py").write_text(source)
    own = {"name": "own", "domain": "custom", "jsonl": str(data), "reward": f"{tmp_path / 'own'}:score", "heldOut": 2}
    judged: set[tuple[str, str]] = set()
    with world(tmp_path / "world") as made:

        def judge(item: ScoreItem) -> float:
            judged.add((item.domain.value, item.reward))
            return made.reward(f"{item.row['wanted']}/{item.completion}") or 0.0

        made.judge = judge
        validation = {"everySteps": 1, "sources": [{"name": "own", "size": 2}]}
        sections = {"data": {"sources": [own]}, "schedule": {"totalSteps": 1}, "validation": validation}
        assert made.start(1, manifest(model, **sections)).wait(timeout=240) == ExitCode.OK, made.log(1)
        assert judged == {("custom", "own")}
        assert {name: function.source for name, function in made.functions.items()} == {"own": source}
        (line,) = [line for line in made.series() if line["step"] == 1]
        assert line["prompts_kept_out/own"] == 0
