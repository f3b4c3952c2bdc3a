"""Batches of random tokens and a few optimizer steps, the same in every process that asks for them."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from prorl_api.spec.algorithm import AlgorithmSpec
from prorl_api.spec.roles import LearnerSpec
from prorl_api.spec.values import LossAggregation
from prorl_trainer.algorithm.packing import build_batch
from prorl_trainer.algorithm.types import Batch, RolloutGroup, ScoredGroup
from prorl_trainer.engines.build import build_engine
from prorl_trainer.engines.engine import Sums, TrainingEngine
from prorl_trainer.engines.packed_policy import PackedPolicy
from prorl_trainer.engines.ranks import RankedEngine, join_ranks
from prorl_trainer.engines.reference import MappedReference, OffloadedReference, Reference, ShardedReference
from tests.integration.tiny_model import VOCABULARY
from tests.unit.trainer.trainer_builders import make_prompt, make_rollout, make_scored, make_segment

ALGORITHM = AlgorithmSpec.model_validate(
    {"kl": {"coefficient": 0.05, "estimator": "k2"}, "clip": {"low": 0.1, "high": 0.15}}
)
RATE = 1e-3
ADAM_EPSILON = 1e-6
"""Above the rounding of a gradient. Adam's first step is rate x g / (|g| + epsilon), whose slope at g = 0 is rate /
epsilon: with the default of 1e-8 the rounding of two orders of summation, 1e-8 for gradients of 1e-2, moves an entry
whose gradient is nearly zero by half a step in one engine and by none in the other. Most entries have gradients of 1e-4
and more, which move by the rate either way."""
CPU = torch.device("cpu")
Engine = TrainingEngine | RankedEngine
PLACES: dict[str, Callable[[PackedPolicy], Reference]] = {
    "sharded": lambda whole: ShardedReference(whole, CPU),
    "offloaded from a GPU": lambda whole: OffloadedReference(whole, CPU),
    "offloaded from a CPU": MappedReference,
}
"""Of a reference that is not resident, made of a whole policy."""
WIDE: dict[str, Any] = {
    "vocab_size": 512,
    "hidden_size": 320,
    "intermediate_size": 512,
    "num_key_value_heads": 4,
    "num_hidden_layers": 1,
}
"""Of a model whose matrices, embedding and head included, have more than the 100,000 entries below which ZeRO-3 keeps
parameters whole."""


@contextmanager
def world_of_one(device: torch.device = CPU) -> Iterator[None]:
    """DeepSpeed needs a process group: one of this process alone, on one thread.

    The group stays until the process ends, since DeepSpeed remembers it.
    """
    before, threads = dict(os.environ), torch.get_num_threads()
    torch.set_num_threads(1)
    if torch.distributed.is_initialized():
        os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
    else:
        join_ranks(device)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        os.environ.clear()
        os.environ.update(before)


def learner_spec(engine: str = "plain", *, stage: int = 2, **fields: Any) -> LearnerSpec:
    values = {
        "engine": engine,
        "precision": "float32",
        "deepspeed": {"zeroStage": stage},
        "optimizer": {"epsilon": ADAM_EPSILON},
        **fields,
    }
    return LearnerSpec.model_validate(values)


def make_engine(model: Path, spec: LearnerSpec | None = None, device: torch.device = CPU) -> TrainingEngine:
    return build_engine(str(model), spec or learner_spec(), device, None)


def random_groups(seed: int, count: int = 4, size: int = 4) -> list[ScoredGroup]:
    """Prompts of 3 to 9 tokens with completions of 1 to 12, one of two turns in each group."""
    dice = random.Random(seed)

    def tokens(low: int, high: int) -> list[int]:
        return [dice.randrange(2, VOCABULARY) for _ in range(dice.randint(low, high))]

    groups = []
    for index in range(count):
        rollouts = []
        for number in range(size):
            ids = tokens(1, 12)
            segments = [make_segment(ids, logprobs=[dice.uniform(-6, -3) for _ in ids])]
            if number == 0:
                middle, last = tokens(1, 4), tokens(1, 4)
                segments.append(make_segment(middle, logprobs=[0.0] * len(middle), trained=False))
                segments.append(make_segment(last, logprobs=[-4.5] * len(last)))
            rollouts.append(make_rollout(*segments))
        group = RolloutGroup(prompt=make_prompt(index, token_ids=tokens(3, 9)), rollouts=tuple(rollouts))
        groups.append(make_scored(group, [dice.uniform(-1.5, 1.5) for _ in rollouts]))
    return groups


def make_batch(seed: int = 1, *, ranks: int = 1, count: int = 4, minibatch: int = 2, **options: Any) -> Batch:
    return build_batch(
        random_groups(seed, count),
        minibatch_prompts=minibatch,
        microbatch_tokens=options.pop("microbatch_tokens", 48),
        num_ranks=ranks,
        aggregation=LossAggregation.TOKEN_MEAN,
        temperature=0.9,
        **options,
    )


def train(
    engine: Engine, seeds: Sequence[int], *, ranks: int = 1, count: int = 4, rate: float = RATE, limit: int = 48
) -> list[Sums]:
    """One batch a seed, two optimizer steps a batch, packs up to a limit; what each optimizer step returned."""
    results = []
    for seed in seeds:
        batch = make_batch(
            seed, ranks=ranks, count=count, microbatch_tokens=limit, continue_prefixes=engine.continues_prefixes
        )
        engine.prepare(batch)
        results += [engine.update(index, ALGORITHM, rate) for index in range(len(batch.minibatches))]
    return results


def weights_of(engine: Engine) -> dict[str, Tensor]:
    return {name: tensor.detach().float().cpu().clone() for name, tensor in engine.weights()}


def reference_of(engine: Engine) -> dict[str, Tensor]:
    return {name: tensor.detach().float().cpu().clone() for name, tensor in engine.reference_weights()}


def distance(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    """Largest relative difference of a parameter, in its norm."""
    assert list(first) == list(second)
    return max(float((first[name] - second[name]).norm() / first[name].norm()) for name in first)


# Counts of tokens whose ratio has passed a bound: whole numbers, which rounding moves by whole tokens.
CLIPPED = ("clipped_low", "clipped_high", "clipped_dual")


def assert_sums_agree(
    first: Sequence[Sums], second: Sequence[Sums], relative: float, *, tokens_at_the_bound: int = 0
) -> None:
    """Assert that each optimizer step returned the same sums, within `relative` of their size or of 1.

    `tokens_at_the_bound` tokens may be clipped in one and not in the other: where the ratio lies at the bound, a
    processor's rounding decides.
    """
    for one, other in zip(first, second, strict=True):
        for name in CLIPPED:
            assert one[name] == pytest.approx(other[name], abs=tokens_at_the_bound), name
        apart = [{name: value for name, value in sums.items() if name not in CLIPPED} for sums in (one, other)]
        assert apart[0] == pytest.approx(apart[1], rel=relative, abs=relative)


def is_equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)
