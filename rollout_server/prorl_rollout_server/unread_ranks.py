"""Leaves out the ranks of sampled tokens, which vLLM counts with each log-probability and nobody reads here.

It counts them by a function that torch compiles at the first sample, eager mode or not: on a CPU 11 seconds of each
start, and a pass over [completions, vocabulary] at each token from then on.
"""

from __future__ import annotations

import torch
from torch import Tensor
from vllm.v1.sample import sampler

COUNTED_BY = "batched_count_greater_than"
"""vLLM's name of the function within its sampler."""


def leave_out_ranks() -> None:
    """Have this process's sampler say that each token's rank is 1; safe to call again.

    Raises:
        AttributeError: This vLLM counts ranks by another function.
    """
    getattr(sampler, COUNTED_BY)
    setattr(sampler, COUNTED_BY, _first)


def _first(logprobs: Tensor, _values: Tensor) -> Tensor:
    """Return rank 1 for each row of [tokens, vocabulary]."""
    return torch.ones(logprobs.shape[0], dtype=torch.int64, device=logprobs.device)
