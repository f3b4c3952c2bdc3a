"""Group-relative advantages.

GRPO (arXiv 2402.03300 section 4.1.2; ProRL arXiv 2505.24864 eq. 3): A_i = (r_i - mean(r)) / std(r) over the group.
REINFORCE++-baseline (ProRL v2): r_i - mean(r) of the group, then normalised by mean and standard deviation over
the whole batch. Mean-only (Dr. GRPO, arXiv 2503.20783): r_i - mean(r).

Where we differ: rollouts that the judge could not score take no part, in no statistic; the standard deviation is the
population's (divisor n), so that a group with one success in G has the same scale at every G.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from prorl_api.spec.values import AdvantageKind

_STD_FLOOR = 1e-6
"""Keeps the division finite; far below the smallest standard deviation of a group that dynamic sampling keeps."""


def batch_advantages(kind: AdvantageKind, rewards: Sequence[Sequence[float | None]]) -> list[tuple[float | None, ...]]:
    """Advantages of a batch.

    Args:
        kind: Which estimator.
        rewards: Per group the (shaped) rewards of its rollouts; None where the judge failed.

    Returns:
        Per group one advantage per rollout; None where the reward is None, 0 in a group of equal rewards.
    """
    centred = [_centred(group, divide=kind is AdvantageKind.GRPO) for group in rewards]
    if kind is not AdvantageKind.REINFORCE_PLUS_PLUS_BASELINE:
        return centred
    known = np.array([value for group in centred for value in group if value is not None], dtype=np.float64)
    if known.size == 0:
        return centred
    mean, std = float(known.mean()), max(float(known.std()), _STD_FLOOR)
    return [tuple(None if value is None else (value - mean) / std for value in group) for group in centred]


def _centred(rewards: Sequence[float | None], *, divide: bool) -> tuple[float | None, ...]:
    known = np.array([reward for reward in rewards if reward is not None], dtype=np.float64)
    if known.size < 2 or known.max() == known.min():
        return tuple(None if reward is None else 0.0 for reward in rewards)
    scale = max(float(known.std()), _STD_FLOOR) if divide else 1.0
    mean = float(known.mean())
    return tuple(None if reward is None else (reward - mean) / scale for reward in rewards)
