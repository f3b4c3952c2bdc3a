"""The reference as an average over the policy's steps: its weights, and runs that were killed in between."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prorl_api.errors import ExitCode
from prorl_trainer.engines.build import load_policy
from prorl_trainer.engines.reference import OffloadedReference, ShardedReference
from prorl_trainer.engines.weight_files import file_digest, write_weights
from tests.integration.engine_kit import CPU, learner_spec, make_engine, reference_of, train, weights_of, world_of_one
from tests.integration.learner_world import World, manifest, world
from tests.unit.trainer.http_apps import wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*torch.distributed.* is deprecated:FutureWarning"),
]

DECAY = 0.75
COMPARED = ("policy_loss", "kl", "kl_loss", "gradient_norm", "reward_mean", "validation_accuracy")


@pytest.fixture(scope="module", autouse=True)
def process_group() -> Iterator[None]:
    with world_of_one():
        yield


@pytest.mark.parametrize("place", ["resident", "offloaded", "sharded"])
@pytest.mark.parametrize("kind", ["plain", "deepspeed"])
def test_it_is_the_weighted_sum_of_all_policies(model: Path, tmp_path: Path, kind: str, place: str) -> None:
    """decay^3 base + (1 - decay) (decay^2 first + decay second + third), in float64."""
    spec = learner_spec(kind)
    engine = make_engine(model, spec)
    if place != "resident":
        whole = load_policy(str(model), spec, CPU)
        engine._reference = ShardedReference(whole, CPU) if place == "sharded" else OffloadedReference(whole, CPU)
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
    write_weights(tmp_path / "kept", engine.reference_weights())
    engine.reference_from_file(tmp_path / "kept")
    assert not engine.reference_has_moved, "a file holds it"


def run(made: World, document: dict[str, Any]) -> list[dict[str, Any]]:
    assert made.finish(1, document) == ExitCode.OK, made.log(1)
    return [{name: line.get(name) for name in ("step", *COMPARED)} for line in made.series()]


def averaging(model: Path) -> dict[str, Any]:
    return manifest(model, algorithm={"kl": {"coefficient": 0.05, "referenceDecay": DECAY}})


@pytest.fixture(scope="module")
def undisturbed(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("averaged")) as made:
        run(made, averaging(model))
        yield made


def test_a_run_s_kl_is_that_to_a_reference_that_follows(model: Path, undisturbed: World, tmp_path: Path) -> None:
    with world(tmp_path) as made:
        fixed = run(made, manifest(model))
    found = undisturbed.series()
    assert found[1]["kl"] == fixed[1]["kl"], "nothing has moved before the first step ends"
    assert all(0 < one["kl"] < other["kl"] for one, other in zip(found[2:], fixed[2:], strict=True))


def test_a_killed_run_goes_on_with_the_same_average(model: Path, undisturbed: World, tmp_path: Path) -> None:
    with world(tmp_path) as made:
        first = made.start(1, averaging(model))
        wait_until(lambda: len(made.series()) > 5 or first.poll() is not None, 240)  # two steps behind a checkpoint
        first.kill()
        first.wait()
        assert made.finish(2, averaging(model)) == ExitCode.OK, made.log(2)
        compared = [
            [{name: line.get(name) for name in COMPARED} for line in one.series()] for one in (made, undisturbed)
        ]
        assert compared[0] == compared[1]
        assert made.state().reference_digest == undisturbed.state().reference_digest


def test_what_a_checkpoint_names_is_kept_and_no_more(undisturbed: World) -> None:
    state = undisturbed.state()
    assert state.reference_digest != state.lineage[-1].digest, "the base is behind it"
    kept = {path.name for path in undisturbed.run.references.iterdir()}
    assert state.reference_digest in kept
    assert len(kept) <= 3 + 1, "one for each checkpoint, and the best policy"
    file = undisturbed.run.references / state.reference_digest / "model.safetensors"
    assert file_digest(file) == state.reference_digest
