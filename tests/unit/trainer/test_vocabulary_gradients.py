"""Gradients of embedding and head that are added where they are summed up, against autograd's own."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from prorl_trainer.engines.vocabulary_gradients import SummedEmbedding, sum_embedding_gradients

IDS = torch.tensor([[3, 1, 3, 0, 2, 3]])


def by_autograd(embedding: nn.Embedding, factors: Tensor) -> Tensor:
    other = copy.deepcopy(embedding)
    (other(IDS) * factors).sum().backward()
    assert other.weight.grad is not None
    return other.weight.grad


@pytest.mark.parametrize("padding", [None, 3, 0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_embeddings_gradient_is_autograds_added_to_what_was_there(padding: int | None, dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    embedding = nn.Embedding(5, 4, padding_idx=padding, dtype=dtype)
    factors, before = torch.randn(1, 6, 4).to(dtype), torch.randn(5, 4)
    wanted, total = by_autograd(embedding, factors), before.clone()
    plain = embedding(IDS)
    sum_embedding_gradients(embedding, lambda parameter: total)
    output = embedding(IDS)
    assert torch.equal(output, plain)
    (output * factors).sum().backward()
    assert embedding.weight.grad is None
    assert torch.allclose(total - before, wanted.float(), rtol=1e-2 if dtype == torch.bfloat16 else 1e-5, atol=1e-6)


def test_without_gradients_it_is_the_plain_embedding() -> None:
    embedding = nn.Embedding(5, 4)
    sum_embedding_gradients(embedding, torch.zeros_like)
    with torch.no_grad():
        assert embedding(IDS).grad_fn is None


class Scaled(nn.Embedding):
    """As Gemma-3 has it."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        return super().forward(input) * 3.0


@pytest.mark.parametrize(
    "embedding",
    [
        Scaled(5, 4),
        nn.Embedding(5, 4, max_norm=0.1),
        nn.Embedding(5, 4, scale_grad_by_freq=True),
        nn.Embedding(5, 4, sparse=True),
    ],
    ids=["scaled", "max_norm", "by frequency", "sparse"],
)
def test_an_embedding_with_ways_of_its_own_keeps_them(embedding: Any) -> None:
    kind = type(embedding)
    sum_embedding_gradients(embedding, torch.zeros_like)
    assert type(embedding) is kind
    assert kind is not SummedEmbedding
