"""Stale weights behind a forged id: the id cannot tell, the mismatch metric does.

That an honest server with other weights is refused by its id is shown with the real server in
`test_rollout_server.py`. Here a batch is sampled by old weights and passed off as sampled by the current ones.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from prorl_api.spec.values import LossAggregation
from prorl_trainer.algorithm.packing import build_batch
from prorl_trainer.algorithm.types import Batch, Pack, ScoredGroup
from prorl_trainer.engines.engine import TrainingEngine
from prorl_trainer.engines.masks import as_inputs
from prorl_trainer.engines.packed_policy import PackedPolicy
from prorl_trainer.step_metrics import training_metrics
from tests.integration.engine_kit import ALGORITHM, RATE, make_engine, random_groups, train

TEMPERATURE = 0.9
ALARM_NATS = 0.05


def _sampled_by(policy: PackedPolicy, groups: list[ScoredGroup]) -> Batch:
    """The batch with `rollout_logprobs` as a rollout engine with these weights would report them."""
    batch = build_batch(
        groups,
        minibatch_prompts=len(groups),
        microbatch_tokens=48,
        num_ranks=1,
        aggregation=LossAggregation.TOKEN_MEAN,
        temperature=TEMPERATURE,
    )
    for minibatch in batch.minibatches:
        for pack in minibatch.packs_by_rank[0]:
            pack.rollout_logprobs[:] = _logprobs(policy, pack)
    return batch


@torch.no_grad()
def _logprobs(policy: PackedPolicy, pack: Pack) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    inputs = as_inputs(pack, policy.family.masks, torch.device("cpu"))
    values: np.ndarray[tuple[int], np.dtype[np.float32]] = policy(**inputs, temperature=TEMPERATURE).logprobs.numpy()
    return values


def _mismatch(engine: TrainingEngine, batch: Batch, groups: list[ScoredGroup]) -> float:
    engine.prepare(batch)
    updates = [engine.update(0, ALGORITHM, RATE)]
    return training_metrics(groups, batch, updates)["mismatch_logprob"]


def test_weights_behind_a_forged_id_show_in_the_mismatch(model: Path) -> None:
    groups = random_groups(5)
    engine, held_back = make_engine(model), make_engine(model)
    stale_policy: PackedPolicy = held_back._backend._policy  # type: ignore[attr-defined]
    batch = _sampled_by(stale_policy, groups)
    assert _mismatch(make_engine(model), batch, groups) < 1e-5
    train(engine, seeds=[1, 2, 3, 4, 5, 6])
    assert _mismatch(engine, batch, groups) > ALARM_NATS
