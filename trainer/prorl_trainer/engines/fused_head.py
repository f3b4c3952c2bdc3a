"""The output head, the loss and their gradients in one pass over slices of a pack.

Logits of a whole long pack would not fit, so the head runs on slices of rows. The gradient of the loss is formed while
a slice's logits are there: nothing is computed twice in the backward pass, and the head is one call of one module a
pack, whatever the pack's length. That matters to ZeRO-3, which gathers a module's parameters at each call: ranks whose
packs have different numbers of slices would otherwise wait for each other for ever. Called by `PackedPolicy`.

`head_slices` has the mathematics of a slice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from prorl_trainer.engines.head_gradients import HeadGradients
from prorl_trainer.engines.head_slices import HeadOutput, Logits, LogitTreatment, SlopeOfLoss
from prorl_trainer.engines.loss_tokens import LossTokens
from prorl_trainer.engines.summed_gradients import GradientSum


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadRequest:
    """What the head is asked besides the hidden states, which are those of `tokens.predict_from`."""

    tokens: LossTokens
    temperature: float
    treatment: LogitTreatment
    in_float32: bool
    """Multiply to float32 logits, though weights and hidden states are bfloat16."""
    slope: SlopeOfLoss | None
    """None: no loss, no gradient and no entropies are wanted."""


class FusedHead(nn.Linear):
    """A linear head that also answers a `HeadRequest`. Made from a model's own head by `fuse_head`."""

    weight: nn.Parameter
    gradient_sum: GradientSum | None
    """Where the weight's gradient is summed up; None: autograd is given it."""

    def forward(self, input: Tensor, request: HeadRequest | None = None) -> Any:  # noqa: A002
        """Logits of `input`, or with a request its `HeadOutput`."""
        if request is None:
            return super().forward(input)
        gradient_sum = None if self.gradient_sum is None or request.slope is None else self.gradient_sum(self.weight)
        return HeadOutput(*_HeadLoss.apply(input, self.weight, self.bias, request, gradient_sum))  # type: ignore[no-untyped-call]


def fuse_head(head: nn.Linear) -> None:
    """Teach a head to answer requests. In place: parameters, names, hooks and copies stay what they are."""
    assert type(head) is nn.Linear, "another kind of head is refused before"
    head.__class__ = FusedHead
    head.gradient_sum = None  # type: ignore[assignment]


class _HeadLoss(torch.autograd.Function):
    """(hidden [U, H], weight [V, H], bias [V] or None) -> logprobs [L], entropies [L], loss."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, request: HeadRequest, gradient_sum: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        tokens = request.tokens
        logprobs = torch.zeros(len(tokens.targets), dtype=torch.float32, device=hidden.device)
        entropies, loss = torch.zeros_like(logprobs), torch.zeros((), dtype=torch.float32, device=hidden.device)
        logits = Logits(hidden, weight, bias, request.treatment, request.temperature, in_float32=request.in_float32)
        gradients = None if request.slope is None else HeadGradients(hidden, weight, bias, gradient_sum)
        for start, stop in logits.bounds():
            chosen = tokens.between(start, stop)
            if gradients is None or request.slope is None:
                logprobs[chosen.names] = logits.log_probabilities(start, stop, chosen)
                continue
            values = gradients.add(start, stop, chosen, logits, request.slope)
            logprobs[chosen.names], entropies[chosen.names] = values.logprobs, values.entropies
            loss += values.loss
        ctx.gradients = gradients
        ctx.mark_non_differentiable(logprobs, entropies)
        return logprobs, entropies, loss

    @staticmethod
    def backward(ctx: Any, *by_outputs: Tensor) -> tuple[Tensor | None, ...]:
        gradients: HeadGradients = ctx.gradients
        ctx.gradients = None
        return *gradients.scaled(by_outputs[2]), None, None
