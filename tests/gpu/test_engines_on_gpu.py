"""The training engines on a GPU: the CPU's numbers, DeepSpeed against plain, checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.integration.engine_kit import (
    ALGORITHM,
    RATE,
    assert_sums_agree,
    distance,
    learner_spec,
    make_batch,
    make_engine,
    train,
    weights_of,
    world_of_one,
)
from tests.integration.tiny_model import write_model

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*deprecated.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*deprecated.*:FutureWarning"),
]
STAGES = pytest.mark.parametrize("stage", [0, 1, 2, 3])
BOTH = pytest.mark.parametrize("kind", ["plain", "deepspeed"])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"), tokenizer=False)


@pytest.fixture(scope="module", autouse=True)
def world(gpu: torch.device) -> Iterator[None]:
    with world_of_one(gpu):
        yield


def test_a_gpu_computes_what_a_cpu_computes_in_float32(model: Path, gpu: torch.device) -> None:
    on_gpu, on_cpu = make_engine(model, device=gpu), make_engine(model)
    assert all(tensor.device == gpu for _, tensor in on_gpu.weights())
    assert_sums_agree(train(on_gpu, [1, 2]), train(on_cpu, [1, 2]), 1e-4)
    assert distance(weights_of(on_gpu), weights_of(on_cpu)) < 1e-4


@STAGES
def test_deepspeed_equals_plain_in_float32(model: Path, gpu: torch.device, stage: int) -> None:
    plain = make_engine(model, device=gpu)
    deepspeed = make_engine(model, learner_spec("deepspeed", stage=stage), gpu)
    assert_sums_agree(train(deepspeed, [1, 2, 3]), train(plain, [1, 2, 3]), 1e-5)
    assert distance(weights_of(plain), weights_of(deepspeed)) < 1e-5
    assert distance(weights_of(plain), weights_of(make_engine(model, device=gpu))) > 1e-2, "it has trained"


@STAGES
def test_deepspeed_equals_plain_within_tolerance_in_bfloat16(model: Path, gpu: torch.device, stage: int) -> None:
    plain = make_engine(model, learner_spec(precision="bfloat16"), gpu)
    deepspeed = make_engine(model, learner_spec("deepspeed", stage=stage, precision="bfloat16"), gpu)
    assert_sums_agree(train(deepspeed, [1]), train(plain, [1]), 0.03)
    assert distance(weights_of(plain), weights_of(deepspeed)) < 2**-7


@BOTH
def test_training_continues_from_a_checkpoint(model: Path, gpu: torch.device, tmp_path: Path, kind: str) -> None:
    engine, again = make_engine(model, learner_spec(kind), gpu), make_engine(model, learner_spec(kind), gpu)
    train(engine, [1, 2])
    engine.save(tmp_path)
    expected = train(engine, [3, 4])
    again.load(tmp_path)
    # Not to the last bit: a GPU adds gradients in an order of its own.
    assert_sums_agree(train(again, [3, 4]), expected, 1e-4)
    assert distance(weights_of(engine), weights_of(again)) < 1e-4


@BOTH
def test_a_cleared_optimizer_is_a_fresh_one(model: Path, gpu: torch.device, kind: str) -> None:
    """The first step after it moves every weight with a gradient by the rate, as Adam's first step does."""
    engine = make_engine(model, learner_spec(kind), gpu)
    train(engine, [1, 2])
    before = weights_of(engine)
    engine.clear_optimizer()
    engine.prepare(make_batch(3, minibatch=4))
    engine.update(0, ALGORITHM, RATE)
    moved = torch.cat([(value - before[name]).abs().flatten() for name, value in weights_of(engine).items()])
    assert float(moved.max()) <= RATE * 1.001
    assert float((moved > 0.9 * RATE).float().mean()) > 0.9


@BOTH
def test_a_reference_reset_brings_the_kl_back_to_zero(model: Path, gpu: torch.device, kind: str) -> None:
    engine = make_engine(model, learner_spec(kind), gpu)
    train(engine, [1, 2])
    assert train(engine, [3])[0]["kl"] > 1e-3
    engine.reference_from_policy()
    assert train(engine, [3])[0]["kl"] == pytest.approx(0.0, abs=1e-6)
