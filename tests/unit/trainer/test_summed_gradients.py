"""Gradients that are added where they are summed up, against autograd's own."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from prorl_trainer.engines.summed_gradients import (
    SummedEmbedding,
    SummedLinear,
    sum_embedding_gradients,
    sum_linear_gradients,
)

IDS = torch.tensor([[3, 1, 3, 0, 2, 3]])


def gradient(of: Tensor) -> Tensor:
    assert of.grad is not None
    return of.grad


def by_autograd(embedding: nn.Embedding, factors: Tensor) -> Tensor:
    other = copy.deepcopy(embedding)
    (other(IDS) * factors).sum().backward()
    return gradient(other.weight)


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


@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("shape", [(6, 4), (2, 3, 4), (0, 4)])
def test_a_linear_layers_gradient_is_autograds_added_to_what_was_there(has_bias: bool, shape: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    own = nn.Linear(4, 3, bias=has_bias)
    summed, before = copy.deepcopy(own), torch.randn(3, 4)
    total = before.clone()
    sum_linear_gradients(summed, lambda parameter: total)
    assert type(summed) is SummedLinear
    factors, inputs = torch.randn(*shape[:-1], 3), [torch.randn(shape)] * 2
    inputs = [given.clone().requires_grad_() for given in inputs]
    outputs = [layer(given) for layer, given in zip((own, summed), inputs, strict=True)]
    assert torch.equal(*outputs)
    for output in outputs:
        (output * factors).sum().backward()
    assert summed.weight.grad is None
    assert torch.allclose(total - before, gradient(own.weight), atol=1e-6)
    assert torch.equal(gradient(inputs[0]), gradient(inputs[1]))
    if has_bias:
        assert torch.equal(gradient(own.bias), gradient(summed.bias))


def test_what_goes_twice_through_a_layer_is_added_twice() -> None:
    torch.manual_seed(1)
    own = nn.Linear(4, 4)
    summed, total = copy.deepcopy(own), torch.zeros(4, 4)
    sum_linear_gradients(summed, lambda parameter: total)
    given = torch.randn(5, 4)
    for layer in (own, summed):
        layer(torch.tanh(layer(given))).sum().backward()
    assert torch.allclose(total, gradient(own.weight), atol=1e-6)


def test_a_frozen_or_idle_linear_layer_is_a_plain_one() -> None:
    layer = nn.Linear(4, 3)
    sum_linear_gradients(layer, torch.zeros_like)
    with torch.no_grad():
        assert layer(torch.randn(2, 4)).grad_fn is None
    layer.weight.requires_grad_(False)
    layer(torch.randn(2, 4)).sum().backward()
    assert layer.weight.grad is None


class OwnLinear(nn.Linear):
    """A layer with ways of its own."""


@pytest.mark.parametrize("layer", [OwnLinear(4, 3), nn.Linear(4, 3, dtype=torch.bfloat16)], ids=["own", "bfloat16"])
def test_another_linear_layer_stays_as_it_is(layer: nn.Linear) -> None:
    kind = type(layer)
    sum_linear_gradients(layer, torch.zeros_like)
    assert type(layer) is kind
