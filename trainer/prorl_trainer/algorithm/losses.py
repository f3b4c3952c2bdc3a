"""The loss of each token: clipped surrogate, KL term, and what is measured on the way.

Shapes: every tensor here is [L], float32, one entry a loss token. `advantages` is the group-relative advantage of
the token's rollout. The loss is a sum with weights that add up to 1 over the whole optimizer step, so that
packs and ranks may be of any size, and any slice of a pack has a loss of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from prorl_api.spec.algorithm import KL, AlgorithmSpec, Clip
from prorl_api.spec.values import KLEstimator, MismatchCorrection

DEFAULT_ICEPOP_FLOOR = 0.5
"""IcePop's lower bound where the manifest gives none, as in the public ProRL v2 scripts."""


MAX_LOG_RATIO = 20.0
"""|log(policy / old)| beyond which a probability ratio counts as e^20, as in verl: exp(89) is infinite in float32, and
an infinite ratio times the zero slope of the clip is no number."""


def probability_ratio(policy_logprobs: Tensor, old_logprobs: Tensor) -> Tensor:
    """policy / old, finite for every pair of finite log-probabilities. Beyond the clamp its gradient is zero."""
    return torch.exp((policy_logprobs - old_logprobs).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO))


def clipped_surrogate(policy_logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, clip: Clip) -> Tensor:
    """min(r A, clip(r, 1 - low, 1 + high) A), and not below dual A where A < 0. To be maximised.

    r = exp(policy - old). PPO's surrogate with DAPO's decoupled bounds (arXiv 2503.14476 eq. 8; ProRL eq. 2, low 0.2
    and high 0.4) and the dual clip (arXiv 1912.09729 eq. 5): without it one token of a bad completion that has become
    r times as probable weighs r times as much as the others, without bound.
    """
    ratio = probability_ratio(policy_logprobs, old_logprobs)
    surrogate = torch.minimum(ratio * advantages, ratio.clamp(1.0 - clip.low, 1.0 + clip.high) * advantages)
    return torch.where(advantages < 0, torch.maximum(surrogate, clip.dual * advantages), surrogate)


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

    The expectations hold where the token was sampled by the policy itself. In later optimizer steps of a batch the
    sample is slightly old: `kl_term` corrects for it where it is asked to. Beyond the clamp the gradient is zero.
    """
    log_ratio = (policy_logprobs - ref_logprobs).clamp(-clamp, clamp)
    if estimator is KLEstimator.K1:
        return log_ratio
    if estimator is KLEstimator.K2:
        return 0.5 * log_ratio.square()
    return torch.exp(-log_ratio) - 1.0 + log_ratio


def kl_term(settings: KL, policy_logprobs: Tensor, old_logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """beta kl_l, and with `correctStale` r beta kl_l, where r = policy / old carries no gradient.

    A token was sampled by `old`; E_old[r g] = E_policy[g] for every g, so that the expected gradient is again the one
    that `kl_estimate` states (importance sampling; DeepSeek-V3.2, arXiv 2512.02556, weights its k3 by the same ratio).
    """
    term = settings.coefficient * kl_estimate(
        settings.estimator, policy_logprobs, ref_logprobs, settings.log_ratio_clamp
    )
    return probability_ratio(policy_logprobs, old_logprobs).detach() * term if settings.correct_stale else term


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
class LossInputs:
    """What the loss of some tokens depends on, besides the policy: each [L]."""

    old_logprobs: Tensor | None
    """None: the policy's own, which has not moved since."""
    ref_logprobs: Tensor | None
    """None: nobody asks for the KL; its coefficient is 0."""
    rollout_logprobs: Tensor
    advantages: Tensor
    token_weights: Tensor

    def of(self, tokens: Tensor) -> LossInputs:
        """Those of some of the tokens, by their indices."""
        return LossInputs(
            old_logprobs=None if self.old_logprobs is None else self.old_logprobs[tokens],
            ref_logprobs=None if self.ref_logprobs is None else self.ref_logprobs[tokens],
            rollout_logprobs=self.rollout_logprobs[tokens],
            advantages=self.advantages[tokens],
            token_weights=self.token_weights[tokens],
        )


def token_losses(algorithm: AlgorithmSpec, policy_logprobs: Tensor, inputs: LossInputs) -> Tensor:
    """w_l (beta kl_l - m_l surrogate_l) for each token, with gradient; their sum is the loss, but for the bonus.

    w comes from the aggregation, m from the mismatch correction.
    """
    surrogate, kl = _terms(algorithm, policy_logprobs, inputs)
    return inputs.token_weights * (kl - surrogate)


def entropy_slopes(algorithm: AlgorithmSpec, inputs: LossInputs) -> Tensor | None:
    """- c w_l, the loss's derivative by each token's entropy: its part is - c sum_l w_l H_l. None without a bonus.

    H_l is the entropy of the whole tempered distribution that the token was drawn from, in nats (A3C, arXiv 1602.01783
    section 4). The bonus is neither clipped nor corrected for stale samples.
    """
    return -algorithm.entropy_bonus * inputs.token_weights if algorithm.entropy_bonus else None


@torch.no_grad()
def loss_sums(
    algorithm: AlgorithmSpec, policy_logprobs: Tensor, inputs: LossInputs, entropies: Tensor
) -> dict[str, Tensor]:
    """Sum over the tokens (or take maxima, for names ending in `_max`), to be reduced over packs and ranks.

    Scalars in float64 on the tensors' device: nothing waits for a GPU here.
    """
    policy_logprobs = policy_logprobs.detach()
    surrogate, kl = _terms(algorithm, policy_logprobs, inputs)
    old = policy_logprobs if inputs.old_logprobs is None else inputs.old_logprobs
    advantages, weights = inputs.advantages, inputs.token_weights
    ratio = probability_ratio(policy_logprobs, old)
    correction, uncorrected = mismatch_weights(algorithm, old, inputs.rollout_logprobs), old - inputs.rollout_logprobs
    clip, is_corrected = algorithm.clip, algorithm.engine_mismatch.correction is not MismatchCorrection.NONE
    totals = {
        "tokens": torch.ones_like(advantages),
        "loss": weights * (kl - surrogate - algorithm.entropy_bonus * entropies),
        "policy_loss": -weights * surrogate,
        "kl_loss": weights * kl,
        "entropy_loss": -algorithm.entropy_bonus * weights * entropies,
        "policy_magnitude": weights * surrogate.abs(),
        "kl_magnitude": weights * kl.abs(),
        "clipped_low": (ratio < 1.0 - clip.low) & (advantages < 0),
        "clipped_high": (ratio > 1.0 + clip.high) & (advantages > 0),
        "clipped_dual": (ratio > clip.dual) & (advantages < 0),
        "entropy": entropies,
        "mismatch_logprob": uncorrected.abs(),
        "mismatch_masked": (correction < torch.exp(uncorrected)) & is_corrected,
    }
    if inputs.ref_logprobs is not None:
        totals["kl"] = kl_estimate(KLEstimator.K3, old, inputs.ref_logprobs, algorithm.kl.log_ratio_clamp)
    sums = {name: values.to(torch.float64).sum() for name, values in totals.items()}
    none = torch.zeros(1, dtype=torch.float64, device=ratio.device)
    return sums | {"ratio_max": torch.cat([none, ratio.to(torch.float64)]).max()}


def _terms(algorithm: AlgorithmSpec, policy_logprobs: Tensor, inputs: LossInputs) -> tuple[Tensor, Tensor]:
    """Return the corrected surrogate and the weighted KL term of each token."""
    old = policy_logprobs.detach() if inputs.old_logprobs is None else inputs.old_logprobs
    correction = mismatch_weights(algorithm, old, inputs.rollout_logprobs)
    surrogate = correction * clipped_surrogate(policy_logprobs, old, inputs.advantages, algorithm.clip)
    if inputs.ref_logprobs is None:
        assert algorithm.kl.coefficient == 0, "a KL term needs the reference"
        return surrogate, torch.zeros_like(surrogate)
    return surrogate, kl_term(algorithm.kl, policy_logprobs, old, inputs.ref_logprobs)
