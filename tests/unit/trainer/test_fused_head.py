"""The fused head against PyTorch's own differentiation of the same formula, in float64 and by slices of any size."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from prorl_trainer.engines import head_slices
from prorl_trainer.engines.fused_head import FusedHead, HeadRequest, fuse_head
from prorl_trainer.engines.head_slices import HeadOutput, Logits, LogitTreatment, Slope, SlopeOfLoss
from prorl_trainer.engines.loss_tokens import by_position

HIDDEN, VOCABULARY, TEMPERATURE = 5, 11, 0.7
PREDICT_FROM = np.array([8, 3, 4, 8, 0, 3, 3, 9, 4])
"""Of nine tokens, from five positions; in order of position they are the tokens 4, 1, 5, 6, 2, 8, 0, 3, 7."""
ROWS = [3, 1, 2, 3, 0, 1, 1, 4, 2]
"""Which of the positions, in order."""
TREATMENTS = [LogitTreatment(), LogitTreatment(scale=0.25), LogitTreatment(cap=1.5), LogitTreatment(scale=3.0, cap=2.0)]


def token_loss(logprobs: Tensor, factors: Tensor) -> Tensor:
    """Some loss of each token that is not linear in its log-probability."""
    return factors * torch.exp(0.5 * logprobs) + logprobs.square()


def slope_of(factors: Tensor, bonus: float = 0.0) -> SlopeOfLoss:
    """`bonus`: Weight of an entropy term, factors * entropy, beside the token losses."""

    def slope(logprobs: Tensor, entropies: Tensor, names: Tensor) -> Slope:
        leaf, weights = logprobs.detach().requires_grad_(), bonus * factors[names]
        with torch.enable_grad():
            loss = token_loss(leaf, factors[names]).sum()
        (by_logprobs,) = torch.autograd.grad(loss, leaf)
        return Slope(loss.detach() + torch.dot(weights, entropies), by_logprobs, weights if bonus else None)

    return slope


def make_head(bias: bool) -> tuple[nn.Linear, Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    head = nn.Linear(HIDDEN, VOCABULARY, bias=bias)
    hidden = torch.randn(5, HIDDEN, requires_grad=True)
    return head, hidden, torch.randint(VOCABULARY, (9,)), torch.randn(9)


def request(
    targets: Tensor, treatment: LogitTreatment, slope: SlopeOfLoss | None, *, in_float32: bool = True
) -> HeadRequest:
    return HeadRequest(
        tokens=by_position(PREDICT_FROM[: len(targets)], targets.numpy(), torch.device("cpu")),
        temperature=TEMPERATURE,
        treatment=treatment,
        in_float32=in_float32,
        slope=slope,
    )


def by_autograd(
    head: nn.Linear, hidden: Tensor, targets: Tensor, factors: Tensor, treatment: LogitTreatment, bonus: float = 0.0
) -> tuple[HeadOutput, list[Tensor]]:
    """In float64, in one piece."""
    exact, inputs = copy.deepcopy(head).double(), hidden.detach().double().requires_grad_()
    raw = exact(inputs[ROWS]) * treatment.scale
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
    monkeypatch.setattr(head_slices, "logits_alive", lambda *, on_gpu: rows * VOCABULARY)
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


@pytest.mark.parametrize(
    ("count", "rows", "sizes"), [(0, 3, []), (3, 3, [3]), (4, 3, [2, 2]), (1024, 341, [256] * 4), (7, 3, [2, 2, 3])]
)
def test_slices_are_of_about_the_same_size(
    count: int, rows: int, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head_slices, "logits_alive", lambda *, on_gpu: rows * 5)
    logits = Logits(torch.zeros(count, 2), torch.zeros(5, 2), None, LogitTreatment(), 1.0, in_float32=True)
    bounds = logits.bounds()
    assert [stop - start for start, stop in bounds] == sizes
    assert [edge for bound in bounds for edge in bound][1:-1:2] == [start for start, _ in bounds][1:]


@pytest.mark.parametrize("bias", [False, True])
def test_a_gradient_that_is_summed_elsewhere_is_added_there_and_is_the_same(bias: bool) -> None:
    head, hidden, targets, factors = make_head(bias)
    fuse_head(head)
    summed, before = copy.deepcopy(head), torch.randn(VOCABULARY, HIDDEN)
    total = before.clone()
    summed.gradient_sum = lambda parameter: total  # type: ignore[assignment]
    leaves = [hidden.detach().clone().requires_grad_() for _ in range(2)]
    for one, leaf in zip((head, summed), leaves, strict=True):
        one(leaf, request(targets, TREATMENTS[1], slope_of(factors))).loss.backward()
    assert summed.weight.grad is None
    assert head.weight.grad is not None
    assert torch.allclose(total - before, head.weight.grad, atol=1e-6)
    pairs: list[tuple[Tensor, Tensor]] = [(leaves[0], leaves[1]), *((head.bias, summed.bias) for _ in range(bias))]
    for first, second in pairs:
        assert first.grad is not None
        assert second.grad is not None
        assert torch.equal(first.grad, second.grad)


@pytest.mark.parametrize("factor", [2.0, float("nan"), float("inf"), 0.0])
def test_what_is_summed_elsewhere_cannot_be_scaled_and_says_so_by_a_gradient_that_is_no_number(factor: float) -> None:
    head, hidden, targets, factors = make_head(bias=False)
    fuse_head(head)
    head.gradient_sum = torch.zeros_like  # type: ignore[assignment]
    (factor * head(hidden, request(targets, TREATMENTS[0], slope_of(factors))).loss).backward()
    assert hidden.grad is not None
    assert hidden.grad.isnan().all()


def test_without_a_loss_there_are_log_probabilities_alone() -> None:
    head, hidden, targets, factors = make_head(bias=False)
    expected, _ = by_autograd(head, hidden, targets, factors, TREATMENTS[0])
    fuse_head(head)
    with torch.no_grad():
        output = head(hidden, request(targets, TREATMENTS[0], None))
    assert torch.allclose(output.logprobs.double(), expected.logprobs, atol=1e-5)
    assert float(output.loss) == 0.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("treatment", TREATMENTS)
@pytest.mark.parametrize("bonus", [0.0, 0.8])
def test_log_probabilities_are_the_same_to_the_last_bit_with_and_without_a_loss(
    bonus: float, treatment: LogitTreatment, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the KL to a copy of oneself is 0."""
    monkeypatch.setattr(head_slices, "logits_alive", lambda *, on_gpu: 48 * 500)
    torch.manual_seed(2)
    head, hidden = nn.Linear(64, 500, bias=bonus > 0.0).to(dtype), torch.randn(100, 64, dtype=dtype)
    tokens = by_position(np.arange(300) % 100, torch.randint(500, (300,)).numpy(), torch.device("cpu"))
    fuse_head(head)
    asked = HeadRequest(
        tokens=tokens,
        temperature=TEMPERATURE,
        treatment=treatment,
        in_float32=True,
        slope=slope_of(torch.randn(300), bonus),
    )
    trained = head(hidden.requires_grad_(), asked)
    with torch.no_grad():
        measured = head(hidden, replace(asked, slope=None))
    assert torch.equal(trained.logprobs, measured.logprobs)


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
    coarse = head(hidden, request(targets, TREATMENTS[0], None, in_float32=False)).logprobs
    assert torch.allclose(fine.double(), expected.logprobs, atol=1e-6)
    assert float((coarse.double() - expected.logprobs).abs().max()) > 1e-4
