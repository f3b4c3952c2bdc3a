"""Builders for the learner's tests: specs, prompts, groups with what a test does not care about filled in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prorl_api.manifest import validate_job
from prorl_api.run_folder import RunFolder
from prorl_api.spec.job import ProRLJobSpec
from prorl_api.spec.values import AnswerFormat, Domain
from prorl_api.wire.base import WeightsId
from prorl_api.wire.rollout import FinishReason
from prorl_api.wire.sandbox import Verdict
from prorl_trainer.algorithm.types import Prompt, Rollout, RolloutGroup, ScoredGroup, Segment
from prorl_trainer.service.shared_status import SharedStatus
from prorl_trainer.storage.checkpoints import LearnerState, LineageEntry
from prorl_trainer.storage.fence import Fence
from prorl_trainer.storage.lines import LineFile

WEIGHTS = WeightsId(attempt=1, step=0, digest="a" * 64)


def make_spec(**sections: Any) -> ProRLJobSpec:
    """A small valid spec; keyword arguments are its sections, camelCase, merged one level deep."""
    document: dict[str, Any] = {
        "seed": 3,
        "model": {"path": "./model"},
        "data": {"sources": [{"name": "sums", "domain": "logic", "reasoningGym": {"tasks": [{"name": "chain_sum"}]}}]},
        "rollout": {"maxPromptTokens": 64, "maxCompletionTokens": 16, "temperature": 1.0},
        "learner": {
            "engine": "plain",
            "precision": "float32",
            "promptsPerStep": 2,
            "groupSize": 2,
            "minibatchPrompts": 2,
            "microbatchTokens": 128,
        },
        "schedule": {"totalSteps": 10},
    }
    for section, values in sections.items():
        merge = isinstance(values, dict) and isinstance(document.get(section), dict)
        document[section] = {**document[section], **values} if merge else values
    job = {"apiVersion": "prorl.dev/v1alpha1", "kind": "ProRLJob", "metadata": {"name": "demo"}, "spec": document}
    return validate_job(job).spec


def make_prompt(index: int = 0, *, token_ids: Sequence[int] = (1, 2, 3), source: str = "sums") -> Prompt:
    return Prompt(
        index=index,
        source=source,
        domain=Domain.LOGIC,
        answer_format=AnswerFormat.TEXT,
        text=f"prompt {index}",
        token_ids=tuple(token_ids),
        row={"answer": str(index)},
    )


def make_segment(token_ids: Sequence[int], *, logprobs: Sequence[float] | None = None, trained: bool = True) -> Segment:
    """Tokens of the model, or of the environment if they are not trained."""
    return Segment(
        source="model" if trained else "environment",
        token_ids=tuple(token_ids),
        logprobs=tuple(logprobs) if logprobs is not None else (-0.5,) * len(token_ids),
        weights_id=WEIGHTS if trained else None,
        loss_mask=trained,
    )


def make_rollout(
    *segments: Segment, tokens: int = 2, reward: float | None = 1.0, truncated: bool = False, text: str = "text"
) -> Rollout:
    """A rollout of given segments, or of so many arbitrary tokens."""
    return Rollout(
        segments=segments or (make_segment(range(10, 10 + tokens)),),
        finish_reason=FinishReason.LENGTH if truncated else FinishReason.STOP,
        text=text,
        reward=reward,
        verdict=Verdict.SANDBOX_ERROR if reward is None else Verdict.CORRECT if reward >= 0.99 else Verdict.WRONG,
        detail="the judge broke" if reward is None else "",
    )


def make_group(
    rewards: Sequence[float | None] = (1.0, 0.0),
    *,
    index: int = 0,
    source: str = "sums",
    prompt_ids: Sequence[int] = (1, 2, 3),
    lengths: Sequence[int] | None = None,
) -> RolloutGroup:
    """A group with these rewards; completions of two tokens unless lengths are given, all different."""
    sizes = lengths or [2] * len(rewards)
    rollouts = (
        make_rollout(make_segment(range(10 + number, 10 + number + size)), reward=reward)
        for number, (size, reward) in enumerate(zip(sizes, rewards, strict=True))
    )
    return RolloutGroup(
        prompt=make_prompt(index, token_ids=prompt_ids, source=source),
        rollouts=tuple(rollouts),
        judge_seconds=0.25,
    )


def make_scored(group: RolloutGroup, advantages: Sequence[float | None]) -> ScoredGroup:
    return ScoredGroup(group=group, advantages=tuple(advantages), shaped_rewards=tuple(group.rewards))


def make_state(**fields: Any) -> LearnerState:
    """The state of a run at step 4 of attempt 1."""
    values: dict[str, Any] = {
        "step": 4,
        "attempt": 1,
        "seed": 3,
        "next_prompt_index": 8,
        "optimizer_steps_since_clear": 4,
        "stage": "",
        "reference_digest": "b" * 64,
        "lineage": (LineageEntry(digest="b" * 64, since_step=0, trigger="base model"),),
        "spec_revision": "c" * 64,
        "engine": "plain",
        "precision": "float32",
        "num_ranks": 1,
    }
    return LearnerState(**(values | fields))


def begin_attempt(folder: Path, number: int = 1) -> Fence:
    """The fence of an attempt that has just begun."""
    fence = Fence(RunFolder(folder), number)
    fence.enter()
    return fence


def make_shared_status(attempt: int = 1, total_steps: int = 10) -> SharedStatus:
    """Of a run that has recorded nothing yet."""
    return SharedStatus(attempt, total_steps, LineFile(Path("no-metrics.jsonl")))
