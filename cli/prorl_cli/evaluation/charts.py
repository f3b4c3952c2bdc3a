"""The boundary page's charts: pass@k by group, sweeps over difficulty, gain against competence. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from prorl_analysis.comparison import Comparison, Row
from prorl_analysis.estimators import Estimate
from prorl_cli.report.charts import Chart
from prorl_cli.report.figures import Figure, Timeline, Trace, figure, line, with_error_bars
from prorl_cli.report.sections import Section

BASE = "base"


def boundary_sections(comparisons: Sequence[Comparison], labels: Mapping[str, str]) -> list[Section]:
    """Return all charts; sections without any are left out."""
    sections = [
        Section(
            title="pass@k",
            intro="Unbiased estimates with 95 % intervals over items. A checkpoint whose curve crosses the base's from "
            "above answers more surely and reaches less.",
            charts=tuple(_curve(name, comparisons, labels) for name in _names(comparisons)),
        ),
        Section(
            title="Over difficulty",
            intro="pass@1 by level, for groups whose names differ in a small number at the end.",
            charts=tuple(_sweeps(comparisons, labels)),
        ),
        Section(
            title="Gain against the base's competence",
            intro="One point a task. Competence and gain are measured on different halves of the base's samples, so "
            "that luck does not count in both; that gains are small where the base is near 1 is arithmetic.",
            charts=tuple(_competence(found, labels) for found in comparisons if len(found.tasks) > 1),
        ),
    ]
    return [section for section in sections if section.charts]


def _names(comparisons: Sequence[Comparison]) -> list[str]:
    return list(dict.fromkeys(row.name for found in comparisons for row in found.rows))


def _rows(name: str, comparisons: Sequence[Comparison]) -> list[tuple[Comparison, Row]]:
    return [(found, row) for found in comparisons for row in found.rows if row.name == name]


def _curve(name: str, comparisons: Sequence[Comparison], labels: Mapping[str, str]) -> Chart:
    rows = _rows(name, comparisons)
    first = rows[0][1].boundary.curve
    traces = [_estimates([k for k, _, _ in first], [before for _, before, _ in first], BASE, 0)]
    for index, (found, row) in enumerate(rows, start=1):
        curve = row.boundary.curve
        traces.append(
            _estimates([k for k, _, _ in curve], [after for _, _, after in curve], labels[found.checkpoint], index)
        )
    trained = {True: "trained on", False: "out of distribution", None: ""}[rows[0][1].is_trained]
    items = f"{rows[0][1].base.average.num_items} items"
    drawn = _figure(traces, axis=f"k of {name}", unit="pass@k", last=first[-1][0])
    drawn["layout"]["xaxis"] |= {
        "type": "log", "range": [-0.05, math.log10(first[-1][0]) + 0.05], "title": {"text": f"k of {name}"},
        "tickvals": [k for k, _, _ in first], "ticktext": [str(k) for k, _, _ in first],
    }  # fmt: skip
    return Chart(title=name, meaning=", ".join(filter(None, (items, trained))) + ".", figure=drawn)


def _sweeps(comparisons: Sequence[Comparison], labels: Mapping[str, str]) -> list[Chart]:
    charts = []
    for sweep in comparisons[0].sweeps:
        levels = [level for level, _ in sweep.levels]
        rows = {found.checkpoint: {row.name: row for row in found.rows} for found in comparisons}
        first = rows[comparisons[0].checkpoint]
        traces = [_estimates(levels, [first[name].base.average for _, name in sweep.levels], BASE, 0)]
        for index, found in enumerate(comparisons, start=1):
            if all(name in rows[found.checkpoint] for _, name in sweep.levels):
                values = [rows[found.checkpoint][name].checkpoint.average for _, name in sweep.levels]
                traces.append(_estimates(levels, values, labels[found.checkpoint], index))
        trained = [str(level) for level, name in sweep.levels if first[name].is_trained]
        said = f"Trained at {', '.join(trained)}." if trained else "Which levels are trained on is not said."
        drawn = _figure(traces, axis=f"level of {sweep.stem}", unit="pass@1", last=levels[-1])
        charts.append(Chart(title=sweep.stem, meaning=said, figure=drawn))
    return charts


def _competence(found: Comparison, labels: Mapping[str, str]) -> Chart:
    points = sorted(found.tasks, key=lambda point: point.competence)
    trace = line(
        [point.competence for point in points], [point.gain for point in points], name=labels[found.checkpoint], index=1
    )
    trace |= {"mode": "markers", "text": [point.name for point in points]}
    trace["hovertemplate"] = "%{text}: <b>%{y:+.3f}</b> at %{x:.3f}<extra></extra>"
    drawn = _figure([trace], axis="the base's pass@1", unit="gain of pass@1", last=1)
    drawn["layout"] |= {"hovermode": "closest"}
    drawn["layout"]["xaxis"] |= {"range": [-0.03, 1.03]}
    drawn["layout"]["yaxis"] |= {"rangemode": "normal"}
    return Chart(title=labels[found.checkpoint], meaning=_correlation(found.task_competence), figure=drawn)


def _correlation(found: Estimate | None) -> str:
    if found is None:
        return "Too few tasks, or none that differ, for a correlation."
    if found.low is None or found.high is None:
        return f"Correlation {found.value:+.2f} over {found.num_items} tasks."
    return (
        f"Correlation {found.value:+.2f}, 95 % interval {found.low:+.2f} to {found.high:+.2f}, {found.num_items} tasks."
    )


def _estimates(places: Sequence[float], values: Sequence[Estimate], name: str, index: int) -> Trace:
    trace = line(places, [value.value for value in values], name=name, index=index)
    below = [value.value - (value.value if value.low is None else value.low) for value in values]
    above = [(value.value if value.high is None else value.high) - value.value for value in values]
    return with_error_bars(trace, below, above) if any(below) or any(above) else trace


def _figure(traces: Sequence[Trace], *, axis: str, unit: str, last: float) -> Figure:
    return figure(traces, Timeline(last=last, traces=(), axis=axis), unit=unit)
