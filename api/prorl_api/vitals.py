"""What a run's health is judged by: a handful of numbers, folded from the metrics of its steps. Pure.

The learner computes them once a step, tells them to its body and exports them to Prometheus; the report computes them
from `metrics.jsonl`. Advice (`prorl_control.advice`) and alerts compare the same numbers with the same bounds, so that
both windows and thresholds are one thing. A value for which there are too few steps is absent, never 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prorl_api.metrics import Metric
from prorl_api.vitals_fold import LAST_VALIDATIONS, LONG_WINDOW_STEPS, WINDOW_STEPS, Line, Vitals, VitalsFold


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


def vitals(lines: Iterable[Line]) -> Vitals:
    """Fold the surviving lines of the metrics table, ascending, into the values of `VITALS`."""
    fold = VitalsFold()
    for line in lines:
        fold.add(line)
    return fold.values()


def by_source(values: Mapping[str, float], name: str) -> dict[str, float]:
    """Return the values of a vital by source."""
    prefix = f"{name}/"
    return {key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)}
