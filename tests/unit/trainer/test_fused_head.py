"""The fused head against PyTorch's own differentiation of the same formula, in float64 and by slices of any size."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from prorl_trainer.engines import fused_head
from prorl_trainer.engines.fused_head import (
    FusedHead,
    HeadOutput,
    HeadRequest,
    LogitTreatment,
    Slope,
    SlopeOfLoss,
    fuse_head,
)

ROWS, HIDDEN, VOCABULARY, TEMPERATURE = 7, 5, 11, 0.7
TREATMENTS = [LogitTreatment(), LogitTreatment(scale=0.25), LogitTreatment(cap=1.5), LogitTreatment(scale=3.0, cap=2.0)]


def token_loss(logprobs: Tensor, factors: Tensor) -> Tensor:
    """Some loss of each token that is not linear in its log-probability."""
    return factors * torch.exp(0.5 * logprobs) + logprobs.square()


def slope_of(factors: Tensor, bonus: float = 0.0) -> SlopeOfLoss:
    """`bonus`: Weight of an entropy term, factors * entropy, beside the token losses."""

    def slope(logprobs: Tensor, entropies: Tensor, start: int, stop: int) -> Slope:
        leaf, weights = logprobs.detach().requires_grad_(), bonus * factors[start:stop]
        with torch.enable_grad():
            loss = token_loss(leaf, factors[start:stop]).sum()
        (by_logprobs,) = torch.autograd.grad(loss, leaf)
        return Slope(loss.detach() + torch.dot(weights, entropies), by_logprobs, weights if bonus else None)

    return slope


def make_head(bias: bool) -> tuple[nn.Linear, Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    head = nn.Linear(HIDDEN, VOCABULARY, bias=bias)
    hidden = torch.randn(ROWS, HIDDEN, requires_grad=True)
    return head, hidden, torch.randint(VOCABULARY, (ROWS,)), torch.randn(ROWS)


def request(targets: Tensor, treatment: LogitTreatment, slope: SlopeOfLoss | None) -> HeadRequest:
    return HeadRequest(targets=targets, temperature=TEMPERATURE, treatment=treatment, in_float32=True, slope=slope)


def by_autograd(
    head: nn.Linear, hidden: Tensor, targets: Tensor, factors: Tensor, treatment: LogitTreatment, bonus: float = 0.0
) -> tuple[HeadOutput, list[Tensor]]:
    """In float64, in one piece."""
    exact, inputs = copy.deepcopy(head).double(), hidden.detach().double().requires_grad_()
    raw = exact(inputs) * treatment.scale
    logits = raw if treatment.cap is None else treatment.cap * torch.tanh(raw / treatment.cap)
    table = torch.log_softmax(logits / TEMPERATURE, -1)
    logprobs = table.gather(-1, targets[:, None]).squeeze(-1)
    entropies = -(table.exp() * table).sum(-1)
    loss = token_loss(logprobs, factors.double()).sum() + bonus * (factors.double() * entropies).sum()
    gradients = torch.autograd.grad(3.0 * loss, [inputs, *exact.parameters()])
    return HeadOutput(logprobs.detach(), entropies.detach(), loss.detach()), list(gradients)


@pytest.mark.parametrize("rows", [1, 2, 3, 100])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("treatment", TREATMENTS)
@pytest.mark.parametrize("bonus", [0.0, 0.8])
def test_values_and_gradients_are_those_of_the_formula(
    bonus: float, treatment: LogitTreatment, bias: bool, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused_head, "_LOGITS_ALIVE", rows * VOCABULARY)
    head, hidden, targets, factors = make_head(bias)
    expected, gradients = by_autograd(head, hidden, targets, factors, treatment, bonus)
    fuse_head(head)
    output = head(hidden, request(targets, treatment, slope_of(factors, bonus)))
    (3.0 * output.loss).backward()
    for value, wanted in zip(output, expected, strict=True):
        assert torch.allclose(value.detach().double(), wanted, atol=1e-5)
    for parameter, gradient in zip([hidden, *head.parameters()], gradients, strict=True):
        assert parameter.grad is not None
        assert torch.allclose(parameter.grad.double(), gradient, rtol=1e-4, atol=1e-5)


def test_without_a_loss_there_are_log_probabilities_alone() -> None:
    head, hidden, targets, factors = make_head(bias=False)
    expected, _ = by_autograd(head, hidden, targets, factors, TREATMENTS[0])
    fuse_head(head)
    with torch.no_grad():
        output = head(hidden, request(targets, TREATMENTS[0], None))
    assert torch.allclose(output.logprobs.double(), expected.logprobs, atol=1e-5)
    assert float(output.loss) == 0.0


def test_no_loss_token_still_gives_every_parameter_a_gradient() -> None:
    """An empty pack: an engine that shards waits for it."""
    head, hidden, _, _ = make_head(bias=True)
    fuse_head(head)
    nothing = torch.zeros(0, dtype=torch.int64)
    output = head(hidden[:0], request(nothing, TREATMENTS[0], slope_of(torch.zeros(0))))
    output.loss.backward()
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in head.parameters())


def test_a_copy_of_a_fused_head_has_weights_of_its_own_and_a_plain_call_is_a_linear_layer() -> None:
    head, hidden, _, _ = make_head(bias=True)
    plain = head(hidden)
    fuse_head(head)
    other = copy.deepcopy(head)
    assert isinstance(other, FusedHead)
    assert torch.equal(other(hidden), plain)
    with torch.no_grad():
        head.weight.zero_()
    assert torch.equal(other(hidden), plain)


def test_in_bfloat16_a_float32_head_has_logits_that_are_not_rounded() -> None:
    head, hidden, targets, factors = make_head(bias=False)
    head, hidden = head.bfloat16(), hidden.detach().bfloat16()
    expected, _ = by_autograd(head, hidden, targets, factors, TREATMENTS[0])
    fuse_head(head)
    fine = head(hidden, request(targets, TREATMENTS[0], None)).logprobs
    coarse = head(
        hidden,
        HeadRequest(targets=targets, temperature=TEMPERATURE, treatment=TREATMENTS[0], in_float32=False, slope=None),
    ).logprobs
    assert torch.allclose(fine.double(), expected.logprobs, atol=1e-6)
    assert float((coarse.double() - expected.logprobs).abs().max()) > 1e-4
