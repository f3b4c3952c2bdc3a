"""`spec.algorithm`: every ingredient of ProRL, each with its own switch.

Defaults follow ProRL v1 (arXiv 2505.24864) where the paper gives a number, else its successors: the KL coefficient
1e-4 and the k2 estimator are those of the public ProRL v2 scripts.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from prorl_api.spec.base import Cel, SpecModel, rule
from prorl_api.spec.values import (
    AdvantageKind,
    AdvantageScale,
    KLEstimator,
    LengthPenalty,
    LossAggregation,
    MismatchCorrection,
)


class Clip(SpecModel):
    """Decoupled clip of the probability ratio to [1 - low, 1 + high] (DAPO, arXiv 2503.14476)."""

    low: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Ratios below 1 - low are clipped (epsilon-low)."""
    high: Annotated[float, Field(gt=0, le=100)] = 0.4
    """Ratios above 1 + high are clipped (epsilon-high); at least `low`, so that rare tokens can rise."""
    dual: Annotated[float, Field(gt=1, le=1_000_000)] = 3.0
    """Ratios above this are clipped where the advantage is negative (dual clip, arXiv 1912.09729 eq. 5; 3 as in verl,
    which ProRL trained with); 1000000: hardly ever."""

    @rule(
        Cel(
            "self.high >= self.low",
            "`high` {self.high} must be at least `low` {self.low}: rare tokens are to rise by more than they may fall; "
            "have the two been exchanged?",
        ),
    )
    def high_is_not_below_low(self) -> None:
        """The decoupled clip gives more room above than below (DAPO, section 3.1)."""
        if self.high < self.low:
            raise ValueError(
                f"`high` {self.high} must be at least `low` {self.low}: rare tokens are to rise by more than they may "
                "fall; have the two been exchanged?"
            )


class DynamicSampling(SpecModel):
    """Groups in which all completions have earned the same carry no gradient: they are dropped and replaced. Earned is
    the verifier's reward, times `length.stopProperly` where the completion was cut; `length.penalty` does not count."""

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
    """Weight in the loss; 0: no term, and the KL is measured only if a trigger of `referenceReset` watches it."""
    estimator: KLEstimator = KLEstimator.K2
    log_ratio_clamp: Annotated[float, Field(gt=0, le=100)] = 10.0
    """log(policy / reference) is clamped to plus or minus this before the estimator."""
    correct_stale: bool = False
    """Weight the term by policy / old: in later optimizer steps of a batch the tokens were sampled by an older policy,
    and without the weight the expected gradient is that of a slightly different divergence."""
    reference_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    """After each training step, reference := decay x reference + (1 - decay) x policy: an exponential moving average
    that lags about decay / (1 - decay) steps behind the policy (TR-DPO's soft update, arXiv 2404.09656, at every step).
    Needs `learner.precision: float32`. Unset: the reference stays until a reset."""

    @property
    def in_words(self) -> str:
        """The term, as reports show it."""
        average = "" if self.reference_decay is None else f", to an average that keeps {self.reference_decay:g} a step"
        return f"{self.coefficient:g}, estimator {self.estimator}{average}"

    @rule(
        Cel(
            "!self.correctStale || self.coefficient > 0.0",
            "`correctStale` has no effect with `coefficient: 0`; remove it",
        ),
    )
    def only_a_term_is_corrected(self) -> None:
        """At coefficient 0 there is no term."""
        if self.correct_stale and self.coefficient == 0:
            raise ValueError("`correctStale` has no effect with `coefficient: 0`; remove it")

    @rule(
        Cel(
            "self.estimator != 'k1' || self.coefficient == 0.0",
            "`estimator: k1` has no effect with a `coefficient`, got {self.coefficient}: its expected gradient is 0; "
            "use `k2` or `k3`",
        ),
    )
    def k1_is_for_measuring(self) -> None:
        """The gradient of k1 is grad log policy, whose expectation under the policy is zero: noise and no pull."""
        if self.estimator is KLEstimator.K1 and self.coefficient != 0:
            raise ValueError(
                f"`estimator: k1` has no effect with a `coefficient`, got {self.coefficient}: its expected gradient is "
                "0; use `k2` or `k3`"
            )


class EngineMismatch(SpecModel):
    """What is done where rollout engine and learner disagree about a token's probability."""

    correction: MismatchCorrection = MismatchCorrection.TIS
    cap: Annotated[float, Field(ge=1, le=1000)] = 2.0
    """tis: largest weight. icepop: largest ratio that is trained."""
    floor: Annotated[float, Field(ge=0, le=1)] | None = None
    """icepop only: smallest ratio that is trained; unset: 0.5."""
    max_logprob_distance: Annotated[float, Field(gt=0, le=100)] = 0.3
    """Where the two differ by more, the run ends: mean of |old - rollout| log-probability in nats, over the trained
    tokens of a step (`mismatch_logprob`), and over a few tokens before a rollout server serves new weights. Rounding
    makes 0.00001 in float32 and up to about 0.06 in bfloat16; a model that is computed wrongly, 0.4 and more."""

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
    """Reward shaping by length. Dynamic sampling looks at rewards after `stopProperly` and before the penalty."""

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
    advantage_scale: AdvantageScale = AdvantageScale.BATCH
    """reinforce++-baseline only: over what advantages are normalised."""
    entropy_bonus: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Weight of the policy's entropy (of the tempered distribution, nats a token) in the objective (A3C, arXiv
    1602.01783 section 4); 0: no bonus."""
    clip: Clip = Clip()
    loss_aggregation: LossAggregation = LossAggregation.TOKEN_MEAN
    dynamic_sampling: DynamicSampling = DynamicSampling()
    kl: KL = KL()
    engine_mismatch: EngineMismatch = EngineMismatch()
    length: Length = Length()

    @rule(
        Cel(
            "self.advantageScale == 'batch' || self.advantage == 'reinforce++-baseline'",
            "`advantageScale` has no effect with `advantage: {self.advantage}`; remove it",
        ),
    )
    def only_one_kind_has_a_scale(self) -> None:
        """The others divide by nothing beyond their group."""
        if self.advantage_scale is AdvantageScale.BATCH:
            return
        if self.advantage is not AdvantageKind.REINFORCE_PLUS_PLUS_BASELINE:
            raise ValueError(f"`advantageScale` has no effect with `advantage: {self.advantage}`; remove it")
