"""Rules between the triggers of `referenceReset` and what they look at."""

from __future__ import annotations

from prorl_api.spec.base import Cel, rule
from prorl_api.spec.resets import DEFAULT_COOLDOWN
from prorl_api.spec.sections import JobSections
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
from prorl_api.spec.triggers import DEFAULT_TRIGGERS
from prorl_api.spec.values import ReferencePlace, ResetMode, ResetSource


class TriggerRules(JobSections):
    """A trigger looks at something that is measured, and can fire."""

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
        for trigger, condition in self.conditions():
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
        for trigger, condition in self.conditions():
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
        for trigger, condition in self.conditions():
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
