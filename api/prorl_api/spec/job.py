"""The `ProRLJob` object: metadata, the whole spec, and the rules that cross its sections."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from prorl_api.names import MAX_JOB_NAME_LENGTH
from prorl_api.spec.algorithm import AlgorithmSpec
from prorl_api.spec.base import KEYED_BY_NAME, Cel, Change, Seed, SpecModel, rule
from prorl_api.spec.data import DEFAULT_WEIGHT, DataSource, DataSpec
from prorl_api.spec.local import LocalSpec
from prorl_api.spec.resets import DEFAULT_COOLDOWN, ReferenceResetSpec
from prorl_api.spec.roles import InitFrom, LearnerSpec, ModelSpec, RolloutSpec, SandboxSpec, Volume
from prorl_api.spec.run import (
    DEFAULT_VALIDATION_SIZE,
    CheckpointSpec,
    MonitoringSpec,
    RestartSpec,
    ScheduleSpec,
    SchedulingSpec,
    ValidationSource,
    ValidationSpec,
)
from prorl_api.spec.tracking import TrackingSpec
from prorl_api.spec.trigger_cel import (
    IS_DEFAULT,
    NAMES_NO_SIGNAL,
    NAMES_NO_SOURCE,
    NAMES_UNVALIDATED,
    NEED,
    READS_UNVALIDATED,
    WATCHES_KL,
    WATCHES_KL_TERM,
    WATCHES_VALIDATION,
    any_of,
    some_condition,
)
from prorl_api.spec.triggers import DEFAULT_TRIGGERS, Condition
from prorl_api.spec.values import KLEstimator, ReferencePlace, ResetMode, ResetSource, Role

_WEIGHT = f"source.?weight.orValue({DEFAULT_WEIGHT})"
_LENGTH = "stage.?overrides.?maxCompletionTokens"
"""In CEL: within lists the API server fills no defaults in."""


class Metadata(SpecModel):
    """The object's name and labels."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=MAX_JOB_NAME_LENGTH)]
    """Lower-case letters, digits and hyphens; children append to it."""
    namespace: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=63)] | None = None
    """Where the object lives in a cluster; without meaning on one machine."""
    labels: Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=64)] = {}
    """Kubernetes labels of the object."""
    annotations: Annotated[dict[str, Annotated[str, Field(max_length=65536)]], Field(max_length=64)] = {}
    """Kubernetes annotations of the object."""


class ProRLJobSpec(SpecModel):
    """Everything about a run."""

    seed: Annotated[Seed, Change.IMMUTABLE] = 0
    """Seed of prompts, sampling and shuffling."""
    model: Annotated[ModelSpec, Change.IMMUTABLE]
    init_from: Annotated[InitFrom | None, Change.IMMUTABLE] = None
    volumes: Annotated[tuple[Volume, ...], Field(max_length=32, json_schema_extra=KEYED_BY_NAME)] = ()
    """Persistent volumes for models, data and run folders."""
    data: Annotated[DataSpec, Change.IMMUTABLE]
    rollout: RolloutSpec = RolloutSpec()
    learner: LearnerSpec = LearnerSpec()
    sandbox: SandboxSpec = SandboxSpec()
    algorithm: Annotated[AlgorithmSpec, Change.STEP_BOUNDARY] = AlgorithmSpec()
    schedule: ScheduleSpec = ScheduleSpec()
    validation: ValidationSpec = ValidationSpec()
    reference_reset: Annotated[ReferenceResetSpec, Change.LIVE] = ReferenceResetSpec()
    checkpoint: CheckpointSpec = CheckpointSpec()
    restarts: RestartSpec = RestartSpec()
    scheduling: Annotated[SchedulingSpec, Change.IMMUTABLE] = SchedulingSpec()
    monitoring: Annotated[MonitoringSpec, Change.LIVE] = MonitoringSpec()
    tracking: TrackingSpec = TrackingSpec()
    local: LocalSpec = LocalSpec()
    suspend: Annotated[bool, Change.LIVE] = False
    """True: stop with a checkpoint and run nothing until it is false again."""
    ttl_seconds_after_finished: Annotated[int | None, Field(ge=0, le=2**31 - 1), Change.LIVE] = None
    """In a cluster: seconds after success or failure until the object, and all but its volumes, is deleted. Unset: it
    stays."""

    @property
    def max_sequence_tokens(self) -> int:
        """Longest prompt plus the longest completion of any stage: what engines are sized for."""
        stages = [stage.overrides.max_completion_tokens or 0 for stage in self.schedule.stages]
        return self.rollout.max_prompt_tokens + max(self.rollout.max_completion_tokens, *stages, 0)

    @property
    def validated_sources(self) -> tuple[ValidationSource, ...]:
        """What is validated: as the manifest says, or every source that has held-out prompts."""
        return self.validation.sources or tuple(
            ValidationSource(name=source.name, size=source.held_out or DEFAULT_VALIDATION_SIZE)
            for source in self.data.sources
            if source.generator is not None or source.held_out
        )

    @property
    def measures_kl(self) -> bool:
        """Whether the KL to the reference is part of the loss, or watched by a trigger that may act."""
        is_watched = any(condition.watches_kl for _, condition in self._conditions())
        return self.algorithm.kl.coefficient > 0 or (is_watched and self.reference_reset.mode is not ResetMode.DISABLED)

    def is_trained_on(self, source: DataSource) -> bool:
        """Tell whether training prompts come from it at any stage, the part before the first one included."""
        stages = [stage.overrides.source_weights.get(source.name, source.weight) for stage in self.schedule.stages]
        return max(source.weight, *stages, 0.0) > 0

    @rule
    def volume_names_are_unique(self) -> None:
        """`checkpoint.volume` refers to one of them, and a pod takes each name once."""
        names = [volume.name for volume in self.volumes]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"`volumes` must have names of their own, got {', '.join(repeated)} more than once")

    @rule(
        Cel(
            "!has(self.checkpoint.volume) || self.volumes.exists(volume, volume.name == self.checkpoint.volume && "
            "(!has(volume.roles) || 'learner' in volume.roles) && !volume.?readOnly.orValue(false))",
            "`checkpoint.volume` must name one of `volumes` that the learner mounts and may write",
        ),
    )
    def checkpoints_have_a_volume(self) -> None:
        """The learner alone writes the run folder."""
        name = self.checkpoint.volume
        fitting = [volume.name for volume in self.volumes if Role.LEARNER in volume.roles and not volume.read_only]
        if name is not None and name not in fitting:
            raise ValueError(
                f"`checkpoint.volume` must name one of `volumes` that the learner mounts and may write, got {name}; "
                f"there is {', '.join(fitting) or 'none'}"
            )

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
            "self.validation.sources.all(named, self.data.sources.exists(source, source.name == named.name))",
            "unknown source in `validation.sources`; `data.sources` has {self.data.sources.map(source, source.name)}",
        ),
        Cel(
            # Counted, because a search for every name costs more than the API server spends on a rule.
            "self.schedule.stages.all(stage, stage.?overrides.?sourceWeights.orValue({}).size() == "
            "self.data.sources.filter(source, source.name in stage.?overrides.?sourceWeights.orValue({})).size())",
            "unknown source in a stage's `sourceWeights`; "
            "`data.sources` has {self.data.sources.map(source, source.name)}",
        ),
    )
    def validation_names_known_sources(self) -> None:
        """Validation and stages refer to sources that exist."""
        known = {source.name for source in self.data.sources}
        named = {source.name for source in self.validation.sources}
        for stage in self.schedule.stages:
            named |= set(stage.overrides.source_weights)
        if named - known:
            raise ValueError(
                f"unknown source {', '.join(sorted(named - known))} in `validation.sources` or a stage's "
                f"`sourceWeights`; `data.sources` has {', '.join(sorted(known))}"
            )

    @rule(
        Cel(
            "self.validation.sources.all(named, self.data.sources.all(source, "
            "source.name != named.name || !has(source.jsonl) || "
            f"source.?heldOut.orValue(0) >= named.?size.orValue({DEFAULT_VALIDATION_SIZE})))",
            "`validation.sources` asks for more prompts of a `jsonl` source than it holds out; set its `heldOut` to at "
            "least that `size`",
        ),
    )
    def validated_jsonl_is_held_out(self) -> None:
        """Validating on rows that are trained on measures memory."""
        sizes = {source.name: source.size for source in self.validation.sources}
        for source in self.data.sources:
            wanted = sizes.get(source.name, 0)
            if source.jsonl is not None and source.held_out < wanted:
                raise ValueError(
                    f"`validation.sources` asks for {wanted} prompts of source {source.name}, which holds out "
                    f"{source.held_out}; set its `heldOut` to at least {wanted}"
                )

    @rule(
        Cel(
            f"self.data.sources.all(source, {_WEIGHT} > 0.0 || (self.validation.sources.size() > 0 "
            "? self.validation.sources.exists(named, named.name == source.name) "
            ": has(source.reasoningGym) || has(source.composition) || source.?heldOut.orValue(0) > 0) || "
            "self.schedule.stages.exists(stage, stage.?overrides.?sourceWeights[?source.name].orValue(0.0) > 0.0))",
            "a source of `data.sources` has `weight` 0 at every stage and is not validated; give it a weight, or "
            "name it in `validation.sources` (a jsonl source needs `heldOut` too)",
        ),
    )
    def every_source_is_used(self) -> None:
        """A source that is neither trained on nor validated would be read for nothing."""
        validated = {source.name for source in self.validated_sources}
        for source in self.data.sources:
            if source.name not in validated and not self.is_trained_on(source):
                raise ValueError(
                    f"source {source.name} has `weight` 0 at every stage and is not validated; give it a weight, or "
                    "name it in `validation.sources` (a jsonl source needs `heldOut` too)"
                )

    @rule(
        Cel(
            "self.referenceReset.mode == 'disabled' || self.validation.sources.size() > 0 || "
            "self.data.sources.exists(source, has(source.reasoningGym) || has(source.composition) || "
            "source.?heldOut.orValue(0) > 0) || "
            "(self.referenceReset.source != 'best' && !" + some_condition(WATCHES_VALIDATION) + ")",
            "`referenceReset` has a trigger on validation or `source: best`, which needs validation, and no source is "
            "validated; set `heldOut` of a `jsonl` source, add a `reasoningGym` or `composition` source, or choose "
            "other `triggers`",
        ),
    )
    def validation_is_measured_where_it_is_watched(self) -> None:
        """A trigger on validation, or the best policy as source, needs an accuracy to look at."""
        reset = self.reference_reset
        if self.validated_sources or reset.mode is ResetMode.DISABLED:
            return
        watching = [f"trigger `{trigger.name}`" for trigger in reset.triggers if trigger.watches_validation]
        watching += ["`source: best`"] if reset.source is ResetSource.BEST else []
        if watching:
            raise ValueError(
                f"`referenceReset`: {', '.join(watching)} needs validation, and no source is validated; set `heldOut` "
                "of a `jsonl` source, add a `reasoningGym` or `composition` source, or choose other `triggers`"
            )

    @rule(
        Cel(
            f"!{some_condition(NAMES_UNVALIDATED)}",
            "a trigger of `referenceReset` names a source in `sources` that is not validated; name one of "
            "`validation.sources`, or, where that is empty, one with held-out prompts",
        ),
        Cel(
            f"!{some_condition(READS_UNVALIDATED)}",
            "a trigger's `threshold.metric` of `referenceReset` ends in a source that is not validated; name one of "
            "`validation.sources`, or, where that is empty, one with held-out prompts",
        ),
        Cel(
            f"!{some_condition(NAMES_NO_SOURCE)}",
            "a trigger's `threshold.metric` of `referenceReset` ends in a source that `data.sources` does not have; it "
            "has {self.data.sources.map(source, source.name)}",
        ),
    )
    def triggers_name_known_sources(self) -> None:
        """A source that nobody judges has no accuracy."""
        validated = [source.name for source in self.validated_sources]
        known = [source.name for source in self.data.sources]
        for trigger, condition in self._conditions():
            for name in sorted(condition.sources - set(validated)):
                raise ValueError(
                    f"`referenceReset`: trigger {trigger} names source {name}, which is not validated; "
                    f"{', '.join(validated) or 'none'} is"
                )
            source = condition.metric_source
            if source is not None and source not in known:
                raise ValueError(
                    f"`referenceReset`: trigger {trigger} wants `threshold.metric` of source {source}; `data.sources` "
                    f"has {', '.join(known)}"
                )

    @rule(
        Cel(
            f"!{some_condition(NAMES_NO_SIGNAL)}",
            "a trigger's `threshold.metric` of `referenceReset` names a signal that `monitoring.signals` does not "
            "have; it has {self.monitoring.signals.map(signal, signal.name)}",
        ),
    )
    def triggers_read_known_signals(self) -> None:
        """A signal that nobody asks for has no values."""
        known = [signal.name for signal in self.monitoring.signals]
        for trigger, condition in self._conditions():
            if condition.signal is not None and condition.signal not in known:
                raise ValueError(
                    f"`referenceReset`: trigger {trigger} reads signal {condition.signal}, which `monitoring.signals` "
                    f"does not have; it has {', '.join(known) or 'none'}"
                )

    @rule(
        Cel(
            "self.algorithm.kl.coefficient > 0.0 || self.schedule.stages.exists(stage, "
            "stage.?overrides.?klCoefficient.orValue(0.0) > 0.0) || !" + some_condition(WATCHES_KL_TERM),
            "a trigger of `referenceReset` watches the KL term of the loss, which has none at any stage; set "
            "`algorithm.kl.coefficient`, or watch `kl`",
        ),
    )
    def the_kl_term_exists_where_it_is_watched(self) -> None:
        """Without a term its share is 0 for ever, and a trigger on it silently off."""
        stages = [stage.overrides.kl_coefficient or 0.0 for stage in self.schedule.stages]
        if max([self.algorithm.kl.coefficient, *stages]) > 0:
            return
        for trigger, condition in self._conditions():
            if condition.watches_kl_term:
                raise ValueError(
                    f"`referenceReset`: trigger {trigger} watches the KL term of the loss, which has none at any "
                    "stage; set `algorithm.kl.coefficient`, or watch `kl`"
                )

    @rule(
        Cel(
            "self.learner.reference == 'resident' || self.algorithm.kl.coefficient > 0.0 || "
            "self.schedule.stages.exists(stage, stage.?overrides.?klCoefficient.orValue(0.0) > 0.0) || "
            "(self.referenceReset.mode != 'disabled' && " + some_condition(WATCHES_KL) + ")",
            "`learner.reference` has no effect: with `algorithm.kl.coefficient: 0` at every stage and no trigger of "
            "`referenceReset` on the KL there is no reference; remove it",
        ),
    )
    def the_reference_exists_where_it_is_placed(self) -> None:
        """Nobody asks for the KL, and no reference is built."""
        stages = [stage.overrides.kl_coefficient or 0.0 for stage in self.schedule.stages]
        is_used = self.measures_kl or max(stages, default=0.0) > 0
        if self.learner.reference is not ReferencePlace.RESIDENT and not is_used:
            raise ValueError(
                "`learner.reference` has no effect: with `algorithm.kl.coefficient: 0` at every stage and no trigger "
                "of `referenceReset` on the KL there is no reference; remove it"
            )

    @rule(
        Cel(
            f"self.referenceReset.triggers.all(trigger, {IS_DEFAULT} || self.referenceReset.triggers.all(other, "
            f"!has(other.interval) || has(other.maxResets) || other.name == trigger.name || "
            f"!{any_of('trigger', f'{NEED} > other.interval.everySteps')} || "
            f"!{any_of('trigger', f'{NEED} > self.referenceReset.cooldownSteps')}))",
            "`referenceReset`: a trigger looks back over more steps since the last reset than an `interval` leaves "
            "between two, and can never fire; raise `interval.everySteps`, or shorten the window",
        ),
    )
    def windows_fit_between_intervals(self) -> None:
        """A window that is longer than what an interval leaves between two resets is never full.

        One that is longer than the run is, once the run is longer: `prorl_control.notices` tells of it.
        """
        intervals = [
            (trigger.interval.every_steps, trigger.name)
            for trigger in self.reference_reset.triggers
            if trigger.interval is not None and trigger.max_resets is None and trigger.is_clear
        ]
        if not intervals:
            return
        shortest, name = min(intervals)
        shortest = max(shortest, self.reference_reset.cooldown_steps)
        for trigger in self.reference_reset.triggers:
            if trigger in DEFAULT_TRIGGERS or not trigger.is_clear:
                continue  # the defaults are for long runs, and do no harm in short ones
            need = max(condition.steps_needed(self.validation.every_steps) for condition in trigger.conditions)
            if need > shortest:
                raise ValueError(
                    f"`referenceReset`: trigger {trigger.name} looks back over {need} steps since the last reset, more "
                    f"than `interval.everySteps` {shortest} of trigger {name} leaves, and can never fire; raise that, "
                    "or shorten the window"
                )

    @rule(
        Cel(
            f"self.referenceReset.cooldownSteps == {DEFAULT_COOLDOWN} || self.referenceReset.triggers.all(trigger, "
            "trigger.?interval.?everySteps.orValue(self.referenceReset.cooldownSteps) >= "
            "self.referenceReset.cooldownSteps)",
            "`referenceReset.cooldownSteps` {self.referenceReset.cooldownSteps} contradicts a trigger whose "
            "`interval.everySteps` is shorter; lower `cooldownSteps`, or raise `everySteps`",
        ),
    )
    def the_cooldown_leaves_intervals_alone(self) -> None:
        """An interval within the cooldown that somebody chose would silently be as long as that."""
        policy = self.reference_reset
        for trigger in policy.triggers:
            every = trigger.interval.every_steps if trigger.interval is not None else policy.cooldown_steps
            if every < policy.cooldown_steps != DEFAULT_COOLDOWN:
                raise ValueError(
                    f"`referenceReset.cooldownSteps` {policy.cooldown_steps} contradicts trigger {trigger.name}, whose "
                    f"`interval.everySteps` is {every}; lower `cooldownSteps`, or raise `everySteps`"
                )

    def _conditions(self) -> Iterator[tuple[str, Condition]]:
        """Yield each thing that triggers look at, with the trigger's name."""
        for trigger in self.reference_reset.triggers:
            for condition in trigger.conditions:
                yield trigger.name, condition

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
            f"stage.?overrides.?sourceWeights[?source.name].orValue({_WEIGHT}) > 0.0))",
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


class ProRLJob(SpecModel):
    """One training run, on one machine or in a cluster."""

    api_version: Literal["prorl.dev/v1alpha1"]
    """Group and version of this schema."""
    kind: Literal["ProRLJob"]
    """The kind of object."""
    metadata: Metadata
    spec: ProRLJobSpec
