"""What every engine serves: a checkpoint that transformers reads, and a probe that its plain forward pass confirms."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from prorl_api.process.listen import bind
from prorl_trainer.engine_mismatch import make_probe
from prorl_trainer.engines.ranks import RankedEngine
from tests.integration.engine_kit import ALGORITHM, learner_spec, make_batch, make_engine, train, world_of_one
from tests.integration.served_policy_rank import TOKENS

REPOSITORY = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*torch.distributed.* is deprecated:FutureWarning"),
]


@torch.no_grad()
def logprobs_of(folder: Path) -> list[float]:
    from transformers import AutoModelForCausalLM

    policy: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokens = torch.tensor([TOKENS])
    distribution = torch.log_softmax(policy(tokens).logits[0, :-1], dim=-1)
    values: list[float] = distribution.gather(1, tokens[0, 1:, None])[:, 0].tolist()
    return values


def assert_serves(model: Path, out: Path, logprobs: list[float]) -> None:
    """The checkpoint in `out` gives the probe's log-probabilities, and the model trained from does not."""
    shutil.copy(model / "config.json", out)
    assert logprobs == pytest.approx(logprobs_of(out), abs=1e-4)
    assert max(abs(one - other) for one, other in zip(logprobs, logprobs_of(model), strict=True)) > 0.01


@pytest.mark.parametrize(
    ("engine", "stage"),
    [("plain", 0), pytest.param("deepspeed", 2, marks=pytest.mark.thorough), ("deepspeed", 3)],
)
def test_an_engine_serves_the_policy_that_it_trained(model: Path, tmp_path: Path, engine: str, stage: int) -> None:
    with world_of_one():
        ranked = RankedEngine(make_engine(model, learner_spec(engine, stage=stage)))
        train(ranked, [1])
        probe = make_probe(ranked, TOKENS, ALGORITHM, 1)
        save_file(
            {name: tensor.clone() for name, tensor in ranked.served_weights(torch.float32)},
            tmp_path / "model.safetensors",
            metadata={"format": "pt"},
        )
    assert_serves(model, tmp_path, probe.logprobs)


@pytest.mark.slow
@pytest.mark.parametrize("stage", [pytest.param(1, marks=pytest.mark.thorough), 3])
def test_two_ranks_serve_the_policy_that_they_trained(model: Path, tmp_path: Path, stage: int) -> None:
    with bind("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    base = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, "-m", "tests.integration.served_policy_rank", str(model), str(tmp_path), str(stage)]
    ranks = [subprocess.Popen(command, cwd=REPOSITORY, env={**base, "RANK": rank, "LOCAL_RANK": rank}) for rank in "01"]
    try:
        assert [rank.wait(400) for rank in ranks] == [0, 0]
    finally:
        for rank in ranks:
            rank.kill()
    seen = json.loads((tmp_path / "probe.json").read_text())
    tensors = load_file(tmp_path / "model.safetensors")
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert_serves(model, tmp_path, seen["logprobs"])
    assert seen["beats"] > 0


def test_every_pack_is_a_sign_of_life(model: Path) -> None:
    """In prepare: the reference once a pack, the policy for all steps but the first. In update: once a pack."""
    engine = RankedEngine(make_engine(model))
    beats: list[int] = []
    engine.on_progress(lambda: beats.append(1))
    batch = make_batch(1)
    packs = [len(minibatch.packs_by_rank[0]) for minibatch in batch.minibatches]
    engine.prepare(batch)
    assert len(beats) == sum(packs) + sum(packs[1:])
    for index, count in enumerate(packs):
        beats.clear()
        engine.update(index, ALGORITHM, 1e-3)
        assert len(beats) == count
