"""The output head, the loss and their gradients in one pass over slices of a pack.

Logits of a whole long pack would not fit, so the head runs on slices of rows. The gradient of the loss is formed while
a slice's logits are there: nothing is computed twice in the backward pass, and the head is one call of one module a
pack, whatever the pack's length. That matters to ZeRO-3, which gathers a module's parameters at each call: ranks whose
packs have different numbers of slices would otherwise wait for each other for ever. Called by `PackedPolicy`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

_LOGITS_ALIVE = 2**24
"""Logits computed at once: 64 MiB in float32, and twice as much again for their gradient. Larger slices are not faster
on a CPU (docs/LOG.md)."""
_LOGITS_ALIVE_ON_GPU = 2**27
"""There a product of few rows leaves most of the device idle."""


class Slope(NamedTuple):
    """The loss of a slice of l loss tokens, and its derivatives."""

    loss: Tensor
    """Scalar."""
    by_logprobs: Tensor
    """[l]."""
    by_entropies: Tensor | None
    """[l]; None: the loss does not depend on them."""


SlopeOfLoss = Callable[[Tensor, Tensor, int, int], Slope]
"""(logprobs [l], entropies [l], start, stop) of a slice of the loss tokens -> its loss and derivatives."""


class HeadOutput(NamedTuple):
    """What is known of each loss token, and the loss."""

    logprobs: Tensor
    """[L] float32, in nats; carries no gradient."""
    entropies: Tensor
    """[L] float32, in nats; carries no gradient."""
    loss: Tensor
    """Scalar float32, with gradient; 0 where no loss was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogitTreatment:
    """What a model does to the head's output before it is a logit: cap * tanh(scale * output / cap)."""

    scale: float = 1.0
    cap: float | None = None
    """None: no cap."""

    def apply(self, raw: Tensor) -> Tensor:
        """Logits of `raw`, which is overwritten."""
        raw = raw if self.scale == 1.0 else raw.mul_(self.scale)
        return raw if self.cap is None else raw.div_(self.cap).tanh_().mul_(self.cap)

    def apply_slope(self, slope: Tensor, logits: Tensor) -> Tensor:
        """d loss / d raw from d loss / d logits, which is overwritten."""
        if self.cap is not None:
            slope = slope.mul_(1.0 - (logits / self.cap).square_())
        return slope if self.scale == 1.0 else slope.mul_(self.scale)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadRequest:
    """What the head is asked besides the hidden states."""

    targets: Tensor
    """[L] int64."""
    temperature: float
    treatment: LogitTreatment
    in_float32: bool
    """Multiply to float32 logits, though weights and hidden states are bfloat16."""
    slope: SlopeOfLoss | None
    """None: no loss, no gradient and no entropies are wanted."""


class FusedHead(nn.Linear):
    """A linear head that also answers a `HeadRequest`. Made from a model's own head by `fuse_head`."""

    def forward(self, input: Tensor, request: HeadRequest | None = None) -> Any:  # noqa: A002
        """Logits of `input`, or with a request its `HeadOutput`."""
        if request is None:
            return super().forward(input)
        return HeadOutput(*_HeadLoss.apply(input, self.weight, self.bias, request))  # type: ignore[no-untyped-call]


def fuse_head(head: nn.Linear) -> None:
    """Teach a head to answer requests. In place: parameters, names, hooks and copies stay what they are."""
    assert type(head) is nn.Linear, "another kind of head is refused before"
    head.__class__ = FusedHead


class _HeadLoss(torch.autograd.Function):
    """(hidden [L, H], weight [V, H], bias [V] or None) -> logprobs, entropies, loss."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, request: HeadRequest
    ) -> tuple[Tensor, Tensor, Tensor]:
        count = len(request.targets)
        logprobs = torch.zeros(count, dtype=torch.float32, device=hidden.device)
        entropies, loss = torch.zeros_like(logprobs), torch.zeros((), dtype=torch.float32, device=hidden.device)
        gradients = None if request.slope is None else _Gradients(hidden, weight, bias)
        multiply = _Multiplier(weight, in_float32=request.in_float32)
        rows = max(1, (_LOGITS_ALIVE_ON_GPU if weight.is_cuda else _LOGITS_ALIVE) // len(weight))
        for start in range(0, count, rows):
            stop = min(start + rows, count)
            targets = request.targets[start:stop, None]
            raw = multiply(hidden[start:stop])
            logits = request.treatment.apply(raw if bias is None else raw.add_(bias))
            tempered = logits / request.temperature if request.treatment.cap else logits.div_(request.temperature)
            normaliser = torch.logsumexp(tempered, dim=-1)
            logprobs[start:stop] = tempered.gather(-1, targets).squeeze(-1) - normaliser
            if gradients is None or request.slope is None:
                continue
            probabilities = torch.exp(tempered - normaliser[:, None])
            entropies[start:stop] = normaliser - torch.linalg.vecdot(probabilities, tempered)
            slope = request.slope(logprobs[start:stop], entropies[start:stop], start, stop)
            loss += slope.loss
            by_logits = _by_tempered_logits(slope, probabilities, tempered, normaliser, entropies[start:stop], targets)
            by_raw = request.treatment.apply_slope(by_logits.div_(request.temperature), logits)
            gradients.add(start, stop, by_raw)
        ctx.gradients = gradients
        ctx.mark_non_differentiable(logprobs, entropies)
        return logprobs, entropies, loss

    @staticmethod
    def backward(ctx: Any, *by_outputs: Tensor) -> tuple[Tensor | None, ...]:
        gradients: _Gradients = ctx.gradients
        ctx.gradients = None
        return *gradients.scaled(by_outputs[2]), None


def _by_tempered_logits(
    slope: Slope, probabilities: Tensor, tempered: Tensor, normaliser: Tensor, entropies: Tensor, targets: Tensor
) -> Tensor:
    """d loss / d tempered logits [l, V], in the place of `probabilities`.

    d logprob / d z = one-hot(target) - p, and d H / d z = -p (log p + H) with log p = z - normaliser.
    """
    by_logprobs = slope.by_logprobs[:, None]
    if slope.by_entropies is None:
        weights = -by_logprobs
    else:
        weights = (tempered - (normaliser - entropies)[:, None]).mul_(-slope.by_entropies[:, None]).sub_(by_logprobs)
    return probabilities.mul_(weights).scatter_add_(-1, targets, by_logprobs)


class _Multiplier:
    """hidden [l, H] -> hidden weight^T [l, V] in float32."""

    def __init__(self, weight: Tensor, *, in_float32: bool) -> None:
        self._by_accumulator = in_float32 and weight.dtype != torch.float32 and weight.device.type == "cuda"
        self._in_float32 = in_float32
        # Off a GPU no product of bfloat16 matrices is to be had in float32: the weights are converted, once a pack.
        self._weight = weight.float() if in_float32 and not self._by_accumulator else weight

    def __call__(self, hidden: Tensor) -> Tensor:
        if self._by_accumulator:
            return torch.mm(hidden, self._weight.t(), out_dtype=torch.float32)
        hidden = hidden.float() if self._in_float32 else hidden
        return torch.mm(hidden, self._weight.t()).float()


class _Gradients:
    """d loss / d hidden, weight and bias, summed over slices; the weight's in float32, whatever its precision."""

    def __init__(self, hidden: Tensor, weight: Tensor, bias: Tensor | None) -> None:
        self._hidden, self._weight = hidden, weight
        self._by_hidden = torch.zeros_like(hidden)
        self._by_weight = torch.zeros(weight.shape, dtype=torch.float32, device=weight.device)
        self._by_bias = None if bias is None else torch.zeros(bias.shape, dtype=torch.float32, device=bias.device)

    def add(self, start: int, stop: int, by_raw: Tensor) -> None:
        """Add a slice's share. `by_raw`: [l, V] float32."""
        if self._by_bias is not None:
            self._by_bias += by_raw.sum(0)
        by_raw = by_raw.to(self._weight.dtype)
        torch.mm(by_raw, self._weight, out=self._by_hidden[start:stop])
        if by_raw.dtype == torch.float32:
            self._by_weight.addmm_(by_raw.t(), self._hidden[start:stop])
        else:
            self._by_weight += torch.mm(by_raw.t(), self._hidden[start:stop])

    def scaled(self, factor: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return all of them times d objective / d loss. May be called once."""
        by_bias = None if self._by_bias is None else self._by_bias.mul_(factor)
        return self._by_hidden.mul_(factor), self._by_weight.mul_(factor), by_bias
