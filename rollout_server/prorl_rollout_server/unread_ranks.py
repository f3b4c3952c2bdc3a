"""Leaves out the ranks of sampled tokens, which vLLM counts with each log-probability and nobody reads here.

On a CPU it counts them by a function that torch compiles at the first sample, eager mode or not: 11 seconds of each
start, and a pass over [completions, vocabulary] at each token from then on. On a GPU they are counted elsewhere.
"""

from __future__ import annotations

import logging

import torch
from torch import Tensor

COUNTED_BY = "batched_count_greater_than"
"""vLLM's name of the function within its sampler."""
_logger = logging.getLogger(__name__)


def leave_out_ranks() -> None:
    """Have the sampler of this process, which is one of a rollout server, say that each token's rank is 1."""
    from vllm.v1.sample import sampler

    if hasattr(sampler, COUNTED_BY):
        setattr(sampler, COUNTED_BY, _first)
    else:
        _logger.warning("vLLM counts ranks by another function than %s: they cost a compilation", COUNTED_BY)


def _first(logprobs: Tensor, _values: Tensor) -> Tensor:
    """Return rank 1 for each row of [tokens, vocabulary]."""
    return torch.ones(logprobs.shape[0], dtype=torch.int64, device=logprobs.device)
