"""Reward shaping by completion length. Off unless the manifest asks for it.

Stop properly comes first: it says what a completion that was cut has earned, and dynamic sampling looks at what was
earned. The penalties come after it; they rank completions of a group that teaches something anyway.

Overlong (DAPO, arXiv 2503.14476 eq. 13): no penalty up to limit - buffer, then linear down to -weight at the limit.
Cosine (ProRL v2 section 3): eta(t) = eta_min + (eta_max - eta_min) (1 + cos(pi t / limit)) / 2, added with a weight
during the "on" part of a cycle of steps. Stop properly (ProRL v2's scripts): the reward of a truncated completion is
multiplied by a factor, before the terms above.
"""

from __future__ import annotations

import math

from prorl_api.spec.algorithm import Length
from prorl_api.spec.values import LengthPenalty
from prorl_trainer.algorithm.types import RolloutGroup


def earned_reward(settings: Length, reward: float, *, is_truncated: bool) -> float:
    """Return what a completion has earned: the verifier's reward, less what is taken for not having stopped."""
    return reward * settings.stop_properly if is_truncated else reward


def earned_rewards(settings: Length, group: RolloutGroup) -> list[float | None]:
    """Of a group, in order: what dynamic sampling looks at. None where the judge failed."""
    return [
        None if rollout.reward is None else earned_reward(settings, rollout.reward, is_truncated=rollout.is_truncated)
        for rollout in group.rollouts
    ]


def shaped_reward(
    settings: Length, reward: float, *, num_tokens: int, limit_tokens: int, is_truncated: bool, step: int
) -> float:
    """Return the reward that advantages are made of.

    Args:
        settings: `spec.algorithm.length`.
        reward: The verifier's, in [0, 1].
        num_tokens: Length of the completion.
        limit_tokens: Longest completion allowed at this step.
        is_truncated: Whether it was cut at the limit.
        step: Training step, counted from 1; decides the phase of the cosine cycle.
    """
    reward = earned_reward(settings, reward, is_truncated=is_truncated)
    weight = 1.0 if settings.weight is None else settings.weight
    if settings.penalty is LengthPenalty.OVERLONG:
        assert settings.buffer_tokens is not None  # a rule of the spec
        excess = num_tokens - (limit_tokens - settings.buffer_tokens)
        return reward - weight * min(max(excess / settings.buffer_tokens, 0.0), 1.0)
    if settings.penalty is LengthPenalty.COSINE and cosine_is_on(settings, step):
        low = 0.0 if settings.eta_min is None else settings.eta_min
        high = 1.0 if settings.eta_max is None else settings.eta_max
        fraction = min(num_tokens / limit_tokens, 1.0)
        return reward + weight * (low + 0.5 * (high - low) * (1.0 + math.cos(math.pi * fraction)))
    return reward


def cosine_is_on(settings: Length, step: int) -> bool:
    """Tell whether the cosine term acts at a training step (counted from 1): the cycle begins with its "on" part."""
    if settings.on_steps is None or settings.off_steps is None:
        return True
    return (step - 1) % (settings.on_steps + settings.off_steps) < settings.on_steps
