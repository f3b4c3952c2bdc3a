"""Batches packed, and a law of their order, for the tests of packing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from prorl_api.spec.values import LossAggregation
from prorl_trainer.algorithm.packing import build_batch
from prorl_trainer.algorithm.types import Batch, Pack, RolloutGroup, ScoredGroup
from tests.unit.trainer.trainer_builders import make_prompt, make_rollout, make_scored, make_segment

CPU = torch.device("cpu")
TOKEN, SEQUENCE = LossAggregation.TOKEN_MEAN, LossAggregation.SEQUENCE_MEAN


def pack_up(groups: list[ScoredGroup], **options: Any) -> Batch:
    defaults: dict[str, Any] = {
        "minibatch_prompts": len(groups),
        "microbatch_tokens": 64,
        "num_ranks": 1,
        "aggregation": TOKEN,
        "temperature": 1.0,
    }
    return build_batch(groups, **(defaults | options))


def all_packs(batch: Batch) -> list[Pack]:
    return [pack for minibatch in batch.minibatches for packs in minibatch.packs_by_rank for pack in packs]


def two_groups() -> list[ScoredGroup]:
    """Prompt (1 2) with completions (10 11) and (20, environment 30 31, 21); prompt (5) with completion (40)."""
    turns = (
        make_segment([20], logprobs=[-0.3]),
        make_segment([30, 31], logprobs=[0.0, 0.0], trained=False),
        make_segment([21], logprobs=[-0.4]),
    )
    first = RolloutGroup(
        prompt=make_prompt(0, token_ids=(1, 2)),
        rollouts=(make_rollout(make_segment([10, 11], logprobs=[-0.1, -0.2])), make_rollout(*turns, reward=0.0)),
    )
    second = RolloutGroup(
        prompt=make_prompt(1, token_ids=(5,)), rollouts=(make_rollout(make_segment([40], logprobs=[-0.5])),)
    )
    return [make_scored(first, (1.0, -1.0)), make_scored(second, (0.5,))]


def follows_its_prefix(packs: Sequence[Pack]) -> bool:
    """Whether each continuation comes after a prefix of its length, and each prefix is followed by all of its own."""
    left, length = 0, 0
    for pack in packs:
        if pack.prefix_length:
            left -= 1
            if left < 0 or pack.prefix_length != length or pack.position_ids[0] != length:
                return False
        elif left:
            return False
        elif pack.num_continuations:
            left, length = pack.num_continuations, pack.num_positions
            if pack.num_loss_tokens:
                return False
    return not left
