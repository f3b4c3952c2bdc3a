"""`spec.algorithm`: every ingredient of ProRL, each with its own switch.

Defaults follow ProRL v1 (arXiv 2505.24864) where the paper gives a number, else its successors: the KL coefficient
1e-4 and the k2 estimator are those of the public ProRL v2 scripts.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from prorl_api.spec.base import Cel, SpecModel, rule
from prorl_api.spec.values import AdvantageKind, KLEstimator, LengthPenalty, LossAggregation, MismatchCorrection


class Clip(SpecModel):
    """Decoupled clip of the probability ratio to [1 - low, 1 + high] (DAPO, arXiv 2503.14476)."""

    low: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Ratios below 1 - low are clipped (epsilon-low)."""
    high: Annotated[float, Field(gt=0, le=100)] = 0.4
    """Ratios above 1 + high are clipped (epsilon-high); larger than `low`, so that rare tokens can rise."""


class DynamicSampling(SpecModel):
    """Groups in which all rewards are equal carry no gradient: they are dropped and replaced."""

    enabled: bool = True
    """Off: groups without a signal stay in the batch and contribute nothing."""
    max_rounds: Annotated[int, Field(ge=1, le=1000)] = 8
    """Sampling rounds a step may take, the first included."""
    max_empty_samplings: Annotated[int, Field(ge=1, le=1000)] = 5
    """So many times in a row a step may find no group with a signal in all its rounds; each time it goes on with the
    next prompts. After that the run ends: as mastered if all groups were right, else as failed."""


class KL(SpecModel):
    """KL divergence from policy to reference, as a term of the loss."""

    coefficient: Annotated[float, Field(ge=0, le=100)] = 1e-4
    """Weight in the loss; 0: no term, the KL is still measured."""
    estimator: KLEstimator = KLEstimator.K2
    log_ratio_clamp: Annotated[float, Field(gt=0, le=100)] = 10.0
    """log(policy / reference) is clamped to plus or minus this before the estimator."""


class EngineMismatch(SpecModel):
    """What is done where rollout engine and learner disagree about a token's probability."""

    correction: MismatchCorrection = MismatchCorrection.TIS
    cap: Annotated[float, Field(ge=1, le=1000)] = 2.0
    """tis: largest weight. icepop: largest ratio that is trained."""
    floor: Annotated[float, Field(ge=0, le=1)] | None = None
    """icepop only: smallest ratio that is trained; unset: 0.5."""

    @rule(
        Cel(
            "!has(self.floor) || self.correction == 'icepop'",
            "`floor` has no effect with `correction: {self.correction}`; remove it or use `icepop`",
        ),
    )
    def floor_belongs_to_icepop(self) -> None:
        """TIS only cuts from above."""
        if self.floor is not None and self.correction is not MismatchCorrection.ICEPOP:
            raise ValueError(f"`floor` has no effect with `correction: {self.correction}`; remove it or use `icepop`")


class Length(SpecModel):
    """Reward shaping by length. The verifier's reward decides dynamic sampling; shaping comes after."""

    penalty: LengthPenalty = LengthPenalty.NONE
    buffer_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """overlong: the penalty grows linearly over the last so many tokens before the limit (DAPO eq. 13)."""
    weight: Annotated[float, Field(gt=0, le=10)] | None = None
    """overlong: largest penalty, default 1. cosine: the term's weight, default 1."""
    eta_min: Annotated[float, Field(ge=-10, le=10)] | None = None
    """cosine: value at the length limit, default 0."""
    eta_max: Annotated[float, Field(ge=-10, le=10)] | None = None
    """cosine: value at length 0, default 1."""
    on_steps: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """cosine: steps of the cycle with the term (ProRL v2: 100); unset: always on."""
    off_steps: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """cosine: steps of the cycle without it (ProRL v2: 500)."""
    stop_properly: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Factor on the reward of a truncated completion; 1: none, 0: truncated completions earn nothing."""

    @rule(
        Cel(
            "self.penalty == 'overlong' || !has(self.bufferTokens)",
            "`bufferTokens` would have no effect with `penalty: {self.penalty}`; remove it",
        ),
        Cel(
            "self.penalty != 'none' || !has(self.weight)",
            "`weight` would have no effect with `penalty: none`; remove it",
        ),
        Cel(
            "self.penalty == 'cosine' || "
            "!(has(self.etaMin) || has(self.etaMax) || has(self.onSteps) || has(self.offSteps))",
            "`etaMin`, `etaMax`, `onSteps` and `offSteps` would have no effect with `penalty: {self.penalty}`; "
            "remove them",
        ),
        Cel(
            "self.penalty != 'overlong' || has(self.bufferTokens)",
            "`penalty: overlong` needs `bufferTokens`",
        ),
        Cel(
            "has(self.onSteps) == has(self.offSteps)",
            "`onSteps` and `offSteps` make the cycle together; set both or neither",
        ),
    )
    def settings_fit_the_penalty(self) -> None:
        """A number that the chosen penalty does not read would be silently off."""
        reads = {
            LengthPenalty.NONE: set[str](),
            LengthPenalty.OVERLONG: {"buffer_tokens", "weight"},
            LengthPenalty.COSINE: {"weight", "eta_min", "eta_max", "on_steps", "off_steps"},
        }[self.penalty]
        names = ("buffer_tokens", "weight", "eta_min", "eta_max", "on_steps", "off_steps")
        unread = [name for name in names if getattr(self, name) is not None and name not in reads]
        if unread:
            aliases = ", ".join(f"`{type(self).model_fields[name].alias}`" for name in unread)
            raise ValueError(f"{aliases} would have no effect with `penalty: {self.penalty}`; remove it")
        if self.penalty is LengthPenalty.OVERLONG and self.buffer_tokens is None:
            raise ValueError("`penalty: overlong` needs `bufferTokens`")
        if (self.on_steps is None) != (self.off_steps is None):
            raise ValueError("`onSteps` and `offSteps` make the cycle together; set both or neither")


class AlgorithmSpec(SpecModel):
    """GRPO with DAPO's refinements and a KL term."""

    advantage: AdvantageKind = AdvantageKind.GRPO
    clip: Clip = Clip()
    loss_aggregation: LossAggregation = LossAggregation.TOKEN_MEAN
    dynamic_sampling: DynamicSampling = DynamicSampling()
    kl: KL = KL()
    engine_mismatch: EngineMismatch = EngineMismatch()
    length: Length = Length()
