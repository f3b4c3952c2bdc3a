"""Gated blocks that keep their products alone: outputs and gradients are the model's own to the last bit."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from prorl_trainer.engines.gated_blocks import GatedLinear, keep_products_alone

HIDDEN, WIDTH = 6, 10


class TwoProducts(nn.Module):
    """As Llama has it."""

    def __init__(self, activation: Callable[[Tensor], Tensor], *, bias: bool = False) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(HIDDEN, WIDTH, bias=bias)
        self.up_proj = nn.Linear(HIDDEN, WIDTH, bias=bias)
        self.down_proj = nn.Linear(WIDTH, HIDDEN, bias=bias)
        self.act_fn = activation

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))
        return output


class OneProduct(nn.Module):
    """As Phi-3 has it."""

    def __init__(self) -> None:
        super().__init__()
        self.gate_up_proj = nn.Linear(HIDDEN, 2 * WIDTH, bias=False)
        self.down_proj = nn.Linear(WIDTH, HIDDEN, bias=False)
        self.activation_fn = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up_proj(x).chunk(2, dim=-1)
        output: Tensor = self.down_proj(up * self.activation_fn(gate))
        return output


BLOCKS: dict[str, Callable[[], nn.Module]] = {
    "silu": lambda: TwoProducts(nn.SiLU()),
    "silu, a function": lambda: TwoProducts(nn.functional.silu),
    "gelu by tanh": lambda: TwoProducts(nn.GELU(approximate="tanh")),
    "with biases": lambda: TwoProducts(nn.SiLU(), bias=True),
    "one product": OneProduct,
}


def gradients(block: nn.Module, x: Tensor, factors: Tensor) -> dict[str, Tensor]:
    given = x.clone().requires_grad_()
    (block(given) * factors).sum().backward()
    found = {"x": given.grad, **{name: parameter.grad for name, parameter in block.named_parameters()}}
    assert all(gradient is not None for gradient in found.values())
    return {name: gradient for name, gradient in found.items() if gradient is not None}


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(7, HIDDEN), (2, 3, HIDDEN), (0, HIDDEN)])
def test_outputs_and_gradients_are_the_models_own(name: str, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    own = BLOCKS[name]().to(dtype)
    ours = copy.deepcopy(own)
    assert keep_products_alone(ours) == [ours]
    assert isinstance(ours, type(own))
    assert isinstance(ours.down_proj, GatedLinear)
    x, factors = torch.randn(shape).to(dtype), torch.randn(shape).to(dtype)
    assert torch.equal(ours(x), own(x))
    wanted, got = gradients(own, x, factors), gradients(ours, x, factors)
    assert wanted.keys() == got.keys()
    assert all(torch.equal(wanted[part], got[part]) for part in wanted)


def kept(block: nn.Module, x: Tensor) -> int:
    """Numbers of the block's width that wait for the backward pass."""
    found: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if tensor.shape[-1] == WIDTH and not isinstance(tensor, nn.Parameter) and tensor.shape[0] == len(x):
            found[tensor.data_ptr()] = tensor.numel()
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        block(x)
    return sum(found.values())


def test_half_as_much_waits_for_the_backward_pass() -> None:
    own, x = TwoProducts(nn.SiLU()), torch.randn(7, HIDDEN, requires_grad=True)
    ours = copy.deepcopy(own)
    keep_products_alone(ours)
    assert (kept(own, x), kept(ours, x)) == (4 * 7 * WIDTH, 2 * 7 * WIDTH)


def test_a_gradient_goes_where_it_is_summed_up() -> None:
    torch.manual_seed(1)
    own, x, factors = TwoProducts(nn.SiLU()), torch.randn(7, HIDDEN), torch.randn(7, HIDDEN)
    ours = copy.deepcopy(own)
    keep_products_alone(ours)
    before = torch.randn(HIDDEN, WIDTH)
    total = before.clone()
    ours.down_proj.gradient_sum = lambda parameter: total  # type: ignore[assignment]
    (ours(x) * factors).sum().backward()
    assert ours.down_proj.weight.grad is None
    assert torch.allclose(total - before, gradients(own, x, factors)["down_proj.weight"], atol=1e-6)


def test_while_it_keeps_all_it_is_the_models_own() -> None:
    block, x = TwoProducts(nn.SiLU()), torch.randn(7, HIDDEN, requires_grad=True)
    keep_products_alone(block)
    block.keeps_all = True  # type: ignore[assignment]
    assert kept(block, x) == 4 * 7 * WIDTH


def test_a_frozen_block_gets_no_gradient() -> None:
    block = TwoProducts(nn.SiLU(), bias=True)
    keep_products_alone(block)
    block.requires_grad_(False)
    x = torch.randn(7, HIDDEN, requires_grad=True)
    block(x).sum().backward()
    assert x.grad is not None
    assert all(parameter.grad is None for parameter in block.parameters())


class ScaledGate(TwoProducts):
    """The parts are a block's, what it does with them is not."""

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.down_proj(self.act_fn(2.0 * self.gate_proj(x)) * self.up_proj(x))
        return output


class Clamped(TwoProducts):
    """As DeepSeek-V4 has it: nothing that is near zero shows it."""

    def forward(self, x: Tensor) -> Tensor:
        gate = self.gate_proj(x).clamp(max=10.0)
        output: Tensor = self.down_proj(self.act_fn(gate) * self.up_proj(x).clamp(-10.0, 10.0))
        return output


class WithMask(TwoProducts):
    """It is called with more than its input."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x) * mask


class Scale(nn.Module):
    """An activation that is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


class UpFirst(OneProduct):
    def forward(self, x: Tensor) -> Tensor:
        up, gate = self.gate_up_proj(x).chunk(2, dim=-1)
        output: Tensor = self.down_proj(up * self.activation_fn(gate))
        return output


class WithDropout(TwoProducts):
    def __init__(self) -> None:
        super().__init__(nn.SiLU())
        self.dropout = nn.Dropout(0.5)


class OtherLinear(nn.Linear):
    """A layer with ways of its own."""


def with_other_linear() -> nn.Module:
    block = TwoProducts(nn.SiLU())
    block.down_proj = OtherLinear(WIDTH, HIDDEN)
    return block


class GivesTwo(TwoProducts):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x), x


@pytest.mark.parametrize(
    "make",
    [
        lambda: ScaledGate(nn.SiLU()),
        lambda: Clamped(nn.SiLU()),
        lambda: WithMask(nn.SiLU()),
        lambda: TwoProducts(Scale()),
        UpFirst,
        WithDropout,
        with_other_linear,
        lambda: GivesTwo(nn.SiLU()),
    ],
    ids=[
        "scaled gate",
        "clamped",
        "with a mask",
        "trained activation",
        "up first",
        "dropout",
        "another linear",
        "two outputs",
    ],
)
def test_what_is_no_such_block_stays_as_it_is(make: Callable[[], nn.Module]) -> None:
    block = make()
    kind = type(block)
    assert keep_products_alone(block) == []
    assert type(block) is kind
    assert not any(isinstance(module, GatedLinear) for module in block.modules())
