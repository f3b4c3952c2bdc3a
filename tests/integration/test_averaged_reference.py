"""The reference as an average over the policy's steps: its weights, and runs that were killed in between."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prorl_api.errors import ExitCode
from prorl_trainer.engines.build import load_policy
from prorl_trainer.engines.weight_files import file_digest, write_weights
from tests.integration.engine_kit import (
    CPU,
    PLACES,
    is_equal,
    learner_spec,
    make_engine,
    reference_of,
    train,
    weights_of,
    world_of_one,
)
from tests.integration.learner_world import World, manifest, world
from tests.unit.trainer.http_apps import wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*torch.distributed.* is deprecated:FutureWarning"),
]

DECAY = 0.75
RESET = {"uid": "01RESET", "name": "demo-reset-1", "apply_at_step": 5, "trigger": "by hand"}
COMPARED = ("policy_loss", "kl", "kl_loss", "gradient_norm", "reward_mean", "validation_accuracy")


@pytest.fixture(scope="module", autouse=True)
def process_group() -> Iterator[None]:
    with world_of_one():
        yield


@pytest.mark.parametrize("place", ["resident", *PLACES])
@pytest.mark.parametrize("kind", ["plain", "deepspeed"])
def test_it_is_the_weighted_sum_of_all_policies(model: Path, tmp_path: Path, kind: str, place: str) -> None:
    """decay^3 base + (1 - decay) (decay^2 first + decay second + third), in float64."""
    spec = learner_spec(kind)
    engine = make_engine(model, spec)
    if place != "resident":
        whole = load_policy(str(model), spec, CPU)
        engine._reference = PLACES[place](whole)
    policies = [{name: tensor.double() for name, tensor in weights_of(engine).items()}]
    for seed in (1, 2, 3):
        train(engine, [seed])
        engine.average_reference(DECAY)
        policies.append({name: tensor.double() for name, tensor in weights_of(engine).items()})
    shares = [DECAY**3, (1 - DECAY) * DECAY**2, (1 - DECAY) * DECAY, 1 - DECAY]
    assert sum(shares) == 1
    for name, found in reference_of(engine).items():
        wanted = sum(share * policy[name] for share, policy in zip(shares, policies, strict=True))
        assert (found.double() - wanted).abs().max() < 1e-6
        assert (found.double() - policies[0][name]).abs().max() > 1e-4, "it has left the base"
    unkept, before = [engine.reference_is_unkept], reference_of(engine)
    write_weights(tmp_path / "kept", engine.reference_weights())
    engine.reference_is_kept_in(tmp_path / "kept")
    unkept.append(engine.reference_is_unkept)
    engine.average_reference(0.5)
    engine.reference_from_file(tmp_path / "kept")
    assert is_equal(reference_of(engine), before), "to the last bit"
    assert [*unkept, engine.reference_is_unkept] == [True, False, False]


def averaging(model: Path) -> dict[str, Any]:
    kl, checkpoint = {"coefficient": 0.05, "referenceDecay": DECAY}, {"everySteps": 3, "keep": 1}
    return manifest(model, algorithm={"kl": kl}, checkpoint=checkpoint)


def compared(made: World) -> list[dict[str, Any]]:
    return [{name: line.get(name) for name in ("step", *COMPARED)} for line in made.series()]


@pytest.fixture(scope="module")
def undisturbed(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Eight steps with a reset after the fifth, checkpoints at 3, 5, 6 and 8."""
    with world(tmp_path_factory.mktemp("averaged")) as made:
        process = made.start(1, averaging(model))
        made.call("POST", "/v1/resets", RESET)
        assert process.wait(timeout=240) == ExitCode.OK, made.log(1)
        yield made


def test_a_run_s_kl_is_that_to_a_reference_that_follows(model: Path, undisturbed: World, tmp_path: Path) -> None:
    with world(tmp_path) as made:
        assert made.finish(1, manifest(model, schedule={"totalSteps": 5})) == ExitCode.OK, made.log(1)
        fixed = made.series()
    found = undisturbed.series()
    assert found[1]["kl"] == fixed[1]["kl"], "nothing has moved before the first step ends"
    assert all(0 < one["kl"] < other["kl"] for one, other in zip(found[2:6], fixed[2:6], strict=True))


def test_a_reset_replaces_the_average_and_it_goes_on_from_there(undisturbed: World) -> None:
    (intent,) = [
        entry
        for line in undisturbed.run.reset_log.read_text().splitlines()
        if (entry := json.loads(line))["event"] == "intent"
    ]
    state = undisturbed.state()
    base, after = state.lineage
    assert after.since_step == 5
    assert intent["digest_before"] not in (base.digest, after.digest), "it names the average that was in force"
    lines = undisturbed.series()
    assert lines[6]["kl"] < lines[5]["kl"] / 2 < lines[8]["kl"], "measured to the policy of step 5 at first"
    assert state.reference_digest not in (base.digest, after.digest), "and has followed since"


@pytest.mark.parametrize("lines", [5, 8])
def test_a_killed_run_goes_on_with_the_same_average(
    model: Path, undisturbed: World, tmp_path: Path, lines: int
) -> None:
    """Killed behind the checkpoint of step 3, and behind that of step 6, which comes after the reset."""
    with world(tmp_path) as made:
        first = made.start(1, averaging(model))
        made.call("POST", "/v1/resets", RESET)
        wait_until(lambda: len(made.series()) >= lines or first.poll() is not None, 240)
        first.kill()
        first.wait()
        begun = made.state()
        assert begun.step >= 3, "it does not begin anew"
        assert begun.reference_digest not in {entry.digest for entry in begun.lineage}, "and at an average"
        second = made.start(2, averaging(model))
        made.call("POST", "/v1/resets", RESET)  # as the body asks again for what nobody has acknowledged
        assert second.wait(timeout=240) == ExitCode.OK, made.log(2)
        assert compared(made) == compared(undisturbed)
        assert made.state().reference_digest == undisturbed.state().reference_digest


def test_averages_of_checkpoints_that_are_gone_are_gone(undisturbed: World) -> None:
    state = undisturbed.state()
    assert {path.name for path in undisturbed.run.references.iterdir()} == state.digests
    file = undisturbed.run.references / state.reference_digest / "model.safetensors"
    assert file_digest(file) == state.reference_digest


def test_another_run_goes_on_from_the_average(model: Path, undisturbed: World, tmp_path: Path) -> None:
    document = averaging(model)
    document["spec"] |= {
        "initFrom": {"run": str(undisturbed.run.path), "checkpoint": "last"},
        "schedule": {"totalSteps": 1},
    }
    with world(tmp_path) as made:
        assert made.finish(1, document) == ExitCode.OK, made.log(1)
        assert made.state().lineage[-1].digest == undisturbed.state().reference_digest
        assert made.state().reference_digest != undisturbed.state().reference_digest
