"""Whether rollout engine and learner compute the same model: the probe sent with weights, and the check of a batch.

Two programs with one set of weights may still differ: by a family's detail that one of them leaves out, by kernels
that read weights in another layout than they were put in, by another configuration. The policy gradient would then be
of another policy than the one that sampled. Rounding alone explains far less than `maxLogprobDistance`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from prorl_api.errors import EngineMismatchError, NonFiniteError
from prorl_api.spec.algorithm import AlgorithmSpec
from prorl_api.spec.values import AnswerFormat, Domain, LossAggregation
from prorl_api.wire.rollout import FinishReason, WeightsProbe
from prorl_api.wire.sandbox import Verdict
from prorl_trainer.algorithm.packing import build_batch
from prorl_trainer.algorithm.types import Batch, Prompt, Rollout, RolloutGroup, ScoredGroup, Segment, StepMetrics
from prorl_trainer.engines.ranks import RankedEngine

PROBE_TOKENS = 64
"""A forward pass of so many is short beside an optimizer step, and their mean is steady."""

CAUSES = (
    "Look at: another model folder or configuration at the rollout servers; spec.rollout.dtype and "
    "spec.learner.precision; a model family that vLLM's version computes differently (docs/models.md); an edited "
    "temperature. spec.algorithm.engineMismatch.maxLogprobDistance is the bound"
)


def probe_tokens(prompts: Iterable[tuple[int, ...]], longest: int) -> tuple[int, ...]:
    """Give the first tokens of some prompts, one after another, as one sequence to compare engines with.

    Args:
        prompts: Token ids, of what the model is trained or validated on. Fewer than two tokens in all give (0, 0).
        longest: Tokens that a rollout server can take, prompt and completion together.
    """
    tokens: list[int] = []
    limit = min(PROBE_TOKENS, longest - 1)
    for prompt in prompts:
        if len(tokens) >= limit:
            break
        tokens += prompt
    return tuple(tokens[:limit]) if len(tokens) > 1 else (0, 0)


def make_probe(engine: RankedEngine, token_ids: tuple[int, ...], algorithm: AlgorithmSpec, step: int) -> WeightsProbe:
    """Compute what a rollout server must make of some tokens with the policy's weights.

    Raises:
        NonFiniteError: The policy's log-probabilities are no numbers.
    """
    logprobs = engine.logprobs(_as_batch(token_ids))
    if not all(map(math.isfinite, logprobs)):
        raise NonFiniteError("the policy's log-probabilities are not finite: its weights are spoilt", step=step)
    bound = algorithm.engine_mismatch.max_logprob_distance
    return WeightsProbe(token_ids=list(token_ids), logprobs=logprobs, max_distance=bound)


def raise_if_mismatched(metrics: StepMetrics, algorithm: AlgorithmSpec, step: int) -> None:
    """Judge a batch by the mean distance between what the engine sampled with and what the learner computes.

    Raises:
        EngineMismatchError: It is beyond the bound.
    """
    distance, bound = metrics.values.get("mismatch_logprob", 0.0), algorithm.engine_mismatch.max_logprob_distance
    if not distance <= bound:  # what is no number is beyond it too
        raise EngineMismatchError(
            f"step {step}: engine mismatch: the rollout engine's log-probabilities of the sampled tokens differ from "
            f"the learner's by {distance:.3g} nats on average, at most {bound:g} are allowed; the step is not kept. "
            f"{CAUSES}"
        )


def _as_batch(token_ids: tuple[int, ...]) -> Batch:
    """Make one pack of one sequence, whose every token but the first is a loss token."""
    first, *rest = token_ids
    prompt = Prompt(
        index=0,
        source="probe",
        domain=Domain.LOGIC,
        answer_format=AnswerFormat.TEXT,
        text="",
        token_ids=(first,),
        row={},
    )
    logprobs = (0.0,) * len(rest)
    segment = Segment(source="model", token_ids=tuple(rest), logprobs=logprobs, weights_id=None, loss_mask=True)
    rollout = Rollout(
        segments=(segment,), finish_reason=FinishReason.LENGTH, text="", reward=0.0, verdict=Verdict.WRONG
    )
    group = RolloutGroup(prompt=prompt, rollouts=(rollout,))
    return build_batch(
        [ScoredGroup(group=group, advantages=(0.0,), shaped_rewards=(0.0,))],
        minibatch_prompts=1,
        microbatch_tokens=len(token_ids),
        num_ranks=1,
        aggregation=LossAggregation.TOKEN_MEAN,
        temperature=1.0,
    )
