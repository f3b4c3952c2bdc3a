"""Accuracy on held-out prompts: the same ones every time, so that validations can be compared item by item."""

from __future__ import annotations

from dataclasses import dataclass

from prorl_api.spec.job import ProRLJobSpec
from prorl_api.spec.run import ValidationSource
from prorl_api.wire.base import WeightsId
from prorl_trainer.algorithm.types import Prompt, RolloutGroup
from prorl_trainer.sampling import GroupPlan, JournalledSampler, Sampler, sampling_seed
from prorl_trainer.storage.journal import Journal, Purpose


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationResult:
    """One validation."""

    groups: tuple[RolloutGroup, ...]
    accuracy: float
    """Mean reward over all scored samples: sources count by their size."""
    by_source: dict[str, float]


async def validate(
    sampler: Sampler,
    journal: Journal,
    spec: ProRLJobSpec,
    held_out: dict[ValidationSource, list[Prompt]],
    step: int,
    weights_id: WeightsId,
) -> ValidationResult | None:
    """Sample and score all held-out prompts after training step `step`; None if nothing could be scored.

    A repeated step, if its weights are what they were, takes its groups from the journal.
    """
    settings = spec.validation

    def plan(prompt: Prompt) -> GroupPlan:
        return GroupPlan(
            request_id=f"{weights_id.attempt}.validation.{step}.{prompt.source}.{prompt.index}",
            num_completions=settings.samples_per_prompt,
            temperature=settings.temperature,
            top_p=settings.top_p,
            max_tokens=spec.rollout.max_completion_tokens,
            seed=sampling_seed(spec.seed, "validation", prompt.source, prompt.index),
            weights_id=weights_id,
        )

    prompts = [prompt for prompts in held_out.values() for prompt in prompts]
    groups = await JournalledSampler(sampler, journal, step, Purpose.VALIDATION).groups(prompts, plan, spec)
    return summarise(tuple(groups))


def summarise(groups: tuple[RolloutGroup, ...]) -> ValidationResult | None:
    """Compute the accuracies of judged samples; the judge's failures count neither way."""
    rewards = [(group.prompt.source, reward) for group in groups for reward in group.rewards if reward is not None]
    if not rewards:
        return None
    sources = sorted({source for source, _ in rewards})
    by_source = {source: _mean([reward for name, reward in rewards if name == source]) for source in sources}
    return ValidationResult(groups=groups, accuracy=_mean([reward for _, reward in rewards]), by_source=by_source)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
