"""A trigger in words, for people who read a policy."""

from __future__ import annotations

from prorl_api.spec.triggers import (
    Condition,
    KLSpike,
    Trigger,
    ValidationDropped,
    ValidationStalled,
    WeightedSource,
)


def described(trigger: Trigger) -> str:
    """Return when a trigger fires."""
    between = " and " if trigger.all is not None else " or "
    text = between.join(_condition(condition) for condition in trigger.conditions)
    return text if trigger.max_resets is None else f"{text}; at most {trigger.max_resets} times"


def _condition(condition: Condition) -> str:
    if condition.kl_spike is not None:
        return _kl_spike(condition.kl_spike)
    if condition.validation_stalled is not None:
        return _stalled(condition.validation_stalled)
    if condition.validation_dropped is not None:
        return _dropped(condition.validation_dropped)
    if condition.threshold is not None:
        rule = condition.threshold
        side = f"above {rule.above:g}" if rule.above is not None else f"below {rule.below:g}"
        return f"{rule.metric} {side}" + (f" for {rule.for_steps} steps" if rule.for_steps > 1 else "")
    assert condition.interval is not None
    return f"every {condition.interval.every_steps} steps"


def _kl_spike(rule: KLSpike) -> str:
    if rule.above is not None:
        bound = f"above {rule.above:g}"
    else:
        bound = f"{rule.deviations:g} robust deviations above the median of the {rule.baseline} steps before"
    return f"{rule.metric} {bound}, mean of {rule.window_steps} steps"


def _stalled(rule: ValidationStalled) -> str:
    sure = f" at {100 * rule.confidence:g} % confidence" if rule.confidence is not None else ""
    return f"{rule.patience} validations without a gain of {rule.min_gain:g}{sure}{_of(rule.sources)}"


def _dropped(rule: ValidationDropped) -> str:
    depth = f"{rule.below_best:g} below the best" if rule.below_best is not None else "below the best"
    sure = f", beyond noise at {100 * rule.confidence:g} % confidence" if rule.confidence is not None else ""
    return f"{rule.validations} validations in a row {depth}{sure}{_of(rule.sources)}"


def _of(sources: tuple[WeightedSource, ...]) -> str:
    return f" of {' + '.join(f'{item.weight:g} x {item.name}' for item in sources)}" if sources else ""
