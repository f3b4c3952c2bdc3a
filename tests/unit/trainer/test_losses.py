"""The loss by hand, against a naive loop in float64, and its gradient against exact expectations."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from prorl_api.spec.algorithm import KL, AlgorithmSpec, Clip
from prorl_api.spec.values import KLEstimator, MismatchCorrection
from prorl_trainer.algorithm.losses import (
    LossInputs,
    clipped_surrogate,
    entropy_slopes,
    kl_estimate,
    kl_term,
    loss_sums,
    mismatch_weights,
    token_losses,
)

CLIP = Clip(low=0.2, high=0.4, dual=3.0)


def algorithm(**sections: Any) -> AlgorithmSpec:
    return AlgorithmSpec.model_validate(sections)


def surrogate_and_slope(ratio: float, advantage: float) -> tuple[float, float]:
    """Value and derivative by the ratio; d/d logprob = ratio * that."""
    logprob = torch.tensor([math.log(ratio)], dtype=torch.float64, requires_grad=True)
    value = clipped_surrogate(logprob, torch.zeros(1), torch.tensor([advantage]), CLIP)
    value.sum().backward()  # type: ignore[no-untyped-call]
    assert logprob.grad is not None
    return float(value.detach()), float(logprob.grad) / ratio


@pytest.mark.parametrize(
    ("ratio", "advantage", "value", "slope"),
    [
        (1.0, 2.0, 2.0, 2.0),
        (1.3, 2.0, 2.6, 2.0),  # inside
        (1.5, 2.0, 2.8, 0.0),  # above: 1.4 * 2
        (0.5, 2.0, 1.0, 2.0),  # below, but a gain that has been lost is not clipped
        (0.9, -2.0, -1.8, -2.0),  # inside
        (0.5, -2.0, -1.6, 0.0),  # below: 0.8 * -2
        (1.5, -2.0, -3.0, -2.0),  # above, but a loss that has grown is not clipped
        (2.9, -2.0, -5.8, -2.0),
        (3.1, -2.0, -6.0, 0.0),  # but beyond the dual clip it is: 3 * -2
        (3.1, 2.0, 2.8, 0.0),  # which does not concern a gain
        (0.5, 0.0, 0.0, 0.0),
    ],
)
def test_clipped_surrogate_by_hand(ratio: float, advantage: float, value: float, slope: float) -> None:
    assert surrogate_and_slope(ratio, advantage) == pytest.approx((value, slope), abs=1e-6)


@pytest.mark.parametrize(
    ("estimator", "values"),
    [
        (KLEstimator.K1, (math.log(2), -math.log(2), 0.0)),
        (KLEstimator.K2, (math.log(2) ** 2 / 2, math.log(2) ** 2 / 2, 0.0)),
        (KLEstimator.K3, (0.5 - 1 + math.log(2), 2 - 1 - math.log(2), 0.0)),
    ],
)
def test_kl_estimators_by_hand(estimator: KLEstimator, values: tuple[float, ...]) -> None:
    policy, ref = torch.tensor([-1.0, -1.0, -1.0]), torch.tensor([-1 - math.log(2), -1 + math.log(2), -1.0])
    assert kl_estimate(estimator, policy, ref, 10.0).tolist() == pytest.approx(values, abs=1e-6)


def exact_gradients(estimator: KLEstimator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Over a vocabulary of five: expected per-sample gradient, and gradients of zero, KL(pi, ref), KL(ref, pi)."""
    logits = torch.tensor([0.3, -1.0, 0.8, 0.1, -0.4], dtype=torch.float64, requires_grad=True)
    ref = torch.log_softmax(torch.tensor([-0.2, 0.5, 0.1, -1.2, 0.9], dtype=torch.float64), 0)
    probabilities = torch.softmax(logits.detach(), 0)
    expected = torch.zeros(5, dtype=torch.float64)
    for token in range(5):
        logprob = torch.log_softmax(logits, 0)[token]
        (gradient,) = torch.autograd.grad(kl_estimate(estimator, logprob, ref[token], 10.0), logits)
        expected = expected + probabilities[token] * gradient
    policy = torch.log_softmax(logits, 0)
    (to_ref,) = torch.autograd.grad((policy.exp() * (policy - ref)).sum(), logits)
    policy = torch.log_softmax(logits, 0)
    (from_ref,) = torch.autograd.grad((ref.exp() * (ref - policy)).sum(), logits)
    return expected, torch.zeros(5, dtype=torch.float64), to_ref, from_ref


@pytest.mark.parametrize(("estimator", "which"), [(KLEstimator.K1, 1), (KLEstimator.K2, 2), (KLEstimator.K3, 3)])
def test_expected_gradient_is_what_the_docstring_claims(estimator: KLEstimator, which: int) -> None:
    results = exact_gradients(estimator)
    assert torch.allclose(results[0], results[which], atol=1e-12)
    assert not torch.allclose(results[2], results[3], atol=1e-3), "the two divergences pull differently"


@pytest.mark.parametrize(("estimator", "which"), [(KLEstimator.K2, 0), (KLEstimator.K3, 1)])
def test_weighting_by_the_ratio_makes_the_gradient_of_stale_samples_exact(estimator: KLEstimator, which: int) -> None:
    """Tokens drawn from an older policy, over a vocabulary of five, against the divergences differentiated exactly."""
    logits = torch.tensor([0.3, -1.0, 0.8, 0.1, -0.4], dtype=torch.float64, requires_grad=True)
    old = torch.log_softmax(torch.tensor([0.9, -0.4, -0.1, 0.6, -0.4], dtype=torch.float64), 0)
    ref = torch.log_softmax(torch.tensor([-0.2, 0.5, 0.1, -1.2, 0.9], dtype=torch.float64), 0)
    policy = torch.log_softmax(logits, 0)
    divergences = (policy.exp() * (policy - ref)).sum(), (ref.exp() * (ref - policy)).sum()
    (exact,) = torch.autograd.grad(divergences[which], logits, retain_graph=True)
    found = {}
    for correct in (True, False):
        settings = KL(estimator=estimator, coefficient=1.0, correct_stale=correct)
        expected_loss = (old.exp() * kl_term(settings, policy, old, ref)).sum()
        (found[correct],) = torch.autograd.grad(expected_loss, logits, retain_graph=True)
    assert torch.allclose(found[True], exact, atol=1e-12)
    assert not torch.allclose(found[False], exact, atol=1e-2)


def test_k1_and_k3_are_unbiased_as_values_and_k3_is_never_negative() -> None:
    policy = torch.log_softmax(torch.tensor([0.3, -1.0, 0.8], dtype=torch.float64), 0)
    ref = torch.log_softmax(torch.tensor([-0.2, 0.5, 0.1], dtype=torch.float64), 0)
    exact = float((policy.exp() * (policy - ref)).sum())
    for estimator in (KLEstimator.K1, KLEstimator.K3):
        values = kl_estimate(estimator, policy, ref, 10.0)
        assert float((policy.exp() * values).sum()) == pytest.approx(exact, rel=1e-12)
    assert (kl_estimate(KLEstimator.K3, policy, ref, 10.0) >= 0).all()


@pytest.mark.parametrize("estimator", list(KLEstimator))
def test_beyond_the_clamp_the_value_stays_and_the_gradient_is_zero(estimator: KLEstimator) -> None:
    policy = torch.tensor([3.0, 5.0, -5.0], requires_grad=True)
    values = kl_estimate(estimator, policy, torch.zeros(3), 3.0)
    values.sum().backward()  # type: ignore[no-untyped-call]
    assert policy.grad is not None
    assert policy.grad[1:].tolist() == [0.0, 0.0]
    assert float(values[1].detach()) == float(values[0].detach())


OLD = torch.log(torch.tensor([0.9, 0.5, 0.2, 0.4]))
ROLLOUT = torch.log(torch.tensor([0.3, 0.4, 0.5, 0.4]))
"""Ratios 3, 1.25, 0.4, 1."""


def make_inputs(*, old: Tensor, rollout: Tensor, advantages: Tensor, weights: Tensor) -> LossInputs:
    return LossInputs(
        old_logprobs=old, ref_logprobs=old, rollout_logprobs=rollout, advantages=advantages, token_weights=weights
    )


@pytest.mark.parametrize("log_ratio", [-1000.0, -100.0, -20.0, 5.0, 20.0, 100.0, 1000.0])
@pytest.mark.parametrize("advantage", [-1.0, 0.0, 1.0])
def test_no_ratio_makes_the_loss_or_its_gradient_unbounded(log_ratio: float, advantage: float) -> None:
    policy = torch.tensor([-1.0], requires_grad=True)
    old, ones = torch.tensor([-1.0 - log_ratio]), torch.ones(1)
    inputs = make_inputs(old=old, rollout=old, advantages=advantage * ones, weights=ones)
    loss = token_losses(algorithm(kl={"coefficient": 0}), policy, inputs).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    assert policy.grad is not None
    assert abs(float(loss.detach())) <= CLIP.dual
    assert abs(float(policy.grad)) <= CLIP.dual
    sums = loss_sums(algorithm(), policy.detach(), inputs, ones)
    assert all(math.isfinite(float(value)) for value in sums.values())
    assert float(sums["clipped_dual"]) == float(advantage < 0 and math.exp(min(log_ratio, 20)) > CLIP.dual)


def test_without_a_dual_clip_that_binds_the_ratio_is_clamped_all_the_same() -> None:
    policy = torch.tensor([100.0], requires_grad=True)
    value = clipped_surrogate(policy, torch.zeros(1), torch.tensor([-1.0]), Clip(dual=1_000_000))
    value.sum().backward()  # type: ignore[no-untyped-call]
    assert (float(value.detach()), policy.grad) == (-1_000_000.0, torch.zeros(1))


def test_a_coefficient_for_k1_is_refused_because_it_would_only_add_noise() -> None:
    with pytest.raises(ValueError, match=r"`estimator: k1` has no effect with a `coefficient`, got 0\.1"):
        KL(estimator=KLEstimator.K1, coefficient=0.1)
    assert KL(estimator=KLEstimator.K1, coefficient=0).estimator is KLEstimator.K1


@pytest.mark.parametrize(
    ("settings", "weights", "cut"),
    [
        ({"correction": "none"}, [1, 1, 1, 1], 0),
        ({"correction": "tis", "cap": 2.0}, [2, 1.25, 0.4, 1], 1),
        ({"correction": "icepop", "cap": 2.0}, [0, 1.25, 0, 1], 2),
        ({"correction": "icepop", "cap": 5.0, "floor": 0.1}, [3, 1.25, 0.4, 1], 0),
    ],
)
def test_mismatch_weights_by_hand(settings: dict[str, Any], weights: list[float], cut: int) -> None:
    spec = algorithm(engineMismatch=settings)
    assert mismatch_weights(spec, OLD, ROLLOUT).tolist() == pytest.approx(weights, rel=1e-5)
    ones = torch.ones(4)
    inputs = make_inputs(old=OLD, rollout=ROLLOUT, advantages=ones, weights=ones / 4)
    assert float(loss_sums(spec, OLD, inputs, ones)["mismatch_masked"]) == cut


def test_mismatch_weights_carry_no_gradient() -> None:
    old = OLD.clone().requires_grad_()
    assert not mismatch_weights(algorithm(), old, ROLLOUT).requires_grad


def naive(spec: AlgorithmSpec, columns: dict[str, list[float]]) -> dict[str, float]:
    """Loss and sums, token by token."""
    low, high, beta, bound = spec.clip.low, spec.clip.high, spec.kl.coefficient, spec.kl.log_ratio_clamp
    sums: dict[str, float] = dict.fromkeys(
        ("loss", "policy_loss", "kl_loss", "policy_magnitude", "kl_magnitude", "clipped_low", "clipped_high",
         "clipped_dual", "entropy", "entropy_loss",
         "kl", "mismatch_logprob", "mismatch_masked", "tokens", "ratio_max"), 0.0
    )  # fmt: skip
    for p, o, f, g, a, w, h in zip(*columns.values(), strict=True):
        ratio, engine = math.exp(p - o), math.exp(o - g)
        if spec.engine_mismatch.correction is MismatchCorrection.NONE:
            weight = 1.0
        elif spec.engine_mismatch.correction is MismatchCorrection.TIS:
            weight = min(engine, spec.engine_mismatch.cap)
        else:
            weight = engine if (spec.engine_mismatch.floor or 0.5) <= engine <= spec.engine_mismatch.cap else 0.0
        gain = min(ratio * a, min(max(ratio, 1 - low), 1 + high) * a)
        surrogate = weight * (max(gain, spec.clip.dual * a) if a < 0 else gain)
        x = min(max(p - f, -bound), bound)
        y = min(max(o - f, -bound), bound)
        kl = {"k1": x, "k2": x * x / 2, "k3": math.exp(-x) - 1 + x}[spec.kl.estimator]
        kl *= ratio if spec.kl.correct_stale else 1.0
        sums["loss"] += w * (-surrogate + beta * kl - spec.entropy_bonus * h)
        sums["entropy_loss"] -= w * spec.entropy_bonus * h
        sums["policy_loss"] -= w * surrogate
        sums["kl_loss"] += w * beta * kl
        sums["policy_magnitude"] += w * abs(surrogate)
        sums["kl_magnitude"] += w * beta * abs(kl)
        sums["clipped_low"] += ratio < 1 - low and a < 0
        sums["clipped_high"] += ratio > 1 + high and a > 0
        sums["clipped_dual"] += ratio > spec.clip.dual and a < 0
        sums["entropy"] += h
        sums["kl"] += math.exp(-y) - 1 + y
        sums["mismatch_logprob"] += abs(o - g)
        cut = spec.engine_mismatch.correction is not MismatchCorrection.NONE and weight < engine
        sums["mismatch_masked"] += cut
        sums["tokens"] += 1
        sums["ratio_max"] = max(sums["ratio_max"], ratio)
    return sums


@pytest.mark.parametrize("estimator", list(KLEstimator))
@pytest.mark.parametrize("correction", list(MismatchCorrection))
@pytest.mark.parametrize("bonus", [0.0, 0.2])
def test_losses_and_sums_equal_a_naive_loop_in_float64(
    estimator: KLEstimator, correction: MismatchCorrection, bonus: float
) -> None:
    spec = algorithm(
        entropyBonus=bonus,
        clip={"low": 0.15, "high": 0.3, "dual": 1.6},
        kl={
            "coefficient": 0 if estimator is KLEstimator.K1 else 0.3,
            "estimator": estimator.value,
            "logRatioClamp": 1.0,
            "correctStale": bool(bonus) and estimator is not KLEstimator.K1,
        },
        engineMismatch={"correction": correction.value, "cap": 1.4},
    )
    random = torch.Generator().manual_seed(5)
    size = 200
    old = -2 * torch.rand(size, generator=random, dtype=torch.float64)
    columns = {
        "policy_logprobs": old + 0.4 * torch.randn(size, generator=random, dtype=torch.float64),
        "old_logprobs": old,
        "ref_logprobs": old + torch.randn(size, generator=random, dtype=torch.float64),
        "rollout_logprobs": old + 0.5 * torch.randn(size, generator=random, dtype=torch.float64),
        "advantages": torch.randn(size, generator=random, dtype=torch.float64),
        "token_weights": torch.rand(size, generator=random, dtype=torch.float64),
        "entropy": torch.rand(size, generator=random, dtype=torch.float64),
    }
    entropies, policy = columns["entropy"], columns["policy_logprobs"]
    inputs = LossInputs(**{name: columns[name] for name in LossInputs.__dataclass_fields__})
    sums = loss_sums(spec, policy, inputs, entropies)
    expected = naive(spec, {name: values.tolist() for name, values in columns.items()})
    assert {name: float(value) for name, value in sums.items()} == pytest.approx(expected, rel=1e-9)
    assert expected["clipped_low"] > 0 < expected["clipped_high"]
    assert expected["clipped_dual"] > 0
    slices = [(0, 70), (70, 71), (71, size)]
    parts = [token_losses(spec, policy[start:stop], inputs.of(torch.arange(start, stop))) for start, stop in slices]
    by_entropy = entropy_slopes(spec, inputs)
    own = float(torch.cat(parts).sum()) + (0.0 if by_entropy is None else float(by_entropy @ entropies))
    assert own == pytest.approx(expected["loss"], rel=1e-9), "a slice has a loss of its own"


def test_the_entropy_bonus_by_hand() -> None:
    """Distributions (1/2, 1/4, 1/4) and (1/2, 1/2): H = 3/2 ln 2 and ln 2.

    With c = 0.1 and w = 3/4, 1/4 the loss falls by 0.1 (3/4 x 3/2 + 1/4) ln 2 = 0.1375 ln 2.
    """
    inputs = make_inputs(
        old=OLD[:2], rollout=ROLLOUT[:2], advantages=torch.zeros(2), weights=torch.tensor([0.75, 0.25])
    )
    spec, entropies = algorithm(entropyBonus=0.1, kl={"coefficient": 0}), torch.tensor([1.5, 1.0]) * math.log(2)
    slopes = entropy_slopes(spec, inputs)
    assert slopes is not None
    assert slopes.tolist() == pytest.approx([-0.075, -0.025])
    sums = loss_sums(spec, OLD[:2], inputs, entropies)
    assert float(sums["loss"]) == pytest.approx(-0.1375 * math.log(2))
    assert float(sums["entropy_loss"]) == pytest.approx(-0.1375 * math.log(2))


def test_old_logprobs_that_are_not_given_are_the_policys_own_without_gradient() -> None:
    policy = OLD.clone().requires_grad_()
    inputs = make_inputs(old=OLD, rollout=ROLLOUT, advantages=torch.ones(4), weights=torch.ones(4) / 4)
    given = token_losses(algorithm(), policy, inputs).sum()
    own = token_losses(algorithm(), policy, replace(inputs, old_logprobs=None)).sum()
    assert torch.autograd.grad(given, policy)[0].tolist() == torch.autograd.grad(own, policy)[0].tolist()


def test_without_a_reference_the_loss_is_the_surrogate_and_there_is_no_kl() -> None:
    inputs = make_inputs(old=OLD, rollout=ROLLOUT, advantages=torch.ones(4), weights=torch.ones(4) / 4)
    spec, without = algorithm(kl={"coefficient": 0}), replace(inputs, ref_logprobs=None)
    assert torch.equal(token_losses(spec, OLD, inputs), token_losses(spec, OLD, without))
    sums = loss_sums(spec, OLD, without, torch.ones(4))
    assert "kl" not in sums
    assert float(sums["kl_loss"]) == 0.0


def test_an_empty_pack_has_zero_loss_and_zero_sums() -> None:
    nothing = torch.zeros(0)
    inputs = make_inputs(old=nothing, rollout=nothing, advantages=nothing, weights=nothing)
    assert float(token_losses(algorithm(), nothing, inputs).sum()) == 0.0
    assert {float(value) for value in loss_sums(algorithm(), nothing, inputs, nothing).values()} == {0.0}
