"""The triggers of reference resets: each looks at samples and answers with evidence, or with nothing.

Samples are those after the last applied reset (`samples`). What a KL spike is stands in `spikes`, what a stall and a
drop are in `validation`.
"""

from __future__ import annotations

from prorl_api.resets import Evidence
from prorl_api.spec.resets import ReferenceResetSpec
from prorl_api.spec.triggers import Condition, Interval, Threshold, Trigger
from prorl_control.resets.samples import ACCURACY, Samples, accuracy_names, number, step_of
from prorl_control.resets.spikes import METRICS, kl_spike, steps_text
from prorl_control.resets.validation import validation_dropped, validation_stalled

DECISIVE = frozenset({*METRICS.values(), *accuracy_names(())})
"""Metrics that are kept whatever a policy's triggers read: a status and the judgement of resets rest on them."""


def names_wanted(policy: ReferenceResetSpec) -> frozenset[str]:
    """Return the metrics that the policy's triggers read, `signals.<name>` for a job's own."""
    names: set[str] = set()
    for condition in (condition for trigger in policy.triggers for condition in trigger.conditions):
        if condition.kl_spike is not None:
            names.add(METRICS[condition.kl_spike.metric])
        if condition.threshold is not None:
            names.add(condition.threshold.metric)
        for rule in (condition.validation_stalled, condition.validation_dropped):
            if rule is not None:
                names |= accuracy_names(rule.sources)
    return frozenset(names)


def window_steps(policy: ReferenceResetSpec) -> int:
    """Return the most newest samples that any trigger looks at; validations aside, none looks further back."""
    conditions = [condition for trigger in policy.triggers for condition in trigger.conditions]
    spikes = [spike.window_steps + spike.baseline for item in conditions if (spike := item.kl_spike) is not None]
    bounds = [item.threshold.for_steps for item in conditions if item.threshold is not None]
    return max(spikes + bounds, default=1)


def evidence(trigger: Trigger, samples: Samples, *, step: int, since: int) -> Evidence | None:
    """Return what speaks for a reset by this trigger.

    Args:
        trigger: The trigger.
        samples: After the last applied reset.
        step: Steps completed.
        since: Step from which an interval is counted: of the last reset, or 0.
    """
    found: list[Evidence] = []
    for condition in trigger.conditions:
        seen = _evidence(trigger.name, condition, samples, step=step, since=since)
        if seen is not None:
            found.append(seen)
            if trigger.all is None:
                return seen
        elif trigger.all is not None:
            return None
    return _joined(found) if found else None


def _evidence(name: str, condition: Condition, samples: Samples, *, step: int, since: int) -> Evidence | None:
    if condition.kl_spike is not None:
        return kl_spike(name, condition.kl_spike, samples)
    if condition.validation_stalled is not None:
        return validation_stalled(name, condition.validation_stalled, samples)
    if condition.validation_dropped is not None:
        return validation_dropped(name, condition.validation_dropped, samples)
    if condition.threshold is not None:
        return _threshold(name, condition.threshold, samples)
    assert condition.interval is not None
    return _interval(name, condition.interval, step=step, since=since)


def _joined(found: list[Evidence]) -> Evidence:
    """Put the evidence of all conditions together; metric and window are the first one's that speaks of a metric."""
    first = next((item for item in found if item.metric != "step"), found[0])
    return first.model_copy(
        update={
            "rule": " and ".join(item.rule for item in found),
            "reason": "; and ".join(item.reason for item in found),
        }
    )


def _threshold(name: str, rule: Threshold, samples: Samples) -> Evidence | None:
    """Fire when each of the last `forSteps` samples has the metric beyond its bound.

    A metric that only validations have (or that a signal has now and then) counts by the samples that have it.
    """
    values = _newest(samples, rule)
    if values is None:
        return None
    steps, numbers = values
    bound = rule.above if rule.above is not None else rule.below
    assert bound is not None
    side = "above" if rule.above is not None else "below"
    if not all(value > bound if rule.above is not None else value < bound for value in numbers):
        return None
    newest = numbers[-1]
    where = f"step {steps[0]}" if len(steps) == 1 else f"steps {steps[0]}-{steps[-1]}"
    return Evidence(
        trigger=name,
        metric=rule.metric,
        rule=f"{rule.metric} {side} {bound:g} for {rule.for_steps} step{'s' if rule.for_steps > 1 else ''}",
        steps=steps,
        values=numbers,
        reason=f"{rule.metric} was {side} {bound:g} at {where}, {newest:.4g} at the last",
    )


def _newest(samples: Samples, rule: Threshold) -> tuple[tuple[int, ...], tuple[float, ...]] | None:
    window = samples[-rule.for_steps :]
    if rule.metric.startswith("validation_"):
        window = [sample for sample in samples if number(sample, rule.metric) is not None][-rule.for_steps :]
    values = [value for sample in window if (value := number(sample, rule.metric)) is not None]
    if len(values) < rule.for_steps:
        return None
    return tuple(step_of(sample) for sample in window), tuple(values)


def _interval(name: str, rule: Interval, *, step: int, since: int) -> Evidence | None:
    if step - since < rule.every_steps:
        return None
    start = f"the reset at step {since}" if since else "the start"
    return Evidence(
        trigger=name,
        metric="step",
        rule=f"every {rule.every_steps} steps",
        steps=(step,),
        values=(float(step),),
        reason=f"{step - since} steps since {start}, every {rule.every_steps} asked",
    )


__all__ = ["ACCURACY", "DECISIVE", "Samples", "evidence", "names_wanted", "number", "steps_text", "window_steps"]
