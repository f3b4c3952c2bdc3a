"""Validation that stalls or drops: by plain comparison, or with the sampling noise of the validations."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from prorl_api.resets import Evidence
from prorl_api.spec.triggers import ValidationDropped, ValidationStalled, WeightedSource
from prorl_control.resets.samples import ACCURACY, Samples, Validation, validations
from prorl_control.resets.statistics import fitted_line, normal_quantile, student_quantile, successive_variance

_LEAST_VARIANCE = 1e-12


def validation_stalled(name: str, rule: ValidationStalled, samples: Samples) -> Evidence | None:
    """Find no gain for `patience` validations."""
    newest = None if rule.confidence is None else rule.patience + 1
    found = validations(samples, rule.sources, newest=newest)
    if len(found) <= rule.patience:
        return None
    return _not_beaten(name, rule, found) if rule.confidence is None else _not_rising(name, rule, found)


def _not_beaten(name: str, rule: ValidationStalled, found: Sequence[Validation]) -> Evidence | None:
    """No gain of `minGain` over the best for `patience` validations; the best moves only by such a gain."""
    best_at, best = 0, found[0].accuracy
    for position, validation in enumerate(found):
        if validation.accuracy > best and validation.accuracy - best >= rule.min_gain:
            best_at, best = position, validation.accuracy
    since_best = found[best_at:]
    if len(since_best) - 1 < rule.patience:
        return None
    return _evidence(
        name,
        rule.sources,
        since_best,
        rule=f"{rule.patience} validations without a gain of {rule.min_gain:g} over the best",
        reason=(
            f"{_what(rule.sources)} has not beaten {best:.3f} of step {since_best[0].step} by {rule.min_gain:g} in the "
            f"{len(since_best) - 1} validations since"
        ),
    )


def _not_rising(name: str, rule: ValidationStalled, found: Sequence[Validation]) -> Evidence | None:
    """Fit a line through the last `patience` + 1 validations: no rise above `minGain`, as far as noise lets see.

    The gain is the slope times the steps between the first and the last of them. It counts where its lower confidence
    bound, one-sided, is above `minGain`. Where nobody says how noisy validations are, their residuals do.
    """
    assert rule.confidence is not None
    window = found[-rule.patience - 1 :]
    steps = [float(validation.step) for validation in window]
    slope, error, _ = fitted_line(steps, [item.accuracy for item in window], _variances(window))
    span = steps[-1] - steps[0]
    is_known = all(item.variance is not None for item in window)
    quantile = normal_quantile(rule.confidence) if is_known else student_quantile(rule.confidence, len(window) - 2)
    gain, margin = slope * span, quantile * error * span
    if gain - margin > rule.min_gain:
        return None
    percent = f"{100 * rule.confidence:g} %"
    return _evidence(
        name,
        rule.sources,
        window,
        rule=f"{rule.patience} validations whose fitted gain is not above {rule.min_gain:g} at {percent} confidence",
        reason=(
            f"{_what(rule.sources)} gained {gain:+.3f} over steps {window[0].step}-{window[-1].step} "
            f"({len(window)} validations{_size(window)}), at {percent} confidence at least {gain - margin:+.3f}; above "
            f"{rule.min_gain:g} asked"
        ),
    )


def validation_dropped(name: str, rule: ValidationDropped, samples: Samples) -> Evidence | None:
    """Find the last `validations` values all below the best before them: by `belowBest`, and beyond noise if asked."""
    found = validations(samples, rule.sources)
    earlier, last = found[: -rule.validations], found[-rule.validations :]
    if not earlier:
        return None
    best = max(earlier, key=lambda item: item.accuracy)
    least = rule.below_best or 0.0
    if any(best.accuracy - item.accuracy < least or item.accuracy >= best.accuracy for item in last):
        return None
    margin = 0.0
    if rule.confidence is not None:
        margin = _drop_margin(rule.confidence, found, earlier, best, last)
        if best.accuracy - statistics.fmean(item.accuracy for item in last) <= margin:
            return None
    values = ", ".join(f"{item.accuracy:.3f}" for item in last)
    where = f"step{'s' if len(last) > 1 else ''} {', '.join(str(item.step) for item in last)}"
    below = "below" if rule.below_best is None else f"at least {least:g} below"
    beyond = f"{100 * rule.confidence:g} % confidence" if rule.confidence is not None else ""
    return _evidence(
        name,
        rule.sources,
        [best, *last],
        rule=f"{rule.validations} validations in a row {below} the best"
        + (f", beyond noise at {beyond}" if beyond else ""),
        reason=f"{_what(rule.sources)} fell to {values} at {where}, {below} {best.accuracy:.3f} of step {best.step}"
        + (f"; noise alone explains {margin:.3f} at {beyond}" if beyond else ""),
    )


def _drop_margin(
    confidence: float,
    found: Sequence[Validation],
    earlier: Sequence[Validation],
    best: Validation,
    last: Sequence[Validation],
) -> float:
    """Return how far noise alone lets the mean of the last validations fall below the best of those before.

    By the union bound. The best is one of `len(earlier)` that might have been; and the look after n validations gets
    1 / (n (n + 1)) of the error probability, which sums to 1 over every look there will ever be. Of the noise that
    sampling predicts and the one that successive validations show, the larger counts.
    """
    looks, candidates = len(found), len(earlier)
    error = (1 - confidence) / (looks * (looks + 1) * candidates)
    observed = successive_variance([item.accuracy for item in earlier])
    of_best = max(best.variance or 0.0, observed, _LEAST_VARIANCE)
    of_last = math.fsum(max(item.variance or 0.0, observed, _LEAST_VARIANCE) for item in last) / len(last) ** 2
    if best.variance is None and len(earlier) < 3:
        return math.inf  # nothing says how noisy validations are
    return -normal_quantile(error) * math.sqrt(of_best + of_last)


def _variances(window: Sequence[Validation]) -> list[float]:
    """Return the sampling variances; where they are not known equal ones, which residuals then scale."""
    known = [item.variance for item in window if item.variance is not None]
    return known if len(known) == len(window) else [_LEAST_VARIANCE] * len(window)


def _size(window: Sequence[Validation]) -> str:
    counts = {item.count for item in window}
    (count,) = counts if len(counts) == 1 else (None,)
    return f" of {count:.0f} completions" if count is not None else ""


def _what(sources: Sequence[WeightedSource]) -> str:
    if not sources:
        return "held-out accuracy"
    if len(sources) == 1:
        return f"held-out accuracy of {sources[0].name}"
    return f"held-out accuracy blended from {', '.join(f'{item.weight:g} x {item.name}' for item in sources)}"


def metric_of(sources: Sequence[WeightedSource]) -> str:
    """Return the metric that evidence names: the overall accuracy, that of a source, or of several."""
    if len(sources) == 1:
        return f"validation_source_accuracy/{sources[0].name}"
    return "validation_source_accuracy" if sources else ACCURACY


def _evidence(
    name: str, sources: Sequence[WeightedSource], shown: Sequence[Validation], *, rule: str, reason: str
) -> Evidence:
    return Evidence(
        trigger=name,
        metric=metric_of(sources),
        rule=rule,
        steps=tuple(item.step for item in shown),
        values=tuple(item.accuracy for item in shown),
        reason=reason,
    )
