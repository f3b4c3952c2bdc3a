"""The learner's proof that it reads the model as the model reads itself.

At every start a few sequences are run packed, prompts shared, and once more each for itself through the model's own
forward pass; then once more as continuations of prefixes. That a mask, a rotary embedding, a scale or a cap of the
model is not what we think it is shows here as log-probabilities that differ, before anything is trained on them.
Sliding windows are narrowed for it, so that they bind within a few positions. Runs on the whole model, before an engine
shards it; a second for a small model on a CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from prorl_api.errors import Fault, SpecError
from prorl_api.spec.values import AnswerFormat, Domain, LossAggregation
from prorl_api.wire.rollout import FinishReason
from prorl_api.wire.sandbox import Verdict
from prorl_trainer.algorithm.packing import build_batch
from prorl_trainer.algorithm.types import Prompt, Rollout, RolloutGroup, ScoredGroup, Segment
from prorl_trainer.engines.families import mask_plan
from prorl_trainer.engines.masks import MaskPlan, as_inputs
from prorl_trainer.engines.packed_policy import PackedPolicy
from prorl_trainer.engines.prefix import links

_TEMPERATURE = 0.8
_WINDOW = 8
_PROMPTS = (5, 11)
_COMPLETIONS = (9, 2, 13)
"""Tokens of the prompts, and of the completions of each."""
_NUM_COMPARED = len(_PROMPTS) * sum(_COMPLETIONS)

_WANT = "an architecture that can be trained packed; docs/models.md lists them"
_UNFIT = (TypeError, ValueError, RuntimeError, IndexError, KeyError, AttributeError, NotImplementedError)
"""What a model raises that is asked in a way it does not know."""

BOUNDS = {torch.float32: 1e-3, torch.bfloat16: 0.25}
"""Largest mean difference in nats that is rounding. SmolLM2-135M has shown 1e-5 and 0.07; the faults that it is
for, 0.2 to 5 (docs/models.md)."""


def prove_packing(policy: PackedPolicy, model_path: str, *, is_continued: bool = False) -> float:
    """Compare packed with plain log-probabilities. Returns their mean difference in nats.

    Args:
        policy: The whole model.
        model_path: For the message.
        is_continued: Whether packs continue a prefix; else all sequences are in one.

    Raises:
        SpecError: It is more than rounding: the model would be trained on wrong probabilities.
    """
    dtype = next(policy.parameters()).dtype
    name = f"{model_path} ({type(policy.model).__name__})"
    try:
        differences = _differences(policy, is_continued)
    except torch.OutOfMemoryError:
        raise  # not the architecture's fault
    except _UNFIT as error:
        fault = Fault(path="spec.model.path", got=f"{name}: a packed pass fails ({error!r})", want=_WANT)
        raise SpecError([fault], source="the model") from error
    mean, bound = float(differences.mean()), BOUNDS[dtype]
    if not mean <= bound:  # also if it is no number
        got = (
            f"{name}: packed log-probabilities differ from the model's own by {mean:.3g} nats in the mean, "
            f"{float(differences.max()):.3g} at most"
        )
        fault = Fault(path="spec.model.path", got=got, want=f"at most {bound:g} in the mean: {_WANT}")
        raise SpecError([fault], source="the model")
    return mean


@torch.no_grad()
def _differences(policy: PackedPolicy, is_continued: bool) -> Any:
    """|packed - plain| of each compared token, in nats."""
    weight = policy.model.get_input_embeddings().weight
    groups, sequences = _sequences(len(weight))
    with _narrow_windows(policy) as plan:
        packed = _packed(policy, groups, plan, weight.device, is_continued)
        plain = [_plain(policy, prompt, completion, weight.device) for prompt, completion in sequences]
    return np.abs(packed - np.concatenate(plain))


def _packed(
    policy: PackedPolicy, groups: list[ScoredGroup], plan: MaskPlan, device: torch.device, is_continued: bool
) -> Any:
    """Log-probabilities of the completions in order, all in one pack or as continuations of prefixes."""
    batch = build_batch(
        groups,
        minibatch_prompts=len(groups),
        microbatch_tokens=max(_PROMPTS) + max(_COMPLETIONS) if is_continued else sum(_PROMPTS) + _NUM_COMPARED,
        num_ranks=1,
        aggregation=LossAggregation.TOKEN_MEAN,
        temperature=_TEMPERATURE,
        continue_prefixes=is_continued,
    )
    packs = batch.minibatches[0].packs_by_rank[0]
    logprobs = [
        policy(**as_inputs(pack, plan, device), temperature=_TEMPERATURE, keys_of_layer=link.keys_of_layer).logprobs
        for pack, link in zip(packs, links(packs), strict=True)
    ]
    in_order = np.argsort(np.concatenate([pack.completion_ids for pack in packs]), kind="stable")
    return torch.cat(logprobs).cpu().numpy()[in_order]


def _sequences(vocabulary: int) -> tuple[list[ScoredGroup], list[tuple[tuple[int, ...], tuple[int, ...]]]]:
    """Make groups of random tokens, and their (prompt, completion) pairs in order."""
    dice = np.random.default_rng(1)

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(dice.integers(vocabulary, size=count).tolist())

    groups, pairs = [], []
    for number, length in enumerate(_PROMPTS):
        prompt, completions = tokens(length), [tokens(count) for count in _COMPLETIONS]
        groups.append(_group(number, prompt, completions))
        pairs += [(prompt, completion) for completion in completions]
    return groups, pairs


def _group(index: int, prompt: tuple[int, ...], completions: list[tuple[int, ...]]) -> ScoredGroup:
    rollouts = tuple(
        Rollout(
            segments=(
                Segment(source="model", token_ids=ids, logprobs=(0.0,) * len(ids), weights_id=None, loss_mask=True),
            ),
            finish_reason=FinishReason.STOP,
            text="",
            reward=0.0,
            verdict=Verdict.WRONG,
        )
        for ids in completions
    )
    question = Prompt(
        index=index, source="proof", domain=Domain.MATH, answer_format=AnswerFormat.TEXT, text="",
        token_ids=prompt, row={},
    )  # fmt: skip
    nothing = (0.0,) * len(rollouts)
    group = RolloutGroup(prompt=question, rollouts=rollouts)
    return ScoredGroup(group=group, advantages=nothing, shaped_rewards=nothing)


def _plain(policy: PackedPolicy, prompt: tuple[int, ...], completion: tuple[int, ...], device: torch.device) -> Any:
    logprobs = policy.plain_logprobs(torch.tensor(prompt + completion, device=device), _TEMPERATURE)
    return logprobs[len(prompt) - 1 :].cpu().numpy()


@contextmanager
def _narrow_windows(policy: PackedPolicy) -> Iterator[MaskPlan]:
    """Both passes read the window from the configuration when they run."""
    plan, config = replace(policy.family.masks, call_cost=0), policy.model.config.get_text_config(decoder=True)
    if plan.window is None or plan.window <= _WINDOW:
        yield plan
        return
    config.sliding_window = _WINDOW
    try:
        yield replace(plan, window=mask_plan(config, plan.additive_dtype).window)
    finally:
        config.sliding_window = plan.window
