"""From prompts to the groups of one step: rollouts, rewards, dynamic sampling with refill.

Rounds are bounded. In each round as many new prompts are sampled as groups are still missing; groups are scored while
others are still being generated; every group goes to the journal before it counts. Which prompts a step uses
depends on the rewards alone, not on the order in which answers arrive.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from prorl_api.errors import NoSignalError, RewardError
from prorl_api.spec.job import ProRLJobSpec
from prorl_api.wire.base import WeightsId
from prorl_api.wire.rollout import CompletionEvent, GenerateRequest, Sampling
from prorl_api.wire.sandbox import ScoreItem
from prorl_trainer.algorithm.dynamic_sampling import has_signal, is_scored
from prorl_trainer.algorithm.length_shaping import earned_rewards
from prorl_trainer.algorithm.types import Prompt, Rollout, RolloutGroup, SampledStep, Segment
from prorl_trainer.data.prompts import source_weights
from prorl_trainer.service.reward_client import RewardClient
from prorl_trainer.service.rollout_client import RolloutClient
from prorl_trainer.service.shared_status import SharedStatus
from prorl_trainer.storage.journal import Journal

Journalled = dict[tuple[int, str], Any]
"""Lines of the journal by prompt index and what they were made with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPlan:
    """How one prompt is to be sampled."""

    request_id: str
    num_completions: int
    temperature: float
    top_p: float
    max_tokens: int
    seed: int
    weights_id: WeightsId | None


def sampling_seed(*parts: object) -> int:
    """A seed in [0, 2^62) that depends on its parts alone."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 2


def made_with(prompt: Prompt, plan: GroupPlan) -> str:
    """Digest of everything that a group depends on but the weights."""
    settings = (plan.num_completions, plan.temperature, plan.top_p, plan.max_tokens, plan.seed)
    return hashlib.sha256(repr((prompt.source, prompt.token_ids, settings)).encode()).hexdigest()


class Sampler:
    """Turns prompts into scored groups. Its coroutines run on the event loop."""

    def __init__(
        self,
        rollouts: RolloutClient,
        rewards: RewardClient,
        decode: Callable[[Sequence[int]], str],
        shared_status: SharedStatus,
    ) -> None:
        """With the clients; `decode` turns completion tokens into the text that is judged."""
        self._rollouts = rollouts
        self._rewards = rewards
        self._decode = decode
        self._shared_status = shared_status

    async def group(self, prompt: Prompt, plan: GroupPlan, spec: ProRLJobSpec) -> RolloutGroup:
        """Sample and score one group."""
        request = GenerateRequest(
            request_id=plan.request_id,
            prompt_token_ids=list(prompt.token_ids),
            num_completions=plan.num_completions,
            sampling=Sampling(
                temperature=plan.temperature,
                top_p=plan.top_p,
                max_tokens=plan.max_tokens,
                seed=plan.seed,
                stop=spec.rollout.stop,
            ),
            weights_id=plan.weights_id,
        )
        events = await self._rollouts.generate(request, spec.rollout.generation_timeout_seconds)
        texts = [self._decode([token for segment in event.segments for token in segment.token_ids]) for event in events]
        items = [
            ScoreItem(
                item_id=f"{plan.request_id}/{index}",
                domain=prompt.domain,
                answer_format=prompt.answer_format,
                row=prompt.row,
                completion=text,
            )
            for index, text in enumerate(texts)
        ]
        results = await self._rewards.score(items, spec.sandbox.score_timeout_seconds)
        masked = self._shared_status.status.masked_rollouts + sum(result.reward is None for result in results)
        self._shared_status.update(masked_rollouts=masked)
        rollouts = tuple(
            Rollout(
                segments=_segments(event),
                finish_reason=event.finish_reason,
                text=text,
                reward=result.reward,
                verdict=result.verdict,
                detail=result.detail,
            )
            for event, text, result in zip(events, texts, results, strict=True)
        )
        return RolloutGroup(
            prompt=prompt, rollouts=rollouts, judge_seconds=sum(result.judge_seconds for result in results)
        )


class StepSampler:
    """Dynamic sampling for training steps."""

    def __init__(
        self,
        sampler: Sampler,
        prompt: Callable[[int, dict[str, float]], Prompt],
        journal: Journal,
        shared_status: SharedStatus,
    ) -> None:
        """`prompt` gives the prompt of an index and the sources' weights."""
        self._sampler = sampler
        self._prompt = prompt
        self._journal = journal
        self._shared_status = shared_status

    async def sample(self, spec: ProRLJobSpec, step: int, first_index: int, weights_id: WeightsId) -> SampledStep:
        """The groups of training step `step` (counted from 1).

        Raises:
            NoSignalError: Not one group had a signal in the allowed rounds.
            RewardError: The judge failed on more rollouts than the manifest allows.
        """
        wanted = spec.learner.prompts_per_step
        settings = spec.algorithm.dynamic_sampling
        journalled = self._journal.groups(step)
        kept: list[RolloutGroup] = []
        sampled: list[RolloutGroup] = []
        next_index = first_index
        rounds = 0
        while len(kept) < wanted and rounds < settings.max_rounds:
            rounds += 1
            count = wanted - len(kept)
            prompts = [self._prompt(next_index + offset, source_weights(spec)) for offset in range(count)]
            next_index += count
            self._shared_status.beat(f"round {rounds}: {len(kept)} of {wanted} groups")
            groups = await self._round(prompts, spec, step, weights_id, journalled)
            sampled += groups
            keep = has_signal if settings.enabled else is_scored
            kept += [group for group in groups if keep(earned_rewards(spec.algorithm.length, group))]
        try:
            _raise_if_masked(sampled, spec)
            if not kept:
                raise NoSignalError(_no_signal(sampled, rounds, spec))
        except (RewardError, NoSignalError):
            self._journal.drop(step)
            raise
        return SampledStep(kept=tuple(kept), sampled=tuple(sampled), rounds=rounds, next_prompt_index=next_index)

    async def _round(
        self, prompts: list[Prompt], spec: ProRLJobSpec, step: int, weights_id: WeightsId, journalled: Journalled
    ) -> list[RolloutGroup]:
        async def one(prompt: Prompt) -> RolloutGroup:
            plan = GroupPlan(
                request_id=f"{weights_id.attempt}.train.{step}.{prompt.index}",
                num_completions=spec.learner.group_size,
                temperature=spec.rollout.temperature,
                top_p=spec.rollout.top_p,
                max_tokens=spec.rollout.max_completion_tokens,
                seed=sampling_seed(spec.seed, "train", prompt.index),
                weights_id=weights_id,
            )
            digest = made_with(prompt, plan)
            line = journalled.get((prompt.index, digest))
            if line is not None:
                return self._journal.restore(line, prompt)
            group = await self._sampler.group(prompt, plan, spec)
            self._journal.append(step, group, digest)
            return group

        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(one(prompt)) for prompt in prompts]
        return [task.result() for task in running]


def _segments(event: CompletionEvent) -> tuple[Segment, ...]:
    return tuple(
        Segment(
            source="model",
            token_ids=tuple(part.token_ids),
            logprobs=tuple(part.logprobs),
            weights_id=part.weights_id,
            loss_mask=True,
        )
        for part in event.segments
    )


def _raise_if_masked(sampled: list[RolloutGroup], spec: ProRLJobSpec) -> None:
    rewards = [reward for group in sampled for reward in group.rewards]
    masked = sum(reward is None for reward in rewards)
    limit = spec.sandbox.max_masked_fraction
    if masked > limit * len(rewards):
        details = {r.detail for group in sampled for r in group.rollouts if r.reward is None and r.detail}
        raise RewardError(
            f"the judge failed on {masked} of {len(rewards)} rollouts, more than spec.sandbox.maxMaskedFraction "
            f"{limit}: {'; '.join(sorted(details)[:3])}. Look at the sandboxes' logs; training on the rest would be "
            "training on a biased sample"
        )


def _no_signal(sampled: list[RolloutGroup], rounds: int, spec: ProRLJobSpec) -> str:
    rewards = [reward for group in sampled for reward in group.rewards if reward is not None]
    mean = sum(rewards) / len(rewards) if rewards else 0.0
    lean = "always fails" if mean < 0.5 else "always succeeds"
    texts = [group.rollouts[0].text for group in sampled[:2]]
    return (
        f"nothing to learn from: all {len(sampled)} groups of {rounds} rounds had equal rewards within the group "
        f"(mean reward {mean:.3f}), so the model {lean}. Choose an easier or harder task, raise "
        f"spec.learner.groupSize (now {spec.learner.group_size}) or spec.rollout.temperature (now "
        f"{spec.rollout.temperature}), or check `answerFormat`: completions begin {texts!r}"
    )
