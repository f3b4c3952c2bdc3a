"""From a group's rewards to advantages.

GRPO (arXiv 2402.03300 section 4.1.2; ProRL arXiv 2505.24864 eq. 3): A_i = (r_i - mean(r)) / std(r) over the group.
REINFORCE++-baseline (ProRL v2): r_i - mean(r) of the group, then normalised by mean and standard deviation over
the whole batch, or over each source's part of it. Mean-only (Dr. GRPO, arXiv 2503.20783): r_i - mean(r).
Leave-one-out (RLOO, arXiv 2402.14740, after Kool et al. 2019): r_i - mean of the others, which is n / (n - 1)
times mean-only for n judged rollouts; its baseline does not depend on r_i, so that it is unbiased.
RAFT (arXiv 2304.06767): no baseline, so that with rewards of 0 and 1 the gradient is that of the likelihood of the
policy's own right completions, which is rejection-sampling fine-tuning on-line; with the importance ratio and the clip
it is RAFT++ (arXiv 2504.11343 section 2). Negative rewards, which shaping can make, count as 0: nothing is unlearnt.

Where we differ: rollouts that the judge could not score take no part, in no statistic; the standard deviation is the
population's (divisor n), so that a group with one success in G has the same scale at every G.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from prorl_api.spec.values import AdvantageKind

Rewards = Sequence[float | None]
Advantages = tuple[float | None, ...]

_STD_FLOOR = 1e-6
"""Keeps the division finite; far below the smallest standard deviation of a group that dynamic sampling keeps."""


def batch_advantages(
    kind: AdvantageKind, rewards: Sequence[Rewards], sources: Sequence[str] | None = None
) -> list[Advantages]:
    """Advantages of a batch.

    Args:
        kind: Which estimator.
        rewards: Per group the (shaped) rewards of its rollouts; None where the judge failed.
        sources: Per group where its prompt came from: reinforce++-baseline then normalises over each source's groups,
            so that a source with large rewards does not set the scale of the others. None: over all of them.

    Returns:
        Per group one advantage per rollout; None where the reward is None, 0 in a group of equal rewards but with
        `raft`.
    """
    if kind is AdvantageKind.RAFT:
        return [tuple(None if reward is None else max(reward, 0.0) for reward in group) for group in rewards]
    centred = [_centred(kind, group) for group in rewards]
    if kind is not AdvantageKind.REINFORCE_PLUS_PLUS_BASELINE:
        return centred
    names = [""] * len(centred) if sources is None else sources
    scales = {
        name: _scale_of([group for group, other in zip(centred, names, strict=True) if other == name])
        for name in set(names)
    }
    return [_normalised(group, *scales[name]) for group, name in zip(centred, names, strict=True)]


def _scale_of(groups: Sequence[Advantages]) -> tuple[float, float]:
    """Mean and standard deviation of what is known."""
    known = np.array([value for group in groups for value in group if value is not None], dtype=np.float64)
    return (float(known.mean()), max(float(known.std()), _STD_FLOOR)) if known.size else (0.0, 1.0)


def _normalised(group: Advantages, mean: float, std: float) -> Advantages:
    return tuple(None if value is None else (value - mean) / std for value in group)


def _centred(kind: AdvantageKind, rewards: Rewards) -> Advantages:
    known = np.array([reward for reward in rewards if reward is not None], dtype=np.float64)
    if known.size < 2 or known.max() == known.min():
        return tuple(None if reward is None else 0.0 for reward in rewards)
    scale = 1.0
    if kind is AdvantageKind.GRPO:
        scale = max(float(known.std()), _STD_FLOOR)
    elif kind is AdvantageKind.LEAVE_ONE_OUT:
        scale = (known.size - 1) / known.size
    mean = float(known.mean())
    return tuple(None if reward is None else (reward - mean) / scale for reward in rewards)
