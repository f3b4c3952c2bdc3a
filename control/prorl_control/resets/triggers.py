"""The triggers of reference resets: each looks at samples and answers with evidence, or with nothing.

A value that is missing is no evidence, for or against. Samples are lines of the metrics table on the surviving
timeline, after the last applied reset, ascending.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prorl_api.resets import Evidence
from prorl_api.spec.resets import Interval, KLSpike, Trigger, ValidationDropped, ValidationStalled

Samples = Sequence[Mapping[str, Any]]

ACCURACY = "validation_accuracy"
_TABLE_NAMES = {"kl": "kl", "klLossShare": "kl_loss_share"}
DECISIVE = frozenset({ACCURACY, *_TABLE_NAMES.values()})
"""Every metric that a decision or a status rests on: enough to keep for a body that only drives runs."""


def longest_window(triggers: Iterable[Trigger]) -> int:
    """Return the most newest samples that any trigger averages; validations aside, none looks further back."""
    return max((trigger.kl_spike.window_steps for trigger in triggers if trigger.kl_spike is not None), default=1)


def evidence(trigger: Trigger, samples: Samples, *, step: int, since: int) -> Evidence | None:
    """Return what speaks for a reset by this trigger.

    Args:
        trigger: The trigger.
        samples: After the last applied reset.
        step: Steps completed.
        since: Step from which an interval is counted: of the last reset, or 0.
    """
    if trigger.kl_spike is not None:
        return _kl_spike(trigger.name, trigger.kl_spike, samples)
    if trigger.validation_stalled is not None:
        return _validation_stalled(trigger.name, trigger.validation_stalled, samples)
    if trigger.validation_dropped is not None:
        return _validation_dropped(trigger.name, trigger.validation_dropped, samples)
    assert trigger.interval is not None
    return _interval(trigger.name, trigger.interval, step=step, since=since)


def number(sample: Mapping[str, Any], name: str) -> float | None:
    """Return the finite value of a metric in a sample; None if there is none."""
    value = sample.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _kl_spike(name: str, rule: KLSpike, samples: Samples) -> Evidence | None:
    """Mean over the last `windowSteps` samples, all of which must have the metric."""
    metric = _TABLE_NAMES[rule.metric]
    window = samples[-rule.window_steps :]
    values = [value for sample in window if (value := number(sample, metric)) is not None]
    if len(values) < rule.window_steps:
        return None
    mean = math.fsum(values) / len(values)
    if mean <= rule.above:
        return None
    what, unit = ("KL", " nats") if rule.metric == "kl" else ("KL's share of the loss", "")
    where = _steps(window)
    return Evidence(
        trigger=name,
        metric=metric,
        rule=f"mean of {metric} over {rule.window_steps} steps above {rule.above:g}{unit}",
        steps=tuple(int(sample["step"]) for sample in window),
        values=tuple(values),
        reason=f"{what} averaged {mean:.3g}{unit} over {where}, above {rule.above:g}",
    )


def _validation_stalled(name: str, rule: ValidationStalled, samples: Samples) -> Evidence | None:
    """No gain of `minGain` over the best for `patience` validations; the best moves only by such a gain."""
    validations = _validations(samples)
    if not validations:
        return None
    best_at, best = 0, validations[0][1]
    for position, (_, value) in enumerate(validations):
        if value > best and value - best >= rule.min_gain:
            best_at, best = position, value
    since_best = validations[best_at:]
    if len(since_best) - 1 < rule.patience:
        return None
    return Evidence(
        trigger=name,
        metric=ACCURACY,
        rule=f"{rule.patience} validations without a gain of {rule.min_gain:g} over the best",
        steps=tuple(step for step, _ in since_best),
        values=tuple(value for _, value in since_best),
        reason=(
            f"held-out accuracy has not beaten {best:.3f} of step {since_best[0][0]} by {rule.min_gain:g} in the "
            f"{len(since_best) - 1} validations since"
        ),
    )


def _validation_dropped(name: str, rule: ValidationDropped, samples: Samples) -> Evidence | None:
    """Fire when the last `validations` values all lie at least `belowBest` below the best before them."""
    validations = _validations(samples)
    earlier, last = validations[: -rule.validations], validations[-rule.validations :]
    if not earlier:
        return None
    best_step, best = max(earlier, key=lambda item: item[1])
    if any(best - value < rule.below_best for _, value in last):
        return None
    shown = [(best_step, best), *last]
    values = ", ".join(f"{value:.3f}" for _, value in last)
    where = f"step{'s' if len(last) > 1 else ''} {', '.join(str(step) for step, _ in last)}"
    return Evidence(
        trigger=name,
        metric=ACCURACY,
        rule=f"{rule.validations} validations in a row at least {rule.below_best:g} below the best",
        steps=tuple(step for step, _ in shown),
        values=tuple(value for _, value in shown),
        reason=(
            f"held-out accuracy fell to {values} at {where}, at least {rule.below_best:g} below {best:.3f} "
            f"of step {best_step}"
        ),
    )


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


def _validations(samples: Samples) -> list[tuple[int, float]]:
    return [(int(sample["step"]), value) for sample in samples if (value := number(sample, ACCURACY)) is not None]


def _steps(window: Samples) -> str:
    first, last = window[0]["step"], window[-1]["step"]
    return f"step {first}" if first == last else f"steps {first}-{last}"
