"""Rules about lengths, batches and the objective, which each stage of the schedule obeys with its overrides."""

from __future__ import annotations

from prorl_api.spec.base import Cel, rule
from prorl_api.spec.data import SOURCE_WEIGHT
from prorl_api.spec.sections import JobSections
from prorl_api.spec.values import KLEstimator, LengthPenalty

_LENGTH = "stage.?overrides.?maxCompletionTokens"
"""In CEL: within lists the API server fills no defaults in."""


class StageRules(JobSections):
    """What holds for the spec holds at every stage."""

    @rule(
        Cel(
            "self.learner.microbatchTokens >= self.rollout.maxPromptTokens + self.rollout.maxCompletionTokens",
            "`learner.microbatchTokens` must be at least `rollout.maxPromptTokens` + `rollout.maxCompletionTokens` = "
            "{self.rollout.maxPromptTokens + self.rollout.maxCompletionTokens}, got {self.learner.microbatchTokens}",
        ),
        Cel(
            f"self.schedule.stages.all(stage, !{_LENGTH}.hasValue() || "
            f"self.learner.microbatchTokens >= self.rollout.maxPromptTokens + {_LENGTH}.value())",
            "`learner.microbatchTokens` {self.learner.microbatchTokens} must be at least `rollout.maxPromptTokens` "
            "{self.rollout.maxPromptTokens} + a stage's `maxCompletionTokens`",
        ),
    )
    def microbatch_holds_a_sequence(self) -> None:
        """One prompt with one completion must fit into one packed sequence, at every stage."""
        lengths = {"`rollout.maxCompletionTokens`": self.rollout.max_completion_tokens}
        for stage in self.schedule.stages:
            if stage.overrides.max_completion_tokens is not None:
                lengths[f"stage {stage.name}'s `maxCompletionTokens`"] = stage.overrides.max_completion_tokens
        name, longest = max(lengths.items(), key=lambda item: item[1])
        if self.learner.microbatch_tokens < self.rollout.max_prompt_tokens + longest:
            raise ValueError(
                f"`learner.microbatchTokens` must be at least `rollout.maxPromptTokens` + {name} = "
                f"{self.rollout.max_prompt_tokens + longest}, got {self.learner.microbatch_tokens}"
            )

    @rule(
        Cel(
            "!has(self.algorithm.length.bufferTokens) || "
            "self.algorithm.length.bufferTokens < self.rollout.maxCompletionTokens",
            "`algorithm.length.bufferTokens` must be below `rollout.maxCompletionTokens` "
            "{self.rollout.maxCompletionTokens}, got {self.algorithm.length.bufferTokens}",
        ),
        Cel(
            "!has(self.algorithm.length.bufferTokens) || self.schedule.stages.all(stage, "
            f"!{_LENGTH}.hasValue() || {_LENGTH}.value() > self.algorithm.length.bufferTokens)",
            "a stage's `maxCompletionTokens` must be above `algorithm.length.bufferTokens` "
            "{self.algorithm.length.bufferTokens}",
        ),
    )
    def overlong_buffer_fits(self) -> None:
        """A buffer as long as the completion would punish every completion."""
        buffer = self.algorithm.length.buffer_tokens
        if buffer is not None and buffer >= self.rollout.max_completion_tokens:
            raise ValueError(
                f"`algorithm.length.bufferTokens` must be below `rollout.maxCompletionTokens` "
                f"{self.rollout.max_completion_tokens}, got {buffer}"
            )
        for stage in self.schedule.stages:
            length = stage.overrides.max_completion_tokens
            if buffer is not None and length is not None and buffer >= length:
                raise ValueError(
                    f"stage {stage.name}: `maxCompletionTokens` must be above `algorithm.length.bufferTokens` "
                    f"{buffer}, got {length}"
                )

    @rule(
        Cel(
            "self.schedule.stages.all(stage, self.data.sources.exists(source, "
            f"stage.?overrides.?sourceWeights[?source.name].orValue({SOURCE_WEIGHT}) > 0.0))",
            "a stage's `sourceWeights` leave no source of `data.sources` above 0",
        ),
    )
    def stages_train_on_some_source(self) -> None:
        """Overrides that set all weights to zero would leave nothing to sample."""
        for stage in self.schedule.stages:
            weights = stage.overrides.source_weights
            if not any(weights.get(source.name, source.weight) > 0 for source in self.data.sources):
                raise ValueError(f"stage {stage.name}: its `sourceWeights` leave no source of `data.sources` above 0")

    @rule(
        Cel(
            "self.schedule.stages.all(stage, "
            "stage.?overrides.?promptsPerStep.orValue(self.learner.promptsPerStep) % "
            "stage.?overrides.?minibatchPrompts.orValue(self.learner.minibatchPrompts) == 0)",
            "a stage's `minibatchPrompts` must divide its `promptsPerStep`, each taken from `learner` where not set",
        ),
    )
    def stages_keep_the_batch_divisible(self) -> None:
        """The merged settings of every stage obey the same rule as the spec."""
        for stage in self.schedule.stages:
            if stage.overrides.prompts_per_step is None and stage.overrides.minibatch_prompts is None:
                continue
            prompts = stage.overrides.prompts_per_step or self.learner.prompts_per_step
            minibatch = stage.overrides.minibatch_prompts or self.learner.minibatch_prompts
            if prompts % minibatch:
                raise ValueError(
                    f"stage {stage.name}: `minibatchPrompts` must divide `promptsPerStep`, "
                    f"got {minibatch} and {prompts}"
                )

    @rule(
        Cel(
            "self.schedule.stages.all(stage, stage.?overrides.?clipHigh.orValue(self.algorithm.clip.high) >= "
            "stage.?overrides.?clipLow.orValue(self.algorithm.clip.low))",
            "a stage's `clipHigh` must be at least its `clipLow`, each taken from `algorithm.clip` where not set",
        ),
    )
    def stages_keep_the_clip_in_order(self) -> None:
        """The merged settings of every stage obey the same rule as the spec."""
        clip = self.algorithm.clip
        for stage in self.schedule.stages:
            low, high = stage.overrides.clip_low or clip.low, stage.overrides.clip_high or clip.high
            if stage.overrides.clip_low is None and stage.overrides.clip_high is None:
                continue
            if high < low:
                raise ValueError(
                    f"stage {stage.name}: `clipHigh` must be at least `clipLow`, each taken from `algorithm.clip` "
                    f"where not set, got {high} and {low}"
                )

    @rule(
        Cel(
            "!has(self.algorithm.kl.referenceDecay) || self.algorithm.kl.coefficient > 0.0 || "
            "self.schedule.stages.exists(stage, stage.?overrides.?klCoefficient.orValue(0.0) > 0.0)",
            "`algorithm.kl.referenceDecay` moves what nothing pulls to: `coefficient` is 0 at every stage; remove it",
        ),
    )
    def only_a_term_s_reference_is_averaged(self) -> None:
        """Without a term at any stage there is no reference, but for triggers."""
        kl, stages = self.algorithm.kl, self.schedule.stages
        has_a_term = kl.coefficient > 0 or any(stage.overrides.kl_coefficient for stage in stages)
        if kl.reference_decay is not None and not has_a_term:
            raise ValueError(
                "`algorithm.kl.referenceDecay` moves what nothing pulls to: `coefficient` is 0 at every stage; remove "
                "it"
            )

    @rule(
        Cel(
            "self.algorithm.length.penalty != 'none' || self.schedule.stages.all(stage, "
            "!stage.?overrides.?lengthWeight.hasValue())",
            "a stage's `lengthWeight` has no effect with `algorithm.length.penalty: none`; remove it",
        ),
    )
    def stages_weigh_a_penalty_that_there_is(self) -> None:
        """A weight of nothing would be silently off."""
        if self.algorithm.length.penalty is not LengthPenalty.NONE:
            return
        for stage in self.schedule.stages:
            if stage.overrides.length_weight is not None:
                raise ValueError(
                    f"stage {stage.name}: `lengthWeight` has no effect with `algorithm.length.penalty: none`; remove it"
                )

    @rule(
        Cel(
            "self.algorithm.kl.estimator != 'k1' || self.schedule.stages.all(stage, "
            "stage.?overrides.?klCoefficient.orValue(0.0) == 0.0)",
            "a stage's `klCoefficient` has no effect with `algorithm.kl.estimator: k1`: its expected gradient is 0",
        ),
    )
    def stages_keep_k1_out_of_the_loss(self) -> None:
        """The merged settings of every stage obey the same rule as the spec."""
        if self.algorithm.kl.estimator is not KLEstimator.K1:
            return
        for stage in self.schedule.stages:
            if stage.overrides.kl_coefficient:
                raise ValueError(
                    f"stage {stage.name}: `klCoefficient` {stage.overrides.kl_coefficient} has no effect with "
                    "`algorithm.kl.estimator: k1`: its expected gradient is 0"
                )
