"""A minibatch that is not finite: every engine skips it, on all ranks, and nothing of it is left."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from torch import Tensor

from prorl_api.process.listen import bind
from prorl_api.spec.algorithm import AlgorithmSpec
from prorl_trainer.algorithm.losses import LossInputs, token_losses
from prorl_trainer.engines import pack_loss
from tests.integration.engine_kit import (
    ALGORITHM,
    RATE,
    is_equal,
    learner_spec,
    make_batch,
    make_engine,
    train,
    weights_of,
    world_of_one,
)
from tests.integration.tiny_model import write_model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*torch.distributed.* is deprecated:FutureWarning"),
]
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"), tokenizer=False)


@pytest.fixture(scope="module", autouse=True)
def world() -> Iterator[None]:
    with world_of_one():
        yield


EVERY_ENGINE = pytest.mark.parametrize(
    ("kind", "stage"), [("plain", 2), *(("deepspeed", stage) for stage in range(4))], ids=str
)


def assert_skipped(model: Path, kind: str, stage: int, spoil: Callable[[], object], mend: Callable[[], object]) -> None:
    """A minibatch of a spoilt kind changes neither weights nor optimizer: an engine that never saw it goes on alike."""
    engine, other = (make_engine(model, learner_spec(kind, stage=stage)) for _ in range(2))
    train(engine, [1])
    train(other, [1])
    spoil()
    engine.prepare(make_batch(2))
    assert not math.isfinite(engine.update(0, ALGORITHM, RATE)["gradient_norm"])
    mend()
    assert is_equal(weights_of(engine), weights_of(other))
    assert train(engine, [3]) == train(other, [3])
    assert is_equal(weights_of(engine), weights_of(other))


Losses = Callable[[AlgorithmSpec, Tensor, LossInputs], Tensor]


def spoilt_advantage(value: float) -> Losses:
    """The first advantage of every slice is no number."""

    def spoilt(algorithm: AlgorithmSpec, logprobs: Tensor, inputs: LossInputs) -> Tensor:
        advantages = inputs.advantages.clone()
        advantages[:1] = value
        return token_losses(algorithm, logprobs, replace(inputs, advantages=advantages))

    return spoilt


def bad_gradient(algorithm: AlgorithmSpec, logprobs: Tensor, inputs: LossInputs) -> Tensor:
    """The loss is finite, its gradient is not."""
    losses = token_losses(algorithm, logprobs, inputs)
    losses.register_hook(lambda gradient: gradient * math.inf)  # type: ignore[no-untyped-call]
    return losses


def bad_value(algorithm: AlgorithmSpec, logprobs: Tensor, inputs: LossInputs) -> Tensor:
    """The loss is not finite, its gradient is."""
    return token_losses(algorithm, logprobs, inputs) + math.inf


@EVERY_ENGINE
@pytest.mark.parametrize(
    "loss",
    [spoilt_advantage(math.nan), spoilt_advantage(math.inf), bad_gradient, bad_value],
    ids=["a NaN advantage", "an infinite advantage", "a gradient", "a loss with a finite gradient"],
)
def test_what_is_not_finite_skips_the_optimizer_step_and_nothing_else(
    model: Path, kind: str, stage: int, loss: Losses, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_skipped(model, kind, stage, lambda: monkeypatch.setattr(pack_loss, "token_losses", loss), monkeypatch.undo)


TWO_RANKS = """
import math, os, sys
from pathlib import Path
import torch
from prorl_trainer.engines.ranks import join_ranks
from prorl_trainer.engines import pack_loss
from tests.integration.engine_kit import (
    ALGORITHM, CPU, RATE, is_equal, learner_spec, make_batch, make_engine, train, weights_of,
)
from tests.integration.test_not_finite import bad_value, spoilt_advantage

torch.set_num_threads(1)
join_ranks(CPU)
rank = torch.distributed.get_rank()
engine = make_engine(Path(sys.argv[1]), learner_spec("deepspeed", stage=int(sys.argv[2]), processesPerReplica=2))
train(engine, [1], ranks=2)
before = weights_of(engine)
good = pack_loss.token_losses
for loss in (spoilt_advantage(math.nan), bad_value):
    if rank == 1:  # the other one knows of nothing
        pack_loss.token_losses = loss
    engine.prepare(make_batch(2, ranks=2))
    norm = engine.update(0, ALGORITHM, RATE)["gradient_norm"]
    pack_loss.token_losses = good
    assert not math.isfinite(norm), (rank, norm)
    assert is_equal(before, weights_of(engine))
assert all(math.isfinite(sums["gradient_norm"]) for sums in train(engine, [3], ranks=2))
assert not is_equal(before, weights_of(engine))
os._exit(0)  # as a learner ends: gloo's threads may hold tensors of Python's, and abort where they outlive it
"""


@pytest.mark.parametrize("stage", [pytest.param(2, marks=pytest.mark.thorough), 3])
def test_what_is_not_finite_on_one_rank_is_skipped_on_both(model: Path, stage: int) -> None:
    listening = bind("127.0.0.1", 0)
    port = listening.getsockname()[1]
    listening.close()
    base = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, "-c", TWO_RANKS, str(model), str(stage)]
    ranks = [subprocess.Popen(command, cwd=REPOSITORY, env={**base, "RANK": rank, "LOCAL_RANK": rank}) for rank in "01"]
    try:
        assert [rank.wait(timeout=240) for rank in ranks] == [0, 0]
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
