"""The learner as a process: what cannot work ends with its own exit code and a message that says what to do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prorl_api.errors import ExitCode
from prorl_api.run_folder import RunFolder
from tests.integration.learner_world import World, manifest, world
from tests.integration.tiny_model import write_tokenizer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def made(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path / "world") as made:
        yield made


def assert_ends(made: World, document: dict[str, Any], code: ExitCode, *texts: str) -> None:
    assert made.finish(1, document) == code, made.log(1)
    messages = "\n".join(json.loads(line)["message"] for line in made.log(1).splitlines() if line.startswith("{"))
    for text in texts:
        assert text in (messages or made.log(1))
    assert "Traceback" not in made.log(1)


def test_a_missing_model_folder(made: World) -> None:
    wanted = ("spec.model.path", "/nowhere/model (no such folder)", "a folder in Hugging Face format")
    assert_ends(made, manifest(Path("/nowhere/model")), ExitCode.BAD_SPEC, *wanted)


def test_a_tokenizer_that_does_not_belong_to_the_model(made: World, model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(model, other)
    write_tokenizer(other, extra_tokens=5)
    wanted = ("a tokenizer with token id 132 and a model with 128 embeddings", "belong together")
    assert_ends(made, manifest(other), ExitCode.BAD_SPEC, *wanted)


def test_an_unknown_task(made: World, model: Path) -> None:
    sources = [{"name": "sums", "domain": "logic", "reasoningGym": {"tasks": [{"name": "no_such_task"}]}}]
    wanted = ("spec.data.sources[sums].reasoningGym.tasks[no_such_task]", "a task of reasoning-gym")
    assert_ends(made, manifest(model, data={"sources": sources}), ExitCode.BAD_SPEC, *wanted)


def test_a_read_only_run_folder(made: World, model: Path, tmp_path: Path) -> None:
    mount = tmp_path / "read-only"
    mount.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "ro", "none", str(mount)], capture_output=True, check=False
    ).returncode == 0  # fmt: skip
    if os.geteuid() == 0 and not mounted:
        pytest.skip("root may write everywhere, and may not mount here")
    try:
        mount.chmod(0o555) if not mounted else None
        made.run = RunFolder(mount)
        wanted = (f"cannot write {mount}", "Make room or fix the permissions")
        assert_ends(made, manifest(model), ExitCode.STORAGE, *wanted)
    finally:
        if mounted:
            subprocess.run(["umount", str(mount)], check=True)


def test_nothing_to_learn_from(made: World, model: Path) -> None:
    made.reward = lambda _: 0.0
    document = manifest(model, algorithm={"dynamicSampling": {"maxRounds": 3}})
    wanted = (
        "nothing to learn from: of 60 groups in 5 samplings in a row at step 1: 60 all wrong",
        "spec.learner.groupSize",
    )
    assert_ends(made, document, ExitCode.NO_SIGNAL, *wanted)


def test_a_judge_that_always_fails(made: World, model: Path) -> None:
    made.reward = lambda _: None
    document = manifest(model, algorithm={"dynamicSampling": {"maxRounds": 1}})
    wanted = ("RewardError: the judge failed on 16 of 16 rollouts", "spec.sandbox.maxMaskedFraction", "out of memory")
    assert_ends(made, document, ExitCode.FAILED, *wanted)


def test_settings_that_a_checkpoint_does_not_allow(made: World, model: Path) -> None:
    assert made.finish(1, manifest(model, schedule={"totalSteps": 1})) == ExitCode.OK, made.log(1)
    document = manifest(model, seed=6)
    document["spec"]["learner"]["precision"] = "bfloat16"
    assert made.finish(2, document) == ExitCode.BAD_SPEC
    assert "spec.seed: got 6; the checkpoint was made with 5" in made.log(2)
    assert "spec.learner.precision: got bfloat16; the checkpoint was made with float32" in made.log(2)


def test_a_rollout_engine_that_samples_from_another_policy(made: World, model: Path) -> None:
    """The step is not kept: once the engine is put right, it is sampled anew and not taken from the journal."""
    document = manifest(model, algorithm={"engineMismatch": {"maxLogprobDistance": 0.2}})
    wanted = ("step 1: engine mismatch", "nats on average, at most 0.2 are allowed", "spec.rollout.dtype")
    assert_ends(made, document, ExitCode.ENGINE_MISMATCH, *wanted)
    sampled = set(made.requests)
    made.requests.clear()
    assert made.finish(2, manifest(model, schedule={"totalSteps": 1})) == ExitCode.OK, made.log(2)
    again = {name.split(".", 1)[1] for name in made.requests if ".train.1." in name}
    assert {name.split(".", 1)[1] for name in sampled if ".train.1." in name} == again


def test_rollout_servers_that_compute_another_model_with_the_first_weights(made: World, model: Path) -> None:
    made.refusal = "engine mismatch: 2.3 nats on average"
    wanted = ("no rollout server can serve weights", "2.3 nats on average", "maxLogprobDistance")
    assert_ends(made, manifest(model), ExitCode.ENGINE_MISMATCH, *wanted)
