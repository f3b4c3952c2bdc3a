"""What a run's health is judged by: a handful of numbers, folded from the metrics of its steps. Pure.

The learner computes them once a step, tells them to its body and exports them to Prometheus; the report computes them
from `metrics.jsonl`. Advice (`prorl_control.advice`) and alerts compare the same numbers with the same bounds, so that
both windows and thresholds are one thing. A value for which there are too few steps is absent, never 0.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prorl_api.metrics import Metric

Lines = Sequence[Mapping[str, Any]]
Vitals = dict[str, float]
"""Name, or `name/source`, to value."""

WINDOW_STEPS = 10
"""Steps that are averaged: a single step says little."""
LONG_WINDOW_STEPS = 50
"""Steps over which a KL beyond its bound is no passing spike."""
LAST_VALIDATIONS = 2
"""Validations that must all be low before validation counts as fallen."""
_OF_SOURCE = "validation_source_accuracy"
_MASKED = ("rollouts_masked_unsupported", "rollouts_masked_sandbox_error")


def _m(name: str, unit: str, help_text: str, *, by_source: bool = False) -> Metric:
    return Metric(name=name, unit=unit, help=help_text, by_source=by_source)


VITALS: tuple[Metric, ...] = (
    _m("step_usual", "seconds", f"Median time of the last {WINDOW_STEPS} steps, validations and checkpoints left out."),
    _m("step_pause_longest", "seconds", f"Longest validation with checkpoint in the last {LONG_WINDOW_STEPS} steps."),
    _m("kl_long", "nats", f"KL to the reference, mean of {LONG_WINDOW_STEPS} steps since the last reset."),
    _m(
        "kl_loss_share_long",
        "ratio",
        f"KL's share of the loss, mean of {LONG_WINDOW_STEPS} steps since the last reset.",
    ),
    _m("groups_kept_recent", "ratio", f"Share of sampled groups with a signal, over the last {WINDOW_STEPS} steps."),
    _m("truncated_recent", "ratio", f"Share of completions cut at the limit, mean of the last {WINDOW_STEPS} steps."),
    _m("mismatch_logprob_recent", "nats", f"Engine against learner, mean of the last {WINDOW_STEPS} steps."),
    _m(
        "rollouts_masked_recent",
        "ratio",
        f"Share of a source's rollouts without a verdict, over the last {WINDOW_STEPS} steps.",
        by_source=True,
    ),
    _m("reward_recent", "", f"Mean reward of sampled rollouts over the last {WINDOW_STEPS} steps."),
    _m("reward_at_best", "", f"The same over the {WINDOW_STEPS} steps up to the best validation."),
    _m("validation_newest", "", "Validation accuracy of the newest validation: no scrape misses it."),
    _m("validation_source_newest", "", "The same of one source.", by_source=True),
    _m("validation_best", "", "Best validation accuracy so far."),
    _m("validation_recent", "", f"The best of the last {LAST_VALIDATIONS} validations, which came after the best one."),
    _m(
        "entropy_sampled_recent",
        "nats",
        f"Sampled entropy of one source, mean of its last {WINDOW_STEPS} steps.",
        by_source=True,
    ),
    _m(
        "entropy_sampled_start",
        "nats",
        f"Sampled entropy of one source, mean of its first {WINDOW_STEPS} steps.",
        by_source=True,
    ),
)


def vitals(lines: Lines) -> Vitals:
    """Fold the surviving lines of the metrics table, ascending, into the values of `VITALS`."""
    steps = [line for line in lines if line["step"] > 0]  # step 0 is the validation before training
    found = _of_time(steps) | _of_kl(steps) | _of_sampling(steps) | _of_validation(lines) | _of_sources(steps)
    return {name: value for name, value in found.items() if value is not None and math.isfinite(value)}


def _of_time(steps: Lines) -> dict[str, float | None]:
    pauses = [_sum(line, ("seconds_validating", "seconds_checkpointing")) for line in steps]
    work = [
        total - pause
        for line, pause in zip(steps, pauses, strict=True)
        if (total := _number(line, "seconds_total")) is not None
    ]
    return {
        "step_timestamp": _number(steps[-1], "time") if steps else None,
        "step_usual": statistics.median(work[-WINDOW_STEPS:]) if work else None,
        "step_pause_longest": max(pauses[-LONG_WINDOW_STEPS:], default=None),
    }


def _of_kl(steps: Lines) -> dict[str, float | None]:
    """Return the mean over the long window, if all of it was measured to the same reference.

    A reset comes after the line of its step, so the lines with the new count are measured to the new reference.
    """
    since = max((line.get("resets_total", 0) for line in steps), default=0)
    same = [line for line in steps if line.get("resets_total", 0) == since]
    return {f"{name}_long": _mean(same, name, LONG_WINDOW_STEPS, LONG_WINDOW_STEPS) for name in ("kl", "kl_loss_share")}


def _of_sampling(steps: Lines) -> dict[str, float | None]:
    window = steps[-WINDOW_STEPS:]
    counted = [line for line in window if _number(line, "groups_kept") is not None and line.get("groups_sampled")]
    sampled = math.fsum(line["groups_sampled"] for line in counted)
    kept = math.fsum(line["groups_kept"] * line["groups_sampled"] for line in counted)
    return {
        "groups_kept_recent": kept / sampled if len(counted) == WINDOW_STEPS else None,
        "truncated_recent": _mean(steps, "truncated"),
        "mismatch_logprob_recent": _mean(steps, "mismatch_logprob"),
        "reward_recent": _mean(steps, "reward_mean"),
    }


def _of_validation(lines: Lines) -> dict[str, float | None]:
    judged = [(line["step"], value) for line in lines if (value := _number(line, "validation_accuracy")) is not None]
    if not judged:
        return {}
    best_step, best = max(judged, key=lambda item: item[1])
    later = [value for step, value in judged if step > best_step]
    before = [line for line in lines if 0 < line["step"] <= max(best_step, WINDOW_STEPS)]
    sources = sources_of(lines, _OF_SOURCE)
    by_name = {
        source: [v for line in lines if (v := _number(line, f"{_OF_SOURCE}/{source}")) is not None]
        for source in sources
    }
    return {
        **{f"validation_source_newest/{source}": values[-1] for source, values in by_name.items() if values},
        "validation_newest": judged[-1][1],
        "validation_best": best,
        "validation_recent": max(later[-LAST_VALIDATIONS:]) if len(later) >= LAST_VALIDATIONS else None,
        "reward_at_best": _mean(before, "reward_mean"),
    }


def _of_sources(steps: Lines) -> dict[str, float | None]:
    """Return what is judged for each source, which may not be sampled in every step."""
    found: dict[str, float | None] = {}
    for source in sources_of(steps, "entropy_sampled"):
        values = [value for line in steps if (value := _number(line, f"entropy_sampled/{source}")) is not None]
        if len(values) >= WINDOW_STEPS:
            found[f"entropy_sampled_start/{source}"] = _average(values[:WINDOW_STEPS])
        if len(values) >= 2 * WINDOW_STEPS:
            found[f"entropy_sampled_recent/{source}"] = _average(values[-WINDOW_STEPS:])
    window = steps[-WINDOW_STEPS:]
    for source in sources_of(window, "rollouts_sampled") if len(window) == WINDOW_STEPS else ():
        sampled = math.fsum(_sum(line, (f"rollouts_sampled/{source}",)) for line in window)
        masked = math.fsum(_sum(line, (f"{name}/{source}" for name in _MASKED)) for line in window)
        found[f"rollouts_masked_recent/{source}"] = masked / sampled if sampled else None
    return found


def sources_of(lines: Lines, metric: str) -> tuple[str, ...]:
    """Return the sources for which lines have a metric by source, in order of first appearance."""
    prefix = f"{metric}/"
    return tuple(dict.fromkeys(key.removeprefix(prefix) for line in lines for key in line if key.startswith(prefix)))


def by_source(values: Mapping[str, float], name: str) -> dict[str, float]:
    """Return the values of a vital by source."""
    prefix = f"{name}/"
    return {key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)}


def _mean(lines: Lines, name: str, window: int = WINDOW_STEPS, at_least: int = WINDOW_STEPS) -> float | None:
    """Return the mean of the newest `window` lines that have the value; None with fewer than `at_least`."""
    values = [value for line in lines if (value := _number(line, name)) is not None][-window:]
    return _average(values) if len(values) >= at_least else None


def _average(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _sum(line: Mapping[str, Any], names: Iterable[str]) -> float:
    return math.fsum(value for name in names if (value := _number(line, name)) is not None)


def _number(line: Mapping[str, Any], name: str) -> float | None:
    value = line.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
