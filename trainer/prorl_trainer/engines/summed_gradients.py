"""Gradients of embedding, head and, in float32, linear layers, added where a backend sums them up.

Autograd makes a whole matrix of each module's gradient, and a third of embedding's and head's together where weights
are tied, before it adds them to what earlier packs gave. For a small model with a large vocabulary that is most of a
step's memory, and a good part of its time. A backend that keeps whole gradients in float32 says where they are; one
that shards them does not, and gets them from autograd.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

GradientSum = Callable[[nn.Parameter], Tensor]
"""A parameter -> where its gradient is summed up, float32, of its shape."""


class SummedEmbedding(nn.Embedding):
    """An embedding whose gradient goes where `gradient_sum` says. Made from a model's own."""

    gradient_sum: GradientSum | None

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Embed token ids."""
        if self.gradient_sum is None or not (torch.is_grad_enabled() and self.weight.requires_grad):
            return super().forward(input)
        embedded: Tensor = _Embed.apply(input, self.weight, self)  # type: ignore[no-untyped-call]
        return embedded


class _Embed(torch.autograd.Function):
    """(ids [..., T], weight [V, H]) -> [..., T, H]."""

    @staticmethod
    def forward(ctx: Any, ids: Tensor, weight: Tensor, module: SummedEmbedding) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.module = module
        return nn.functional.embedding(ids, weight)

    @staticmethod
    def backward(ctx: Any, *by_outputs: Tensor) -> tuple[None, ...]:
        (ids,), module = ctx.saved_tensors, ctx.module
        by_rows, flat = by_outputs[0].flatten(0, -2).float(), ids.flatten()
        if module.padding_idx is not None:  # nn.Embedding trains no padding either
            by_rows = by_rows.masked_fill((flat == module.padding_idx)[:, None], 0.0)
        module.gradient_sum(module.weight).index_add_(0, flat, by_rows)
        return None, None, None


class SummedLinear(nn.Linear):
    """A linear layer whose weight's gradient goes where `gradient_sum` says. Made from a model's own."""

    weight: nn.Parameter
    gradient_sum: GradientSum | None

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Multiply."""
        if self.gradient_sum is None or not (torch.is_grad_enabled() and self.weight.requires_grad):
            return super().forward(input)
        product: Tensor = _Multiply.apply(input, self.weight, self.bias, self)  # type: ignore[no-untyped-call]
        return product


class _Multiply(torch.autograd.Function):
    """(input [..., K], weight [N, K], bias [N] or None) -> [..., N]."""

    @staticmethod
    def forward(ctx: Any, given: Tensor, weight: Tensor, bias: Tensor | None, module: SummedLinear) -> Tensor:
        ctx.save_for_backward(given, weight)
        ctx.module = module
        return nn.functional.linear(given, weight, bias)

    @staticmethod
    def backward(ctx: Any, *by_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (given, weight), module, (by_output,) = ctx.saved_tensors, ctx.module, by_outputs
        add_product(module.gradient_sum(module.weight), by_output, given)
        by_given = by_output @ weight if ctx.needs_input_grad[0] else None
        by_bias = by_output.flatten(0, -2).sum(0) if ctx.needs_input_grad[2] else None
        return by_given, None, by_bias, None


def add_product(total: Tensor, by_output: Tensor, given: Tensor) -> None:
    """total [N, K] += by_output^T given, of [..., N] and [..., K]: the gradient of a linear layer's weight."""
    total.addmm_(by_output.flatten(0, -2).t(), given.flatten(0, -2))


def sum_embedding_gradients(embedding: nn.Module, gradient_sum: GradientSum) -> None:
    """Have the gradient of a plain embedding added where it is summed up; one with ways of its own stays as it is."""
    if type(embedding) is nn.Embedding and embedding.max_norm is None:
        if embedding.sparse or embedding.scale_grad_by_freq:
            return
        embedding.__class__ = SummedEmbedding
        embedding.gradient_sum = gradient_sum  # type: ignore[assignment]


def sum_linear_gradients(model: nn.Module, gradient_sum: GradientSum) -> None:
    """Have the gradients of plain linear layers added where they are summed up, in float32 alone.

    In a lower precision their products would have to be made first, and are then what autograd hands over, too.
    """
    for module in model.modules():
        if type(module) is nn.Linear and module.weight.dtype == torch.float32:
            module.__class__ = SummedLinear
            module.gradient_sum = gradient_sum  # type: ignore[assignment]
