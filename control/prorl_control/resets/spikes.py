"""KL spikes: above a fixed bound, or far above what the steps before tell."""

from __future__ import annotations

import math

from prorl_api.resets import Evidence
from prorl_api.spec.triggers import KLSpike
from prorl_control.resets.samples import Samples, number, step_of
from prorl_control.resets.statistics import median_and_deviation

METRICS = {"kl": "kl", "klLossShare": "kl_loss_share"}
"""The manifest's word to the table's."""
_WORDS = {"kl": ("KL", " nats"), "klLossShare": ("KL's share of the loss", "")}
_LEAST_DEVIATION = 0.01
"""Of the baseline's median: a baseline that hardly moves makes no spike of the first tremor."""


def kl_spike(name: str, rule: KLSpike, samples: Samples) -> Evidence | None:
    """Look at the mean over the last `windowSteps` samples, all of which must have the metric."""
    metric = METRICS[rule.metric]
    window = samples[-rule.window_steps :]
    values = [value for sample in window if (value := number(sample, metric)) is not None]
    if len(values) < rule.window_steps:
        return None
    mean = math.fsum(values) / len(values)
    found = _above(rule, mean) if rule.above is not None else _deviates(rule, metric, samples, values, mean)
    if found is None:
        return None
    bound, why = found
    what, unit = _WORDS[rule.metric]
    return Evidence(
        trigger=name,
        metric=metric,
        rule=f"mean of {metric} over {rule.window_steps} steps above {bound}",
        steps=tuple(step_of(sample) for sample in window),
        values=tuple(values),
        reason=f"{what} averaged {mean:.3g}{unit} over {steps_text(window)}, {why}",
    )


def _above(rule: KLSpike, mean: float) -> tuple[str, str] | None:
    assert rule.above is not None
    if mean <= rule.above:
        return None
    return f"{rule.above:g}{_WORDS[rule.metric][1]}", f"above {rule.above:g}"


def _deviates(rule: KLSpike, metric: str, samples: Samples, values: list[float], mean: float) -> tuple[str, str] | None:
    """Compare the window with the median and the robust deviation of the `baselineSteps` before it.

    The whole window must be high, not its mean alone: one outlier is no spike of the policy.
    """
    assert rule.deviations is not None
    before = samples[-rule.window_steps - rule.baseline : -rule.window_steps]
    known = [value for sample in before if (value := number(sample, metric)) is not None]
    if len(known) < rule.baseline or mean <= min(known):
        return None
    middle, deviation = median_and_deviation(known)
    deviation = max(deviation, _LEAST_DEVIATION * abs(middle))
    high, low = mean - middle, min(values) - middle
    if not (high > rule.deviations * deviation and low > rule.deviations * deviation / 2):
        return None
    unit = _WORDS[rule.metric][1]
    bound = f"{rule.deviations:g} robust deviations over the median of the {rule.baseline} steps before"
    multiple = f"{high / deviation:.1f} robust deviations of {deviation:.2g}{unit}" if deviation else "off"
    return bound, f"{multiple} above the median {middle:.3g} of {steps_text(before)}; above {rule.deviations:g} asked"


def steps_text(window: Samples) -> str:
    """`step 7`, `steps 7-9`."""
    first, last = window[0]["step"], window[-1]["step"]
    return f"step {first}" if first == last else f"steps {first}-{last}"
