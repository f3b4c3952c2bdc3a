"""The page's charts: which curves there are, and what each one tells someone new to ProRL. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from prorl_cli.report.figures import (
    INK,
    Figure,
    Timeline,
    Trace,
    bar,
    bound,
    figure,
    line,
    timeline_of,
    with_error_bars,
)
from prorl_cli.report.intervals import mean_interval
from prorl_cli.report.loading import Line, RunData, series, sources_of, value
from prorl_cli.report.samples import Rewards
from prorl_cli.report.timing import OTHER_IN_STEPS, PARTS, step_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One entry of a legend."""

    name: str
    colour: str
    style: str
    """CSS border style."""
    is_bar: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One chart with what it means."""

    title: str
    meaning: str
    """What it shows and what to watch for."""
    figure: Figure | None
    """None: nothing is recorded."""
    names_single: bool = False
    """Whether a single curve has a legend too."""

    @property
    def legend(self) -> list[Key]:
        """One key a curve, drawn by the page, where it wraps as text does; empty for a single curve."""
        traces = [trace for trace in (self.figure or {"data": []})["data"] if "meta" in trace]
        if len(traces) < (1 if self.names_single else 2):
            return []
        return [
            Key(
                name=trace["meta"],
                colour=trace["line"]["color"] if "line" in trace else trace["marker"]["color"],
                style={"dash": "dashed", "dot": "dotted"}.get(trace.get("line", {}).get("dash", ""), "solid"),
                is_bar=trace["type"] == "bar",
            )
            for trace in traces
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """A chart of metrics as they are: what differs between most of them."""

    title: str
    meaning: str
    unit: str
    curves: dict[str, str]
    """Metric to the curve's name."""
    shown: str = ".3f"
    """d3 format of values in hover texts."""
    ticks: str = ""
    """d3 format of the axis; empty: plain numbers."""
    trigger_metric: Literal["kl", "klLossShare"] | None = None
    """Bounds of KL triggers on this metric are drawn."""
    bounded: bool = False


def plain_chart(data: RunData, timeline: Timeline, plain: Plain) -> Chart:
    """Draw metrics as they stand in the lines."""
    traces = [
        line(*found, name=name, index=index, shown=plain.shown)
        for index, (metric, name) in enumerate(plain.curves.items())
        if (found := series(data.lines, metric))[0]
    ]
    bounds = _bounds(data, timeline, plain.trigger_metric) if traces else []
    drawn = (
        figure([*traces, *bounds], timeline, unit=plain.unit, ticks=plain.ticks, bounded=plain.bounded)
        if traces
        else None
    )
    return Chart(title=plain.title, meaning=plain.meaning, figure=drawn)


def validation_chart(data: RunData, timeline: Timeline, rewards: Rewards) -> Chart:
    """Held-out accuracy with 95 % intervals over items; several sources get a curve of all together."""
    sources = sources_of(data.lines, "validation_source_accuracy")
    curves: list[Trace] = []
    for index, source in enumerate(sources):
        metric = f"validation_source_accuracy/{source}"
        curves.append(_validation_curve(data.lines, metric, rewards, source, index))
    if len(sources) != 1 and series(data.lines, "validation_accuracy")[0]:
        together = _validation_curve(data.lines, "validation_accuracy", rewards, None, len(sources))
        together["line"] = {**together["line"], "color": INK, "width": 3, "dash": "solid"}
        together["marker"] = {**together["marker"], "color": INK}
        # The sources' bars say enough; a third one at the same step would hide them.
        curves.insert(0, together | {"error_y": {"visible": False}})
    return Chart(
        title="Held-out accuracy",
        meaning="Mean reward on prompts that are never trained on, the same ones each time; bars are 95 % intervals. "
        "Judge the run by this curve: rising is learning, a plateau or a fall is what resets are for.",
        figure=figure(curves, timeline, unit="accuracy (0 to 1)", bounded=True) if curves else None,
    )


def _validation_curve(lines: Sequence[Line], metric: str, rewards: Rewards, source: str | None, index: int) -> Trace:
    steps, values = series(tuple(lines), metric)
    below, above = [], []
    for step, accuracy in zip(steps, values, strict=True):
        items = [reward for item, reward in rewards.get(step, {}).items() if source in (None, item[0])]
        interval = mean_interval(items)
        below.append(max(0.0, accuracy - interval.low) if interval else 0.0)
        above.append(max(0.0, interval.high - accuracy) if interval else 0.0)
    trace = line(steps, values, name="all sources" if source is None else source, index=index)
    return with_error_bars(trace, below, above) if any(above) or any(below) else trace


def sampled_chart(data: RunData, timeline: Timeline) -> Chart:
    """Accuracy of training samples by source, and the mean reward of all."""
    curves = []
    for index, source in enumerate(sources_of(data.lines, "accuracy_sampled")):
        steps, values = series(data.lines, f"accuracy_sampled/{source}")
        curves.append(line(steps, values, name=f"accuracy, {source}", index=index))
    steps, values = series(data.lines, "reward_mean")
    if steps:
        overall = line(steps, values, name="mean reward, all sources", index=len(curves))
        dashed = {**overall["line"], "color": INK, "dash": "dot"}
        curves.append(overall | {"line": dashed, "marker": {"color": INK, "size": 4}})
    return Chart(
        title="Sampled accuracy and reward",
        meaning="How training completions were judged, before groups without a signal are dropped. New prompts every "
        "step make it noisy; if it rises while held-out accuracy does not, suspect memory or a gamed reward.",
        figure=figure(curves, timeline, unit="share right, reward (0 to 1)", bounded=True) if curves else None,
    )


def time_chart(data: RunData, timeline: Timeline) -> Chart:
    """Seconds of every step by part, stacked."""
    steps = [entry["step"] for entry in data.lines]
    parts = {label: [value(entry, name) or 0.0 for entry in data.lines] for name, label in PARTS.items()}
    parts[OTHER_IN_STEPS] = [
        step_seconds(entry) - sum(value(entry, name) or 0.0 for name in PARTS) for entry in data.lines
    ]
    shown = {label: seconds for label, seconds in parts.items() if max(seconds, default=0.0) > 0.05}
    bars = [bar(steps, seconds, name=label, index=index) for index, (label, seconds) in enumerate(shown.items())]
    return Chart(
        title="Seconds by part of the step",
        meaning="Where each step's wall time went. Tall steps are usually validations, checkpoints or refills of "
        "groups that carried no signal.",
        figure=figure(bars, timeline, unit="seconds") if bars else None,
    )


def speed_chart(data: RunData, timeline: Timeline) -> Chart:
    """Tokens per second of sampling and of updating."""
    curves: list[Trace] = []
    for amount, seconds, name in (
        ("tokens_generated", "seconds_sampling", "sampled, per second of sampling"),
        ("positions_trained", "seconds_updating", "trained positions, per second of updating"),
    ):
        rates = [
            (entry["step"], done / spent)
            for entry in data.lines
            if (done := value(entry, amount)) and (spent := value(entry, seconds))
        ]
        if rates:
            curves.append(
                line(
                    [step for step, _ in rates], [rate for _, rate in rates], name=name, index=len(curves), shown=",.0f"
                )
            )
    return Chart(
        title="Tokens per second",
        meaning="Speed of the rollout servers and of the learner. A lasting drop points at the machine or at "
        "completions that became longer.",
        figure=figure(curves, timeline, unit="tokens per second") if curves else None,
    )


def _bounds(data: RunData, timeline: Timeline, metric: str | None) -> list[Trace]:
    if data.job is None or metric is None:
        return []
    spikes = [(trigger.name, trigger.kl_spike) for trigger in data.job.spec.reference_reset.triggers]
    return [
        bound(timeline.last, spike.above, name=f"{name}: mean of {spike.window_steps} steps above {spike.above:g}")
        for name, spike in spikes
        if spike is not None and spike.above is not None and spike.metric == metric
    ]


def events(data: RunData) -> Timeline:
    """Return the run's range of steps and its marks."""
    return timeline_of(data.lines, data.resets)
