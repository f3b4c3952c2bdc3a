"""The one table of the learner's metrics: name in `metrics.jsonl`, Prometheus name, unit, help, why it is there.

All values of a step form one consistent snapshot. A value that does not exist for a step (no validation ran, no
group was kept) is absent, never 0. Metrics with a source have one value per source, under `name/source`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One row of the table."""

    name: str
    """Key in `metrics.jsonl` and in the learner's API."""
    unit: str
    """Unit, as in the Prometheus name; empty for pure numbers."""
    help: str
    why: str = ""
    by_source: bool = False

    @property
    def prometheus_name(self) -> str:
        """`prorl_learner_<name>_<unit>`."""
        return "_".join(part for part in ("prorl_learner", self.name, self.unit) if part)


def _m(name: str, unit: str, help_text: str, why: str = "", *, by_source: bool = False) -> Metric:
    return Metric(name=name, unit=unit, help=help_text, why=why, by_source=by_source)


TABLE: tuple[Metric, ...] = (
    _m("step", "", "Training steps completed.", "Which snapshot this is."),
    _m("attempt", "", "The learner's attempt.", "A resumed run overlaps an earlier one; the higher attempt survives."),
    _m("policy_version", "", "Step of the weights that sampled this batch.", "Staleness."),
    _m("reward_mean", "", "Mean verifier reward of all sampled rollouts, 0 to 1, before dynamic sampling."),
    _m("reward_shaped_mean", "", "Mean reward of the trained rollouts after length shaping."),
    _m(
        "reward_sampled",
        "",
        "Mean verifier reward of sampled rollouts of one source, 0 to 1, before dynamic sampling.",
        "Where rewards are partial it moves before accuracy does.",
        by_source=True,
    ),
    _m("accuracy_sampled", "", "Share of sampled rollouts with reward at least 0.99.", by_source=True),
    _m("validation_accuracy", "", "Mean reward on held-out prompts, over sources by size.", "Drives resets."),
    _m(
        "validation_completions",
        "",
        "Judged completions that validation_accuracy is the mean of.",
        "How noisy an accuracy is at most: as a binomial share of so many.",
    ),
    _m(
        "validation_stderr",
        "",
        "Standard error of validation_accuracy over repeated validations of the same prompts.",
        "The same prompts are judged every time: how hard they are is no noise between two validations.",
    ),
    _m("validation_source_accuracy", "", "Mean reward on held-out prompts of one source.", by_source=True),
    _m("validation_source_completions", "", "The same as validation_completions, of one source.", by_source=True),
    _m("validation_source_stderr", "", "The same as validation_stderr, of one source.", by_source=True),
    _m(
        "kl",
        "nats",
        "Mean k3 estimate of KL(policy, reference) per trained token, before the batch's first update.",
        "Distance from the reference; drives resets.",
    ),
    _m(
        "kl_loss_share",
        "ratio",
        "|KL term| / (|surrogate term| + |KL term|), of token sums of magnitudes.",
        "When it nears 1 the reference holds the policy back: ProRL's motive for resets.",
    ),
    _m("kl_loss", "", "The KL term's value in the loss, coefficient included."),
    _m("entropy_loss", "", "The entropy bonus's value in the loss, coefficient included: 0 or below."),
    _m("policy_loss", "", "The clipped surrogate's value."),
    _m("entropy", "nats", "Mean entropy of the tempered policy per trained token.", "Collapse shows here first."),
    _m(
        "entropy_sampled",
        "nats",
        "Mean -log-probability of a source's sampled tokens, by the rollout engine: estimates its entropy.",
        "Entropy by source, before any group is dropped.",
        by_source=True,
    ),
    _m("clip_fraction_low", "ratio", "Share of trained tokens whose ratio was clipped from below."),
    _m("clip_fraction_high", "ratio", "Share of trained tokens whose ratio was clipped from above."),
    _m("clip_fraction_dual", "ratio", "Share of trained tokens whose ratio was clipped by the dual clip."),
    _m("ratio_max", "", "Largest policy / old probability ratio of a trained token."),
    _m("gradient_norm", "", "Global norm before clipping, mean over the batch's optimizer steps."),
    _m("learning_rate", "", "Rate of the last optimizer step."),
    _m(
        "mismatch_logprob",
        "nats",
        "Mean |old_logprobs - rollout_logprobs| per trained token.",
        "Trainer against engine: catches stale weights and wrong temperatures.",
    ),
    _m("mismatch_masked", "ratio", "Share of trained tokens that the mismatch correction cut or masked."),
    _m("completion_length", "tokens", "Mean length of sampled completions."),
    _m("truncated", "ratio", "Share of sampled completions cut at the limit."),
    _m("groups_sampled", "", "Groups sampled in this step, refills included."),
    _m("groups_kept", "ratio", "Share of sampled groups that carried a signal."),
    _m("sampling_rounds", "", "Sampling rounds this step took."),
    _m("samplings_empty", "", "Samplings of this step before the last one; none of their groups had a signal."),
    _m("prompts_passed_over", "", "Generated prompts longer than maxPromptTokens, which were left out."),
    _m(
        "prompts_kept_out",
        "",
        "Rows of the files, and generated prompts of this attempt, that are not trained on because a source holds the "
        "same question out.",
        "Leakage between training and validation, of one source or across sources.",
        by_source=True,
    ),
    _m("groups_trained", "", "Groups in the batch."),
    _m(
        "minibatches_skipped",
        "",
        "Optimizer steps not taken because a loss or the gradient was not finite.",
        "Several in a row end the run.",
    ),
    _m("rollouts_masked", "", "Rollouts without a reward because the judge failed."),
    _m(
        "rollouts_sampled", "", "Rollouts sampled in this step.", "What the masked ones are a share of.", by_source=True
    ),
    _m(
        "rollouts_masked_unsupported",
        "",
        "Rollouts without a reward because their row cannot be judged there.",
        "Should not depend on the policy: if it rises, completions have found a way to escape their zero.",
        by_source=True,
    ),
    _m(
        "rollouts_masked_sandbox_error",
        "",
        "Rollouts without a reward because every try to judge them failed.",
        "The same, and a sandbox that is ill.",
        by_source=True,
    ),
    _m(
        "weights_changed",
        "ratio",
        "Share of served weight values that the last publish changed.",
        "In bfloat16 small updates do not reach the served weights at all.",
    ),
    _m("resets_total", "", "Reference resets applied so far."),
    _m("seconds_total", "seconds", "Wall time of the step."),
    _m("seconds_waiting", "seconds", "Waiting for rollout servers and sandboxes to become ready."),
    _m("seconds_sampling", "seconds", "Waiting for rollouts and rewards."),
    _m("seconds_scoring", "seconds", "Judge time, summed over items; overlaps with sampling."),
    _m("seconds_reference", "seconds", "Reference log-probabilities."),
    _m("seconds_old_logprobs", "seconds", "Policy log-probabilities before the first update."),
    _m("seconds_updating", "seconds", "Forward, backward and optimizer steps."),
    _m("seconds_publishing", "seconds", "Weights to the rollout servers."),
    _m("seconds_validating", "seconds", "Validation, when one ran in this step."),
    _m("seconds_resetting", "seconds", "Making another policy the reference, at the boundary before this step."),
    _m("seconds_checkpointing", "seconds", "Capturing checkpoints in this step, and waiting for one to be written."),
    _m("tokens_generated", "tokens", "Completion tokens sampled."),
    _m("tokens_prompt", "tokens", "Prompt tokens sent to rollout servers, once a group."),
    _m("tokens_trained", "tokens", "Loss tokens."),
    _m("positions_trained", "tokens", "Positions of the packs, once for all that share them, padding included."),
)

BY_NAME = {metric.name: metric for metric in TABLE}

LIVE: tuple[Metric, ...] = (
    _m("heartbeat_timestamp", "seconds", "Last progress, Unix time."),
    _m("step_timestamp", "seconds", "When the newest step was completed, or this attempt began, Unix time."),
    _m(
        "resumed_from_step",
        "",
        "Completed steps that this attempt began with; -1: it began afresh.",
        "What earlier attempts did after them does not count.",
    ),
    _m("steps_wanted", "", "Steps at which the run is done."),
    _m("rollout_servers_live", "", "Rollout servers that were heard of lately, fail no calls and refuse no weights."),
    _m("rollout_servers_wanted", "", "Rollout servers that the spec asks for."),
    _m("checkpoint_timestamp", "seconds", "When the newest checkpoint was written, or this attempt began, Unix time."),
    _m("checkpoint_due", "seconds", "Time between two checkpoints that the spec asks for, a step included."),
    _m("resets_applied", "", "1 if resets that triggers ask for are applied, or wait for approval; else 0."),
    _m("kl_bound", "", "Bound of a trigger on KL (`metric` kl) or its share of the loss (kl_loss_share)."),
    _m("mismatch_bound", "nats", "Mismatch at which the run ends."),
    _m("gpu_unused", "", "1 if the learner, which asked for no GPU, trains on the CPU of a node that has some."),
)
"""What the learner exports beside the newest step: as it is at the moment of the scrape."""


STEP_PARTS: tuple[str, ...] = tuple(
    metric.name
    for metric in TABLE
    if metric.name.startswith("seconds_") and metric.name not in ("seconds_total", "seconds_scoring")
)
"""Metrics that add up to a step. Judge time is not among them: it overlaps with sampling."""


def surviving(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the timeline that survived.

    A line is dropped once a higher attempt has one at the same or an earlier step.

    Args:
        lines: Of `metrics.jsonl`, in any order.

    Returns:
        One line a step, ascending.
    """
    kept: list[dict[str, Any]] = []
    for line in sorted(lines, key=lambda item: (item["attempt"], item["step"])):
        while kept and kept[-1]["step"] >= line["step"]:
            kept.pop()
        kept.append(line)
    return kept
