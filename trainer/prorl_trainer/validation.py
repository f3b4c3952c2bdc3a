"""Accuracy on held-out prompts: the same ones every time, so that validations can be compared item by item."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prorl_api.spec.job import ProRLJobSpec
from prorl_api.spec.run import ValidationSource
from prorl_api.wire.base import WeightsId
from prorl_api.wire.rollout import Sampling
from prorl_trainer.algorithm.types import Prompt, RolloutGroup
from prorl_trainer.sampling import GroupPlan, JournalledSampler, Sampler, sampling_seed
from prorl_trainer.storage.journal import Journal, Purpose

Items = Mapping[tuple[str, int], tuple[float, ...]]
"""Source and index of each prompt to the rewards of its judged completions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationResult:
    """One validation."""

    groups: tuple[RolloutGroup, ...]
    accuracy: float
    """Mean reward over all scored samples: sources count by their size."""
    by_source: dict[str, float]
    items: Items
    noise: dict[str, float]
    """How sure the accuracies are: `validation_completions` and `validation_stderr`, and those of each source."""


async def validate(
    sampler: Sampler,
    journal: Journal,
    spec: ProRLJobSpec,
    held_out: dict[ValidationSource, list[Prompt]],
    step: int,
    weights_id: WeightsId,
    before: Items | None = None,
) -> ValidationResult | None:
    """Sample and score all held-out prompts after training step `step`; None if nothing could be scored.

    A repeated step, if its weights are what they were, takes its groups from the journal. `before` is what the
    validation before this one judged, if this attempt made it.
    """
    settings = spec.validation

    def plan(prompt: Prompt) -> GroupPlan:
        return GroupPlan(
            request_id=f"{weights_id.attempt}.validation.{step}.{prompt.source}.{prompt.index}",
            num_completions=settings.samples_per_prompt,
            sampling=Sampling(
                temperature=settings.temperature,
                top_p=settings.top_p,
                max_tokens=spec.rollout.max_completion_tokens,
                seed=sampling_seed(spec.seed, "validation", prompt.source, prompt.index),
                stop=spec.rollout.stop,
            ),
            weights_id=weights_id,
        )

    prompts = [prompt for prompts in held_out.values() for prompt in prompts]
    groups = await JournalledSampler(sampler, journal, step, Purpose.VALIDATION).groups(prompts, plan, spec)
    is_repeatable = settings.temperature > 0 and settings.samples_per_prompt > 1
    return summarise(tuple(groups), before, completions_vary=is_repeatable)


def summarise(
    groups: tuple[RolloutGroup, ...], before: Items | None = None, *, completions_vary: bool = False
) -> ValidationResult | None:
    """Compute the accuracies of judged samples; the judge's failures count neither way.

    Args:
        groups: One a prompt.
        before: What the validation before judged.
        completions_vary: Whether a prompt has several completions that may differ: they tell how noisy it is.
    """
    rewards = [(group.prompt.source, reward) for group in groups for reward in group.rewards if reward is not None]
    if not rewards:
        return None
    sources = sorted({source for source, _ in rewards})
    by_source = {source: _mean([reward for name, reward in rewards if name == source]) for source in sources}
    items = {
        (group.prompt.source, group.prompt.index): tuple(reward for reward in group.rewards if reward is not None)
        for group in groups
    }
    noise = _noise("validation", items, before or {}, completions_vary=completions_vary)
    for source in sources:
        own = {item: judged for item, judged in items.items() if item[0] == source}
        found = _noise("validation_source", own, before or {}, completions_vary=completions_vary)
        noise |= {f"{name}/{source}": value for name, value in found.items()}
    return ValidationResult(
        groups=groups,
        accuracy=_mean([reward for _, reward in rewards]),
        by_source=by_source,
        items=items,
        noise=noise,
    )


def _noise(prefix: str, items: Items, before: Items, *, completions_vary: bool) -> dict[str, float]:
    """Count judged completions, and estimate the standard error of their mean over repeats with the same prompts."""
    count = sum(map(len, items.values()))
    values = {f"{prefix}_completions": float(count)}
    variance = _within_prompts(items) if completions_vary else _between_validations(items, before)
    if variance is not None and count:
        values[f"{prefix}_stderr"] = math.sqrt(variance / count)
    return values


def _within_prompts(items: Items) -> float | None:
    """Return the variance of one completion's reward about its prompt's mean.

    The mean square within groups of a one-way analysis of variance. How hard the prompts are does not enter: they are
    the same every time.
    """
    several = [rewards for rewards in items.values() if len(rewards) > 1]
    degrees = sum(len(rewards) - 1 for rewards in several)
    if not degrees:
        return None
    return sum((reward - _mean(rewards)) ** 2 for rewards in several for reward in rewards) / degrees


def _between_validations(items: Items, before: Items) -> float | None:
    """Return the variance of one completion's reward as the change of every prompt since the validation before tells.

    Half the variance of the paired differences of the prompts' mean rewards, times the completions of a prompt: two
    validations share the noise.
    """
    pairs = [(judged, before[item]) for item, judged in items.items() if judged and before.get(item)]
    if len(pairs) < 2:
        return None
    changes = [_mean(now) - _mean(old) for now, old in pairs]
    mean = _mean(changes)
    variance = sum((change - mean) ** 2 for change in changes) / (len(changes) - 1) / 2
    return variance * sum(len(now) for now, _ in pairs) / len(pairs)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
