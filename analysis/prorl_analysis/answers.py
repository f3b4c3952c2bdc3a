"""What an item's samples answer, counted: the majority's answer and how spread the answers are.

Answers are texts: two that mean the same and are written otherwise count as two. A sample without an answer abstains
from the vote and is an outcome of its own for the entropy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy import stats

from prorl_analysis.results import Sample
from prorl_api.wire.sandbox import CORRECT_REWARD


def has_answers(samples: Sequence[Sample]) -> bool:
    """Tell whether any of the samples has an answer that can be counted."""
    return any(sample.answer is not None for sample in samples)


def majority(samples: Sequence[Sample]) -> float:
    """Return whether the most frequent answer is correct (maj@n, self-consistency; arXiv 2203.11171), in [0, 1].

    Where several are the most frequent, one of them is drawn: the mean over them. Samples that were not judged do not
    vote. Nobody answers: 0.
    """
    votes: dict[str, list[bool]] = {}
    for sample in samples:
        if sample.answer is not None and sample.reward is not None:
            votes.setdefault(sample.answer, []).append(sample.reward >= CORRECT_REWARD)
    most = max(map(len, votes.values()), default=0)
    tied = [sum(found) / len(found) for found in votes.values() if len(found) == most]
    return sum(tied) / len(tied) if tied else 0.0


def answer_entropy(samples: Sequence[Sample]) -> float:
    """Return the entropy of the answers' shares in nats (plug-in): 0 if all are alike, log n if all differ."""
    counts = Counter(sample.answer for sample in samples)
    return float(stats.entropy(np.fromiter(counts.values(), dtype=np.float64))) if counts else 0.0
