"""From sampled groups to scored ones: rewards shaped by length, then the advantages of the whole batch. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from prorl_api.spec.job import ProRLJobSpec
from prorl_api.spec.values import AdvantageScale
from prorl_trainer.algorithm.advantages import batch_advantages
from prorl_trainer.algorithm.dynamic_sampling import is_scored
from prorl_trainer.algorithm.length_shaping import shaped_reward
from prorl_trainer.algorithm.types import Rollout, RolloutGroup, ScoredGroup


def score(spec: ProRLJobSpec, step: int, groups: Sequence[RolloutGroup]) -> list[ScoredGroup]:
    """Fix the advantages of a batch; groups with too few judged rollouts for a statistic are left out.

    Args:
        spec: As it holds at the step.
        step: Counted from 1.
        groups: The batch.
    """
    shaped = [tuple(_shaped(spec, step, rollout) for rollout in group.rollouts) for group in groups]
    is_by_source = spec.algorithm.advantage_scale is AdvantageScale.SOURCE
    sources = [group.prompt.source for group in groups] if is_by_source else None
    advantages = batch_advantages(spec.algorithm.advantage, shaped, sources)
    return [
        ScoredGroup(group=group, advantages=fixed, shaped_rewards=rewards)
        for group, fixed, rewards in zip(groups, advantages, shaped, strict=True)
        if is_scored(group.rewards)
    ]


def _shaped(spec: ProRLJobSpec, step: int, rollout: Rollout) -> float | None:
    if rollout.reward is None:
        return None
    return shaped_reward(
        spec.algorithm.length,
        rollout.reward,
        num_tokens=rollout.num_tokens,
        limit_tokens=spec.rollout.max_completion_tokens,
        is_truncated=rollout.is_truncated,
        step=step,
    )
