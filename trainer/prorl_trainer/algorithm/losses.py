"""The loss of one packed sequence: clipped surrogate, KL term, and what is measured on the way.

Shapes: every tensor here is [L], float32, one entry a loss token. `advantages` is the group-relative advantage of
the token's rollout. The loss is a sum with weights that add up to 1 over the whole optimizer step, so that
packs and ranks may be of any size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from prorl_api.spec.algorithm import AlgorithmSpec
from prorl_api.spec.values import KLEstimator, MismatchCorrection

DEFAULT_ICEPOP_FLOOR = 0.5
"""IcePop's lower bound where the manifest gives none, as in the public ProRL v2 scripts."""


def clipped_surrogate(
    policy_logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, low: float, high: float
) -> Tensor:
    """min(r A, clip(r, 1 - low, 1 + high) A) with r = exp(policy - old). To be maximised.

    PPO's surrogate with DAPO's decoupled bounds (arXiv 2503.14476 eq. 8; ProRL eq. 2, low 0.2 and high 0.4).
    """
    ratio = torch.exp(policy_logprobs - old_logprobs)
    return torch.minimum(ratio * advantages, ratio.clamp(1.0 - low, 1.0 + high) * advantages)


def kl_estimate(estimator: KLEstimator, policy_logprobs: Tensor, ref_logprobs: Tensor, clamp: float) -> Tensor:
    """Per-token estimate of KL(policy || reference) from a token sampled by the policy (Schulman, "Approximating KL").

    With x = clamp(log policy - log reference):

    - k1 = x. Unbiased as a value. As a loss its gradient is grad log policy, whose expectation is zero: it does not
      pull towards the reference at all.
    - k2 = x^2 / 2. Biased as a value. As a loss its gradient is x grad log policy, whose expectation is exactly the
      gradient of KL(policy || reference). ProRL v2's choice (its section 4) and our default.
    - k3 = exp(-x) - 1 + x. Unbiased, never negative, low variance as a value. As a loss its gradient is
      (1 - exp(-x)) grad log policy, whose expectation is the gradient of KL(reference || policy): it pulls, but in
      the other divergence.

    The expectations hold where the token was sampled by the policy itself; in later optimizer steps of a batch the
    sample is slightly old, and we do not correct the KL term for it. Beyond the clamp the gradient is zero.
    """
    log_ratio = (policy_logprobs - ref_logprobs).clamp(-clamp, clamp)
    if estimator is KLEstimator.K1:
        return log_ratio
    if estimator is KLEstimator.K2:
        return 0.5 * log_ratio.square()
    return torch.exp(-log_ratio) - 1.0 + log_ratio


def mismatch_weights(algorithm: AlgorithmSpec, old_logprobs: Tensor, rollout_logprobs: Tensor) -> Tensor:
    """Weights that account for the rollout engine having sampled from slightly other probabilities. No gradient.

    tis: min(exp(old - rollout), cap): truncated importance sampling (Ionides 2008), used against engine mismatch by Yao
    et al. 2025, "Your efficient RL framework secretly brings you off-policy RL training". icepop: exp(old - rollout)
    where it lies in [floor, cap], else 0, as in the public ProRL v2 scripts.
    """
    settings = algorithm.engine_mismatch
    if settings.correction is MismatchCorrection.NONE:
        return torch.ones_like(old_logprobs)
    ratio = torch.exp(old_logprobs - rollout_logprobs).detach()
    if settings.correction is MismatchCorrection.TIS:
        return ratio.clamp(max=settings.cap)
    floor = DEFAULT_ICEPOP_FLOOR if settings.floor is None else settings.floor
    return torch.where((ratio >= floor) & (ratio <= settings.cap), ratio, torch.zeros_like(ratio))


@dataclass(frozen=True, slots=True, kw_only=True)
class PackLoss:
    """The loss of a pack and sums over its tokens."""

    loss: Tensor
    """Scalar with gradient."""
    sums: dict[str, float]
    """Sums over loss tokens (or maxima, for names ending in `_max`), to be reduced over packs and ranks."""


def pack_loss(
    algorithm: AlgorithmSpec,
    *,
    policy_logprobs: Tensor,
    old_logprobs: Tensor,
    ref_logprobs: Tensor,
    rollout_logprobs: Tensor,
    advantages: Tensor,
    token_weights: Tensor,
    entropy: Tensor,
) -> PackLoss:
    """loss = sum_l w_l (-m_l surrogate_l + beta kl_l), w from the aggregation, m from the mismatch correction."""
    low, high = algorithm.clip.low, algorithm.clip.high
    correction = mismatch_weights(algorithm, old_logprobs, rollout_logprobs)
    surrogate = correction * clipped_surrogate(policy_logprobs, old_logprobs, advantages, low, high)
    kl = kl_estimate(algorithm.kl.estimator, policy_logprobs, ref_logprobs, algorithm.kl.log_ratio_clamp)
    kl_term = algorithm.kl.coefficient * kl
    loss = (token_weights * (kl_term - surrogate)).sum()
    with torch.no_grad():
        ratio = torch.exp(policy_logprobs - old_logprobs)
        uncorrected = torch.exp(old_logprobs - rollout_logprobs)
        is_uncorrected = algorithm.engine_mismatch.correction is MismatchCorrection.NONE
        sums = {
            "tokens": float(len(advantages)),
            "policy_loss": -_total(token_weights * surrogate),
            "kl_loss": _total(token_weights * kl_term),
            "policy_magnitude": _total(token_weights * surrogate.abs()),
            "kl_magnitude": _total(token_weights * kl_term.abs()),
            "clipped_low": _total((ratio < 1.0 - low) & (advantages < 0)),
            "clipped_high": _total((ratio > 1.0 + high) & (advantages > 0)),
            "ratio_max": float(ratio.max()) if len(ratio) else 0.0,
            "entropy": _total(entropy),
            "kl": _total(kl_estimate(KLEstimator.K3, old_logprobs, ref_logprobs, algorithm.kl.log_ratio_clamp)),
            "mismatch_logprob": _total((old_logprobs - rollout_logprobs).abs()),
            "mismatch_masked": 0.0 if is_uncorrected else _total(correction < uncorrected),
        }
    return PackLoss(loss=loss, sums=sums)


def _total(values: Tensor) -> float:
    return float(values.detach().to(torch.float64).sum())
