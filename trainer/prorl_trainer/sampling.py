"""From prompts to scored groups, each journalled before it counts. Groups are scored while others are generated."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from prorl_api.spec.job import ProRLJobSpec
from prorl_api.spec.values import Domain
from prorl_api.wire.base import WeightsId
from prorl_api.wire.learner import MAX_REASON
from prorl_api.wire.rollout import CompletionEvent, GenerateRequest, Sampling
from prorl_api.wire.sandbox import ScoreItem, ScoreResult
from prorl_trainer.algorithm.types import Prompt, Rollout, RolloutGroup, Segment
from prorl_trainer.service.reward_client import RewardClient
from prorl_trainer.service.rollout_client import RolloutClient
from prorl_trainer.service.shared_status import SharedStatus
from prorl_trainer.storage.journal import Journal, Purpose


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPlan:
    """How one prompt is to be sampled."""

    request_id: str
    num_completions: int
    sampling: Sampling
    weights_id: WeightsId


def sampling_seed(*parts: object) -> int:
    """Return a seed in [0, 2^62) that depends on its parts alone."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 2


def made_with(prompt: Prompt, plan: GroupPlan, spec: ProRLJobSpec) -> str:
    """Return a digest of everything that a group depends on but the weights: its sampling, and its judge's settings."""
    libraries = spec.sandbox.libraries if prompt.domain is Domain.CODE else ()
    settings = (plan.num_completions, plan.sampling.model_dump_json(), libraries)
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
        """Take the clients; `decode` turns completion tokens into the text that is judged."""
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
            sampling=plan.sampling,
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
                reward=prompt.source if prompt.domain is Domain.CUSTOM else "",
            )
            for index, text in enumerate(texts)
        ]
        results = await self._rewards.score(items, spec.sandbox.score_timeout_seconds)
        self._count_masked(results)
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

    def _count_masked(self, results: Sequence[ScoreResult]) -> None:
        reasons = [result.detail for result in results if result.reward is None]
        if reasons:
            masked = self._shared_status.status.masked_rollouts + len(reasons)
            self._shared_status.update(masked_rollouts=masked, masked_reason=reasons[-1][:MAX_REASON])


class JournalledSampler:
    """Samples the groups of one step for one purpose; what the journal has already is not sampled again.

    A training group is taken from the journal whatever weights made it: it was made by those that the step had then.
    A validation judges weights, so its groups count for the same weights only, and those with samples that the judge
    failed on are not journalled: judged again, they may succeed.
    """

    def __init__(self, sampler: Sampler, journal: Journal, step: int, purpose: Purpose) -> None:
        """Read what the journal has of the step."""
        self._sampler = sampler
        self._journal = journal
        self._step = step
        self._purpose = purpose
        self._known = journal.groups(step, purpose)

    async def groups(
        self, prompts: Iterable[Prompt], plan: Callable[[Prompt], GroupPlan], spec: ProRLJobSpec
    ) -> list[RolloutGroup]:
        """Return the groups of prompts, in their order; each is in the journal before it counts."""
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(self._group(prompt, plan(prompt), spec)) for prompt in prompts]
        return [task.result() for task in running]

    async def _group(self, prompt: Prompt, plan: GroupPlan, spec: ProRLJobSpec) -> RolloutGroup:
        is_validation = self._purpose is Purpose.VALIDATION
        digest = made_with(prompt, plan, spec)
        if is_validation:
            digest = f"{digest}/{plan.weights_id.digest}"
        line = self._known.get((prompt.index, digest))
        if line is not None:
            return self._journal.restore(line, prompt)
        group = await self._sampler.group(prompt, plan, spec)
        if not (is_validation and None in group.rewards):
            self._journal.append(self._step, group, digest, self._purpose)
        return group


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
