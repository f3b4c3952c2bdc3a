"""The values that flow through the learner, from prompt to step result.

Symbols: P prompts of a batch, G rollouts of a group, T positions of a packed sequence, S those of the prefix
that it continues, L loss tokens of it.
Log-probabilities are natural logarithms under the tempered distribution and have one name each everywhere:
`rollout_logprobs` (the engine, at sampling), `old_logprobs` (the learner, before the first update on the batch),
`policy_logprobs` (now), `ref_logprobs` (the reference).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from prorl_api.spec.values import AnswerFormat, Domain
from prorl_api.wire.base import Float32Tuple, Int32Tuple, WeightsId
from prorl_api.wire.rollout import FinishReason
from prorl_api.wire.sandbox import Verdict

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One prompt with what its verifier needs."""

    index: int
    """Position in the stream of prompts (training) or in the held-out set (validation)."""
    source: str
    domain: Domain
    answer_format: AnswerFormat
    text: str
    """After the chat template, assistant prefix included."""
    token_ids: tuple[int, ...]
    row: dict[str, Any]
    """For the verifier; never sent to a rollout server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Tokens of one origin within a rollout."""

    source: Literal["model", "environment"]
    token_ids: Int32Tuple
    logprobs: Float32Tuple
    """`rollout_logprobs`; zeros for environment tokens."""
    weights_id: WeightsId | None
    """Of the weights that sampled it; None for environment tokens."""
    loss_mask: bool
    """Whether its tokens are trained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One completion with its judgement."""

    segments: tuple[Segment, ...]
    finish_reason: FinishReason
    text: str
    reward: float | None
    """The verifier's, in [0, 1]; None if the judge failed: masked, not zero."""
    verdict: Verdict
    detail: str = ""

    @property
    def num_tokens(self) -> int:
        """Completion tokens."""
        return sum(len(segment.token_ids) for segment in self.segments)

    @property
    def logprob(self) -> float:
        """Sum of its `rollout_logprobs`."""
        return sum(sum(segment.logprobs) for segment in self.segments)

    @property
    def is_truncated(self) -> bool:
        """Cut at the length limit."""
        return self.finish_reason is FinishReason.LENGTH


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutGroup:
    """All rollouts of one prompt."""

    prompt: Prompt
    rollouts: tuple[Rollout, ...]
    judge_seconds: float = 0.0

    @property
    def rewards(self) -> list[float | None]:
        """The verifier's rewards, in order."""
        return [rollout.reward for rollout in self.rollouts]

    @property
    def summary(self) -> GroupSummary:
        """Its numbers."""
        return GroupSummary(
            source=self.prompt.source,
            rewards=tuple(self.rewards),
            num_tokens=tuple(rollout.num_tokens for rollout in self.rollouts),
            num_truncated=sum(rollout.is_truncated for rollout in self.rollouts),
            num_prompt_tokens=len(self.prompt.token_ids),
            judge_seconds=self.judge_seconds,
            masked=tuple(rollout.verdict for rollout in self.rollouts if rollout.reward is None),
            surprisal=-sum(rollout.logprob for rollout in self.rollouts),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSummary:
    """What is kept of every sampled group: its numbers, without tokens and texts, which may be gigabytes."""

    source: str
    rewards: tuple[float | None, ...]
    num_tokens: tuple[int, ...]
    """Of each completion."""
    num_truncated: int
    num_prompt_tokens: int
    judge_seconds: float
    masked: tuple[Verdict, ...] = ()
    """Why the judge gave no reward, of each completion without one."""
    surprisal: float = 0.0
    """Sum of -`rollout_logprobs` over all tokens, in nats; environment tokens have none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredGroup:
    """A group whose advantages are fixed: from here on its rollouts may be spread over packs and ranks."""

    group: RolloutGroup
    advantages: tuple[float | None, ...]
    """One per rollout, the same for all its tokens; None: masked."""
    shaped_rewards: tuple[float | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """One packed sequence: prompts, each computed once and shared by its completions, one after another.

    A completion attends to its own prompt and itself; positions restart after what its group shares. Arrays of
    length L are aligned: loss token `l` is `targets[l]`, predicted from position `predict_from[l]`. Completions of a
    prompt that begin alike may have positions in common; each has its own loss tokens, the last without a position.

    Completions of one prompt that fill several packs may continue a prefix: a pack of all of the prompt's tokens but
    the last one and nothing else, computed right before them on the same rank. They attend to it as if it were in
    front of their own positions, which begin with the prompt's last token.
    """

    input_ids: IntArray  # [T]
    position_ids: IntArray  # [T]
    group_ids: IntArray  # [T], -1 for padding
    branch_ids: IntArray  # [T], 0: what a group's completions share; i > 0: the i-th way in which they go on
    predict_from: IntArray  # [L]
    targets: IntArray  # [L]
    rollout_logprobs: FloatArray  # [L]
    advantages: FloatArray  # [L]
    completion_ids: IntArray  # [L], which completion of the batch the token belongs to
    token_weights: FloatArray  # [L], the token's share in the loss; sums to 1 over an optimizer step
    num_continuations: int = 0
    """Of a prefix: how many of the packs after it continue it."""
    prefix_length: int = 0
    """S: positions of the prefix that it continues; 0: of none."""

    @property
    def seen(self) -> tuple[IntArray, IntArray, IntArray]:
        """Group, branch and position [S + T] of what its positions may attend to: of the prefix, then of its own."""
        before = np.arange(self.prefix_length)
        return (
            np.concatenate([np.zeros_like(before), self.group_ids]),
            np.concatenate([np.zeros_like(before), self.branch_ids]),
            np.concatenate([before, self.position_ids]),
        )

    @property
    def num_positions(self) -> int:
        """T."""
        return len(self.input_ids)

    @property
    def num_loss_tokens(self) -> int:
        """L."""
        return len(self.targets)


@dataclass(frozen=True, slots=True, kw_only=True)
class Minibatch:
    """What one optimizer step trains on: per rank the same number of packs."""

    packs_by_rank: tuple[tuple[Pack, ...], ...]
    num_groups: int

    def of_rank(self, rank: int) -> Minibatch:
        """Return the other ranks' packs left out."""
        kept = tuple(packs if number == rank else () for number, packs in enumerate(self.packs_by_rank))
        return replace(self, packs_by_rank=kept)

    @property
    def num_loss_tokens(self) -> int:
        """Over all ranks."""
        return sum(pack.num_loss_tokens for packs in self.packs_by_rank for pack in packs)

    @property
    def num_positions(self) -> int:
        """Over all ranks, padding included."""
        return sum(pack.num_positions for packs in self.packs_by_rank for pack in packs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One training step's data, cut into optimizer steps."""

    minibatches: tuple[Minibatch, ...]
    temperature: float

    def of_rank(self, rank: int) -> Batch:
        """Return what a rank needs of it: the other ranks' packs are left out."""
        return replace(self, minibatches=tuple(minibatch.of_rank(rank) for minibatch in self.minibatches))


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledStep:
    """What sampling produced for one step."""

    kept: tuple[RolloutGroup, ...]
    """Groups to train on, in the order of their prompts; none if no group had a signal."""
    sampled: tuple[GroupSummary, ...]
    """All groups, kept or not."""
    shown: tuple[RolloutGroup, ...] = ()
    """The first groups that were not kept, for people."""
    rounds: int
    next_prompt_index: int
    """First index of the prompt stream that was not used."""
    num_passed_over: int = 0
    """Indices of the prompt stream whose prompt was too long."""
    kept_out: Mapping[str, int] = field(default_factory=dict)
    """By source: rows, and generated items so far, left out of training because they are held out."""
    num_empty: int = 0
    """Samplings before the last one, none of which found a group with a signal."""

    def after(self, earlier: SampledStep) -> SampledStep:
        """Return this sampling together with those before it, which found nothing."""
        return replace(
            self,
            sampled=earlier.sampled + self.sampled,
            rounds=earlier.rounds + self.rounds,
            num_passed_over=earlier.num_passed_over + self.num_passed_over,
            num_empty=earlier.num_empty + 1,
        )


@dataclass(slots=True, kw_only=True)
class StepMetrics:
    """The snapshot of one step; keys are those of `prorl_api.metrics`."""

    values: dict[str, float] = field(default_factory=dict)

    def add(self, **values: float | None) -> None:
        """Set values; None is left out, since a value that does not exist is absent and not 0."""
        self.values |= {name: float(value) for name, value in values.items() if value is not None}

    def finite(self) -> dict[str, float]:
        """Return the values that JSON can hold."""
        return {name: value for name, value in self.values.items() if math.isfinite(value)}
