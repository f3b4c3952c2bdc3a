"""The snapshot of one step, from what the stages returned. Pure; names are those of `prorl_api.metrics`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from prorl_api.wire.sandbox import CORRECT_REWARD, Verdict
from prorl_trainer.algorithm.types import Batch, GroupSummary, SampledStep, ScoredGroup, StepMetrics
from prorl_trainer.engines.engine import Sums


def sampling_metrics(sampled: SampledStep) -> dict[str, float]:
    """Compute what the sampled rollouts tell, before any is dropped."""
    groups = sampled.sampled
    lengths = [length for group in groups for length in group.num_tokens]
    scored = [(group.source, reward) for group in groups for reward in group.rewards if reward is not None]
    values = {
        "groups_sampled": float(len(groups)),
        "groups_kept": len(sampled.kept) / len(groups),
        "sampling_rounds": float(sampled.rounds),
        "samplings_empty": float(sampled.num_empty),
        "prompts_passed_over": float(sampled.num_passed_over),
        "rollouts_masked": float(sum(reward is None for group in groups for reward in group.rewards)),
        "completion_length": _mean(lengths),
        "truncated": sum(group.num_truncated for group in groups) / len(lengths),
        "tokens_generated": float(sum(lengths)),
        "tokens_prompt": float(sum(group.num_prompt_tokens for group in groups)),
        "seconds_scoring": sum(group.judge_seconds for group in groups),
    }
    values |= {f"prompts_kept_out/{name}": float(count) for name, count in sampled.kept_out.items()}
    if scored:
        values["reward_mean"] = _mean([reward for _, reward in scored])
    for source in sorted({source for source, _ in scored}):
        rewards = [reward for name, reward in scored if name == source]
        values[f"reward_sampled/{source}"] = _mean(rewards)
        values[f"accuracy_sampled/{source}"] = _mean([float(reward >= CORRECT_REWARD) for reward in rewards])
    return values | _entropy(groups)


def _entropy(groups: Sequence[GroupSummary]) -> dict[str, float]:
    """Return the mean of -log p over the sampled tokens of each source: its expectation is the policy's entropy.

    H(p) = E[-log p(x)] for x drawn from p, so no token but the drawn one is needed. The average over a completion's
    tokens weighs every context as often as it was met.
    """
    found: dict[str, tuple[float, int]] = {}
    for group in groups:
        surprisal, tokens = found.get(group.source, (0.0, 0))
        found[group.source] = surprisal + group.surprisal, tokens + sum(group.num_tokens)
    return {f"entropy_sampled/{name}": total / tokens for name, (total, tokens) in sorted(found.items()) if tokens}


def masked_metrics(sampled: SampledStep) -> dict[str, float]:
    """Count the rollouts of each source that have no reward, by cause; a source without any has a 0."""
    causes = [cause for cause in Verdict if not cause.has_reward]
    values: dict[str, float] = {}
    for group in sampled.sampled:
        found = {f"rollouts_sampled/{group.source}": float(len(group.rewards))}
        found |= {f"rollouts_masked_{cause}/{group.source}": float(group.masked.count(cause)) for cause in causes}
        for name, count in found.items():
            values[name] = values.get(name, 0.0) + count
    return values


def training_metrics(groups: Sequence[ScoredGroup], batch: Batch, updates: Sequence[Sums]) -> dict[str, float]:
    """Compute what the optimizer steps tell; means over all loss tokens of those that were taken.

    Args:
        groups: The batch.
        batch: The same, packed.
        updates: Of each minibatch; of one that was skipped the gradient norm is not finite, and nothing else counts.
    """
    taken = [update for update in updates if is_taken(update)]
    values = {
        "minibatches_skipped": float(len(updates) - len(taken)),
        "reward_shaped_mean": _mean([r for group in groups for r in group.shaped_rewards if r is not None]),
        "groups_trained": float(len(groups)),
        "positions_trained": float(sum(minibatch.num_positions for minibatch in batch.minibatches)),
    }
    return values | (_update_metrics(taken) if taken else {})


def is_taken(update: Sums) -> bool:
    """Tell whether an optimizer step was taken: one with a gradient that is not finite is not."""
    return math.isfinite(update["gradient_norm"])


def _update_metrics(updates: Sequence[Sums]) -> dict[str, float]:
    tokens = sum(update["tokens"] for update in updates)
    policy = sum(update["policy_magnitude"] for update in updates)
    kl = sum(update["kl_magnitude"] for update in updates)

    def token_mean(name: str) -> float:
        return sum(update[name] for update in updates) / tokens

    measured = {"kl": token_mean("kl")} if "kl" in updates[0] else {}  # without a reference there is none
    return measured | {
        "entropy": token_mean("entropy"),
        "clip_fraction_low": token_mean("clipped_low"),
        "clip_fraction_high": token_mean("clipped_high"),
        "clip_fraction_dual": token_mean("clipped_dual"),
        "mismatch_logprob": token_mean("mismatch_logprob"),
        "mismatch_masked": token_mean("mismatch_masked"),
        "ratio_max": max(update["ratio_max"] for update in updates),
        "policy_loss": _mean([update["policy_loss"] for update in updates]),
        "kl_loss": _mean([update["kl_loss"] for update in updates]),
        "entropy_loss": _mean([update["entropy_loss"] for update in updates]),
        "kl_loss_share": kl / (policy + kl) if policy + kl > 0 else 0.0,
        "gradient_norm": _mean([update["gradient_norm"] for update in updates]),
        "tokens_trained": tokens,
    }


def merged(*parts: Mapping[str, float]) -> StepMetrics:
    """Merge several parts into one snapshot."""
    metrics = StepMetrics()
    for part in parts:
        metrics.values |= part
    return metrics


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
