"""Building blocks of the page's charts, as plain plotly figures (dicts). Pure.

Colours are names of the style sheet's properties (`var(--s1)`); the page's script resolves them, so that one figure
serves light and dark. Every text that plotly draws goes through `safe`, because plotly reads a subset of HTML.
"""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from prorl_api.resets import ResetCondition, ResetRecord
from prorl_cli.report.loading import Line

Figure = dict[str, Any]
Trace = dict[str, Any]

INK, MUTED, MARK, BOUND = "var(--ink)", "var(--muted)", "var(--mark)", "var(--bound)"
_PALETTE_SIZE = 8
_DASHES = ("solid", "dash", "dot")
_HOVER_WIDTH = 48
_HOVER_LENGTH = 300
_POINTS_WITH_MARKERS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """What every chart shares: the horizontal axis and the events on it."""

    last: float
    """Where the axis ends: a step, or minutes."""
    traces: tuple[Trace, ...]
    """Vertical lines with their hover texts."""
    axis: str = "step"
    """Title of the axis; charts with the same one are zoomed together."""


def safe(text: str) -> str:
    """Text for plotly: escaped, shortened and wrapped."""
    short = textwrap.shorten(text, _HOVER_LENGTH, placeholder=" …")
    return "<br>".join(html.escape(line) for line in textwrap.wrap(short, _HOVER_WIDTH))


def colour(index: int) -> str:
    """Return the colour-blind safe palette, in a fixed order."""
    return f"var(--s{index % _PALETTE_SIZE + 1})"


def line(steps: Sequence[float], values: Sequence[float], *, name: str, index: int = 0, shown: str = ".3f") -> Trace:
    """Draw one curve; `shown` is the d3 format of its values in hover texts."""
    few = len(steps) <= _POINTS_WITH_MARKERS
    dash = _DASHES[index // _PALETTE_SIZE % len(_DASHES)]
    return {
        "type": "scatter",
        "mode": "lines+markers" if few else "lines",
        "x": list(steps),
        "y": [_short(value) for value in values],
        "name": safe(name),
        "meta": name,
        "line": {"color": colour(index), "width": 2 if few else 1.2, "dash": dash},
        "marker": {"color": colour(index), "size": 5},
        "hovertemplate": f"{safe(name)}: <b>%{{y:{shown}}}</b><extra></extra>",
    }


def with_error_bars(trace: Trace, below: Sequence[float], above: Sequence[float]) -> Trace:
    """Return the curve with asymmetric bars of these lengths.

    Hover texts name their ends, also where bars would blur.
    """
    bars = {
        "type": "data",
        "visible": len(below) <= _POINTS_WITH_MARKERS,
        "symmetric": False,
        "array": [_short(length) for length in above],
        "arrayminus": [_short(length) for length in below],
        "color": trace["line"]["color"],
        "thickness": 1.2,
        "width": 3,
    }
    ends = zip(trace["y"], below, above, strict=True)
    texts = [f"{value - low:.3f} to {value + high:.3f}" for value, low, high in ends]
    hover = trace["hovertemplate"].replace("<extra>", " (%{text})<extra>")
    return {**trace, "error_y": bars, "text": texts, "hovertemplate": hover}


def bar(steps: Sequence[int], values: Sequence[float], *, name: str, index: int) -> Trace:
    """Draw one part of stacked bars."""
    return {
        "type": "bar",
        "x": list(steps),
        "y": [_short(value) for value in values],
        "name": safe(name),
        "meta": name,
        # Colours come again after eight parts: striped then.
        "marker": {
            "color": colour(index),
            "line": {"width": 0},
            "pattern": {"shape": "/" if index >= _PALETTE_SIZE else ""},
        },
        "hovertemplate": f"{safe(name)}: <b>%{{y:.1f}} s</b><extra></extra>",
    }


def bound(last: float, height: float, *, name: str) -> Trace:
    """Draw a trigger's bound as a horizontal dashed line."""
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [0, max(1, last)],
        "y": [height, height],
        "name": safe(name),
        "meta": name,
        "line": {"color": BOUND, "width": 1.5, "dash": "dash"},
        "hoverinfo": "skip",
    }


def figure(traces: Sequence[Trace], timeline: Timeline, *, unit: str, ticks: str = "", bounded: bool = False) -> Figure:
    """Return a chart over steps, with the run's events on a second, hidden axis.

    Args:
        traces: Curves or stacked bars.
        timeline: The run's range and events.
        unit: Title of the value axis.
        ticks: d3 format of its numbers; empty: plain ones.
        bounded: Values lie in 0 to 1 and the whole range matters.
    """
    last = max(1, timeline.last)
    is_steps = timeline.axis == "step"
    yaxis: dict[str, Any] = {
        "title": {"text": unit},
        "fixedrange": True,
        "rangemode": "tozero",
        # Plotly would write a share of 0.0008 as 800µ.
        "exponentformat": "none",
        **({"tickformat": ticks} if ticks else {}),
    }
    if bounded:
        yaxis["range"] = [-0.02, 1.02]
    layout = {
        "hovermode": "x unified",
        "dragmode": "zoom",
        "barmode": "stack",
        "bargap": 0.15,
        "showlegend": False,
        "xaxis": {
            "title": {"text": timeline.axis},
            "range": [-0.03 * last - 0.2, 1.03 * last + 0.2],
            "unifiedhovertitle": {"text": f"{timeline.axis} %{{x}}"},
            **({"dtick": 1} if is_steps and last <= 12 else {"tickformat": ",d"} if is_steps else {}),
        },
        "yaxis": yaxis,
        "yaxis2": {"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True},
    }
    return {"data": [*traces, *timeline.traces], "layout": layout}


def timeline_of(lines: Sequence[Line], resets: Sequence[ResetRecord]) -> Timeline:
    """Mark applied resets by solid lines, resumes by dotted ones."""
    applied = [
        (record.applied_step, reset_text(record))
        for record in resets
        if record.condition is ResetCondition.APPLIED and record.applied_step is not None
    ]
    resumed = [
        (later["step"], f"<b>resumed</b>: first step of attempt {later['attempt']}")
        for earlier, later in pairwise(lines)
        if later["attempt"] != earlier["attempt"]
    ]
    traces = [
        vertical(events, colour=mark, dash=dash, symbol=symbol)
        for events, mark, dash, symbol in (
            (applied, MARK, "solid", "triangle-down"),
            (resumed, MUTED, "dot", "diamond-open"),
        )
        if events
    ]
    last = max([line["step"] for line in lines] + [step for step, _ in applied], default=0)
    return Timeline(last=last, traces=tuple(traces))


def vertical(events: Sequence[tuple[float, str]], *, colour: str, dash: str, symbol: str) -> Trace:
    """Draw vertical lines as one trace, because plotly's shapes have no hover text."""
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": [at for step, _ in events for at in (step, step, None)],
        "y": [at for _ in events for at in (1, 0, None)],
        "text": [at for _, text in events for at in (text, text, "")],
        "hovertemplate": "%{text}<extra></extra>",
        "yaxis": "y2",
        "cliponaxis": False,
        "line": {"color": colour, "width": 1.5, "dash": dash},
        "marker": {
            "color": colour,
            "symbol": [symbol, "line-ns", symbol] * len(events),
            "size": [9, 0, 0] * len(events),
        },
    }


def reset_text(record: ResetRecord) -> str:
    """Return what a reset's line says when pointed at."""
    first = f"<b>reset {record.number}</b> after step {record.applied_step}, trigger {safe(record.evidence.trigger)}"
    return f"{first}<br>{safe(record.evidence.reason)}"


def _short(number: float) -> float:
    """Six significant digits: all that a chart can show, and a page half as large."""
    return float(f"{number:.6g}")
