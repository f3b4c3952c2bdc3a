"""What rules about triggers say in CEL: within lists no default is filled in, and conditions may be nested once.

Lists and texts are asked for with `has`, not `.?`: the API server knows no bound of what an optional value gives, and
refuses the rule as too expensive.
"""

from __future__ import annotations

from prorl_api.spec.triggers import (
    DEFAULT_BASELINE,
    DEFAULT_DROP_VALIDATIONS,
    DEFAULT_FOR_STEPS,
    DEFAULT_PATIENCE,
    DEFAULT_SPIKE_WINDOW,
    DEFAULT_TRIGGERS,
    SIGNAL_PREFIX,
)


def any_of(trigger: str, holds: str) -> str:
    """Write that something holds of a trigger's own condition, or of one in its `all` or `any`.

    Args:
        trigger: The variable that holds the trigger.
        holds: In CEL, of `item`.
    """
    own = holds.replace("item.", f"{trigger}.")
    nested = " || ".join(
        f"(has({trigger}.{kind}) && {trigger}.{kind}.exists(item, {holds}))" for kind in ("all", "any")
    )
    return f"({own} || {nested})"


def some_condition(holds: str) -> str:
    """Write that something holds of a condition of any trigger. `holds` speaks of `item`; `self` is the spec."""
    return f"self.referenceReset.triggers.exists(trigger, {any_of('trigger', holds)})"


_SPIKE, _DROP = DEFAULT_TRIGGERS[0], DEFAULT_TRIGGERS[1]
assert _SPIKE.kl_spike is not None and _DROP.validation_dropped is not None  # noqa: PT018
IS_DEFAULT = (
    f"(trigger.name == '{_SPIKE.name}' && trigger.?klSpike.?deviations.orValue(0.0) == {_SPIKE.kl_spike.deviations} && "
    f"trigger.?klSpike.?windowSteps.orValue(0) == {_SPIKE.kl_spike.window_steps} && "
    "!trigger.?klSpike.?baselineSteps.hasValue()) || "
    f"(trigger.name == '{_DROP.name}' && "
    f"trigger.?validationDropped.?validations.orValue(0) == {_DROP.validation_dropped.validations} && "
    f"trigger.?validationDropped.?confidence.orValue(0.0) == {_DROP.validation_dropped.confidence})"
)
"""Of `trigger`: it is one of the default triggers, which are there whatever the run's length."""

NEED = (
    f"(has(item.klSpike) ? item.klSpike.?windowSteps.orValue({DEFAULT_SPIKE_WINDOW}) + (has(item.klSpike.deviations) ? "
    f"item.klSpike.?baselineSteps.orValue({DEFAULT_BASELINE}) : 0) : "
    f"has(item.validationStalled) ? item.validationStalled.?patience.orValue({DEFAULT_PATIENCE}) * "
    "self.validation.everySteps : "
    "has(item.validationDropped) ? "
    f"item.validationDropped.?validations.orValue({DEFAULT_DROP_VALIDATIONS}) * self.validation.everySteps : "
    f"!has(item.threshold) ? 1 : item.threshold.metric.startsWith('validation_') ? "
    f"(item.threshold.?forSteps.orValue({DEFAULT_FOR_STEPS}) - 1) * self.validation.everySteps : "
    f"item.threshold.?forSteps.orValue({DEFAULT_FOR_STEPS}))"
)
"""Of `item`: the fewest steps in which it can fire."""

_IS_VALIDATED = (
    "(self.validation.sources.size() > 0 ? self.validation.sources.exists(named, named.name == {name}) : "
    "self.data.sources.exists(source, source.name == {name} && "
    "(has(source.reasoningGym) || has(source.composition) || source.?heldOut.orValue(0) > 0)))"
)
_NAMED = "(has(item.{kind}) && has(item.{kind}.sources) && item.{kind}.sources.exists(wanted, !{validated}))"
_METRIC = "item.threshold.metric"
_SOURCE = f"{_METRIC}.split('/')[1]"
NAMES_UNVALIDATED = " || ".join(
    _NAMED.format(kind=kind, validated=_IS_VALIDATED.format(name="wanted.name"))
    for kind in ("validationStalled", "validationDropped")
)
"""Of `item`: it names a source that is not validated."""
READS_UNVALIDATED = (
    f"(has(item.threshold) && {_METRIC}.startsWith('validation_') && {_METRIC}.contains('/') && "
    f"!{_IS_VALIDATED.format(name=_SOURCE)})"
)
"""Of `item`: its metric is the validation of a source that is not validated."""
NAMES_NO_SOURCE = (
    f"(has(item.threshold) && {_METRIC}.contains('/') && !{_METRIC}.startsWith('validation_') && "
    f"!self.data.sources.exists(source, source.name == {_SOURCE}))"
)
"""Of `item`: its metric is of a source that does not exist."""
NAMES_NO_SIGNAL = (
    f"(has(item.threshold) && {_METRIC}.startsWith('{SIGNAL_PREFIX}') && "
    f"!self.monitoring.signals.exists(signal, '{SIGNAL_PREFIX}' + signal.name == {_METRIC}))"
)
"""Of `item`: its signal does not exist."""
WATCHES_VALIDATION = (
    f"has(item.validationStalled) || has(item.validationDropped) || "
    f"(has(item.threshold) && {_METRIC}.startsWith('validation_'))"
)
"""Of `item`: it looks at validation."""
WATCHES_KL = (
    f"(has(item.klSpike) && item.klSpike.?metric.orValue('kl') == 'kl') || (has(item.threshold) && {_METRIC} == 'kl')"
)
"""Of `item`: it looks at the KL itself."""
WATCHES_KL_TERM = (
    "(has(item.klSpike) && has(item.klSpike.metric) && item.klSpike.metric == 'klLossShare') || "
    f"(has(item.threshold) && ({_METRIC} == 'kl_loss' || {_METRIC} == 'kl_loss_share'))"
)
"""Of `item`: it looks at the KL's part in the loss."""
