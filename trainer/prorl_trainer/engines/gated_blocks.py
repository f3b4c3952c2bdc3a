"""Gated feed-forward blocks that keep their two products, and neither the activation nor what is multiplied by it.

down(act(gate(x)) * up(x)), as Llama, Qwen, Mistral, Gemma and most others have it. Autograd keeps four tensors of the
block's width for the backward pass: gate(x), act(gate(x)), up(x), and act(gate(x)) * up(x), which the last matrix's
gradient needs. The second and the fourth are cheap to compute again from the others: half of the block's memory, for a
few passes over memory. The numbers are the same to the last bit, but for the last matrix's gradient where it is added
to a sum, as `summed_gradients` has it.

What is such a block is found by its parts and shown by running it: where ours gives another output, the model's stays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from prorl_trainer.engines.summed_gradients import GradientSum, add_product

Activation = Callable[[Tensor], Tensor]
_PROBED_POSITIONS = 4
_PROBED_SIZES = (1.0, 1e4)
"""Of the inputs: what a block cuts off, if it does, it cuts off large ones."""


class GateAndUp(NamedTuple):
    """What is handed to the last layer of a block."""

    gate: Tensor
    """[..., I]."""
    up: Tensor
    """[..., I]."""
    activation: Activation

    def product(self) -> Tensor:
        """act(gate) * up, [..., I]."""
        return self.activation(self.gate) * self.up


class GatedLinear(nn.Linear):
    """The last layer of a block, which also takes a `GateAndUp`. Made from a model's own by `keep_products_alone`."""

    weight: nn.Parameter
    gradient_sum: GradientSum | None
    """Where the weight's gradient is summed up; None: autograd is given it."""

    def forward(self, input: Tensor | GateAndUp) -> Tensor:  # noqa: A002
        """Multiply."""
        if not isinstance(input, GateAndUp):
            return super().forward(input)
        if not torch.is_grad_enabled():
            return super().forward(input.product())
        output: Tensor = _MultiplyGated.apply(*input, self.weight, self.bias, self)  # type: ignore[no-untyped-call]
        return output


class _MultiplyGated(torch.autograd.Function):
    """(gate and up [..., I], weight [H, I], bias [H] or None) -> [..., H]."""

    @staticmethod
    def forward(
        ctx: Any, gate: Tensor, up: Tensor, activation: Activation, weight: Tensor, bias: Tensor | None,
        module: GatedLinear,
    ) -> Tensor:  # fmt: skip
        ctx.save_for_backward(gate, up, weight)
        ctx.activation, ctx.module = activation, module
        return nn.functional.linear(GateAndUp(gate, up, activation).product(), weight, bias)

    @staticmethod
    def backward(ctx: Any, *by_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (gate, up, weight), module, (by_output,) = ctx.saved_tensors, ctx.module, by_outputs
        needed = ctx.needs_input_grad
        inputs = (gate.detach().requires_grad_(), up.detach().requires_grad_())
        with torch.enable_grad():
            product = GateAndUp(*inputs, ctx.activation).product()
        by_weight = None
        if needed[3] and module.gradient_sum is not None:
            add_product(module.gradient_sum(module.weight), by_output, product.detach())
        elif needed[3]:
            by_weight = by_output.flatten(0, -2).t() @ product.detach().flatten(0, -2)
        by_gate, by_up = torch.autograd.grad(product, inputs, by_output @ weight)
        by_bias = by_output.flatten(0, -2).sum(0) if needed[4] else None
        return by_gate, by_up, None, by_weight, by_bias, None


class _GatedBlock(nn.Module):
    """What takes the place of a block's class; the model's own is behind it."""

    keeps_all: bool
    down_proj: GatedLinear

    def forward(self, x: Tensor) -> Any:
        """[..., H] -> [..., H]."""
        if self.keeps_all:
            return super().forward(x)
        return self.down_proj(_handed_on(self, x))


def keep_products_alone(model: nn.Module) -> list[nn.Module]:
    """Have a model's gated blocks keep their products alone; return those that do.

    In place: parameters, names, hooks and copies stay what they are. Each does as it did while its `keeps_all` is True.
    """
    return [module for module in model.modules() if _is_taken_over(module)]


def _is_taken_over(block: Any) -> bool:
    down = getattr(block, "down_proj", None)
    if not _has_parts(block) or type(down) is not nn.Linear:
        return False
    given = torch.randn(_PROBED_POSITIONS, _width(block), generator=torch.Generator().manual_seed(0))
    if not all(_is_ours(block, (given * size).to(down.weight)) for size in _PROBED_SIZES):
        return False
    down.__class__ = GatedLinear
    down.gradient_sum = None  # type: ignore[assignment]
    own = type(block)
    block.__class__ = type(own.__name__, (_GatedBlock, own), {"__module__": own.__module__})
    block.keeps_all = False
    return True


@torch.no_grad()
def _is_ours(block: Any, given: Tensor) -> bool:
    """Tell whether a block gives what ours would."""
    try:
        wanted = block(given)
    except (TypeError, ValueError):  # it is called in another way
        return False
    ours = nn.functional.linear(_handed_on(block, given).product(), block.down_proj.weight, block.down_proj.bias)
    return isinstance(wanted, Tensor) and torch.equal(wanted, ours)


_ACTIVATIONS = ("act_fn", "activation_fn")
_TWO_PRODUCTS, _ONE_PRODUCT = {"gate_proj", "up_proj", "down_proj"}, {"gate_up_proj", "down_proj"}


def _has_parts(block: nn.Module) -> bool:
    """Tell whether a module has the parts of a block and no other."""
    layers = {name for name, child in block.named_children() if isinstance(child, nn.Linear)}
    others = {name for name, child in block.named_children() if not isinstance(child, nn.Linear)}
    if layers not in (_TWO_PRODUCTS, _ONE_PRODUCT) or not others <= set(_ACTIVATIONS):
        return False
    activation = _activation(block)
    trains = isinstance(activation, nn.Module) and next(activation.parameters(), None) is not None
    return activation is not None and not trains


def _activation(block: nn.Module) -> Any:
    return next((found for name in _ACTIVATIONS if callable(found := getattr(block, name, None))), None)


def _width(block: nn.Module) -> int:
    first: Any = getattr(block, "gate_proj", None) or block.gate_up_proj
    width: int = first.in_features
    return width


def _handed_on(block: Any, x: Tensor) -> GateAndUp:
    """Return a block's two products, of two layers or of one whose first half is the gate's."""
    if hasattr(block, "gate_proj"):
        return GateAndUp(block.gate_proj(x), block.up_proj(x), _activation(block))
    gate, up = block.gate_up_proj(x).chunk(2, dim=-1)
    return GateAndUp(gate, up, _activation(block))
