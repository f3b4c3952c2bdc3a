"""The snapshot of one step, from what the stages returned. Pure; names are those of `prorl_api.metrics`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prorl_trainer.algorithm.types import CORRECT_REWARD, Batch, SampledStep, ScoredGroup, StepMetrics
from prorl_trainer.engines.engine import Sums


def sampling_metrics(sampled: SampledStep) -> dict[str, float]:
    """What the sampled rollouts tell, before any is dropped."""
    rollouts = [(group.prompt.source, rollout) for group in sampled.sampled for rollout in group.rollouts]
    scored = [(source, rollout.reward) for source, rollout in rollouts if rollout.reward is not None]
    values = {
        "groups_sampled": float(len(sampled.sampled)),
        "groups_kept": len(sampled.kept) / len(sampled.sampled),
        "sampling_rounds": float(sampled.rounds),
        "rollouts_masked": float(len(rollouts) - len(scored)),
        "completion_length": _mean([rollout.num_tokens for _, rollout in rollouts]),
        "truncated": _mean([float(rollout.is_truncated) for _, rollout in rollouts]),
        "tokens_generated": float(sum(rollout.num_tokens for _, rollout in rollouts)),
        "tokens_prompt": float(sum(len(group.prompt.token_ids) for group in sampled.sampled)),
        "seconds_scoring": sum(group.judge_seconds for group in sampled.sampled),
    }
    if scored:
        values["reward_mean"] = _mean([reward for _, reward in scored])
    for source in sorted({source for source, _ in scored}):
        correct = [float(reward >= CORRECT_REWARD) for name, reward in scored if name == source]
        values[f"accuracy_sampled/{source}"] = _mean(correct)
    return values


def training_metrics(groups: Sequence[ScoredGroup], batch: Batch, updates: Sequence[Sums]) -> dict[str, float]:
    """What the optimizer steps tell; means over all loss tokens of the batch."""
    tokens = sum(update["tokens"] for update in updates)
    shaped = [reward for group in groups for reward in group.shaped_rewards if reward is not None]
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
        "kl_loss_share": kl / (policy + kl) if policy + kl > 0 else 0.0,
        "gradient_norm": _mean([update["gradient_norm"] for update in updates]),
        "reward_shaped_mean": _mean(shaped),
        "groups_trained": float(len(groups)),
        "tokens_trained": tokens,
        "positions_trained": float(sum(minibatch.num_positions for minibatch in batch.minibatches)),
    }


def merged(*parts: Mapping[str, float]) -> StepMetrics:
    """One snapshot of several parts."""
    metrics = StepMetrics()
    for part in parts:
        metrics.values |= part
    return metrics


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
