"""Dynamic sampling with refill: the groups of one training step.

Rounds are bounded. In each round as many new prompts are sampled as groups are still missing. Which prompts a step
uses depends on the rewards alone, not on the order in which answers arrive. A sampling that finds no group with a
signal is no failure yet: the loop goes on with the next prompts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from prorl_api.errors import RewardError
from prorl_api.journalled import sampling_settings
from prorl_api.spec.job import ProRLJobSpec
from prorl_api.wire.base import WeightsId
from prorl_api.wire.rollout import Sampling
from prorl_trainer.algorithm.dynamic_sampling import has_signal, is_scored
from prorl_trainer.algorithm.length_shaping import earned_rewards
from prorl_trainer.algorithm.types import GroupSummary, Prompt, RolloutGroup, SampledStep
from prorl_trainer.data.prompts import TakenPrompts, source_weights
from prorl_trainer.sampling import GroupPlan, JournalledSampler, Sampler, sampling_seed
from prorl_trainer.service.shared_status import SharedStatus
from prorl_trainer.storage.journal import Journal, Purpose

TakePrompts = Callable[[int, int, dict[str, float]], TakenPrompts]
"""Gives the prompts from an index on: so many, of sources with these weights."""
_MAX_SHOWN = 8
"""Groups without a signal that are kept whole, for people."""


class StepSampler:
    """Samples training steps. Its coroutines run on the event loop."""

    def __init__(self, sampler: Sampler, take: TakePrompts, journal: Journal, shared_status: SharedStatus) -> None:
        """Take the sampler, the stream of prompts, the journal and where progress is told."""
        self._sampler = sampler
        self._take = take
        self._journal = journal
        self._shared_status = shared_status

    async def sample(
        self, spec: ProRLJobSpec, step: int, first_index: int, weights_id: WeightsId, remark: str = ""
    ) -> SampledStep:
        """Return the groups of training step `step` (counted from 1); `kept` is empty if none had a signal.

        Args:
            spec: As it holds at the step.
            step: Counted from 1.
            first_index: Of the first prompt to take.
            weights_id: Of the policy that samples.
            remark: Behind the progress that is told.

        Raises:
            RewardError: The judge failed on more rollouts than the manifest allows; the step's journal is dropped, so
                that it is sampled anew when it is tried again.
        """
        wanted = spec.learner.prompts_per_step
        settings = spec.algorithm.dynamic_sampling
        keep = has_signal if settings.enabled else is_scored
        journalled = JournalledSampler(self._sampler, self._journal, step, Purpose.TRAINING)
        self._journal.note(step, sampling_settings(spec))
        kept: list[RolloutGroup] = []
        shown: list[RolloutGroup] = []
        sampled: list[GroupSummary] = []
        failures: set[str] = set()
        kept_out: Mapping[str, int] = {}
        next_index, rounds, passed_over = first_index, 0, 0
        while len(kept) < wanted and rounds < settings.max_rounds:
            rounds += 1
            self._shared_status.beat(f"round {rounds}: {len(kept)} of {wanted} groups{remark}")
            # In another thread: to make an item may take seconds, and the event loop has answers to give.
            taken = await asyncio.to_thread(self._take, next_index, wanted - len(kept), source_weights(spec))
            next_index, passed_over = taken.next_index, passed_over + taken.num_passed_over
            kept_out = taken.kept_out
            groups = await journalled.groups(taken.prompts, _plan(spec, step, weights_id), spec)
            sampled += [group.summary for group in groups]
            failures |= _failures(groups)
            judged = [(group, keep(earned_rewards(spec.algorithm.length, group))) for group in groups]
            kept += [group for group, is_kept in judged if is_kept]
            shown = _first_shown([*shown, *(group for group, is_kept in judged if not is_kept)])
        try:
            _raise_if_masked(sampled, failures, spec)
        except RewardError:
            self._journal.drop(step)
            raise
        return SampledStep(
            kept=tuple(kept),
            sampled=tuple(sampled),
            shown=tuple(shown),
            rounds=rounds,
            next_prompt_index=next_index,
            num_passed_over=passed_over,
            kept_out=kept_out,
        )


def _plan(spec: ProRLJobSpec, step: int, weights_id: WeightsId) -> Callable[[Prompt], GroupPlan]:
    """Say how the prompts of a training step are sampled."""
    return lambda prompt: GroupPlan(
        request_id=f"{weights_id.attempt}.train.{step}.{prompt.index}",
        num_completions=spec.learner.group_size,
        sampling=Sampling(
            temperature=spec.rollout.temperature,
            top_p=spec.rollout.top_p,
            max_tokens=spec.rollout.max_completion_tokens,
            seed=sampling_seed(spec.seed, "train", prompt.index),
            stop=spec.rollout.stop,
        ),
        weights_id=weights_id,
    )


def _first_shown(groups: Sequence[RolloutGroup]) -> list[RolloutGroup]:
    """Return those that people are shown: where the judge failed before where all was alike."""
    return sorted(groups, key=lambda group: not group.summary.masked)[:_MAX_SHOWN]


def _failures(groups: Sequence[RolloutGroup]) -> set[str]:
    """Collect what the judge said where it failed."""
    return {one.detail for group in groups for one in group.rollouts if one.reward is None and one.detail}


def _raise_if_masked(sampled: Sequence[GroupSummary], failures: set[str], spec: ProRLJobSpec) -> None:
    rewards = [reward for group in sampled for reward in group.rewards]
    masked = sum(reward is None for reward in rewards)
    limit = spec.sandbox.max_masked_fraction
    if masked > limit * len(rewards):
        raise RewardError(
            f"the judge failed on {masked} of {len(rewards)} rollouts, more than spec.sandbox.maxMaskedFraction "
            f"{limit}: {'; '.join(sorted(failures)[:3])}. Look at the sandboxes' logs; training on the rest would be "
            "training on a biased sample"
        )
