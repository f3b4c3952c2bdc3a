"""The page's pictures, drawn by matplotlib; equal data make equal files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from prorl_analysis.prolonged import claims, words
from prorl_analysis.prolonged.findings import Judged, Kept
from prorl_analysis.prolonged.record import Evaluation, Record

CURVES, PASSES, OVERVIEW = "curves.svg", "pass-at-k.svg", "overview.svg"
_PANELS = (
    ("kl", "KL to the reference, nats a token"),
    ("kl_loss_share", "share of the KL term in the loss"),
    ("entropy", "entropy, nats a token"),
)
_COLUMNS = 4
_STYLES = ("-", "--", ":")
"""By seed."""


def draw(folder: Path, kept: Kept) -> None:
    """Draw what the data hold."""
    mpl.rcParams["svg.hashsalt"] = "prorl"  # names inside the file: always the same
    mpl.rcParams["font.size"] = 9
    colours = {arm.name: f"C{number}" for number, arm in enumerate(kept.arms.arms)}
    _save(_curves(kept.records, colours), folder / CURVES)
    if kept.judged:
        _save(_passes(kept.judged, colours), folder / PASSES)
        _save(_overview(kept, colours), folder / OVERVIEW)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None}, bbox_inches="tight")


def _label(record: Record) -> str:
    return f"{record.arm}, seed {record.seed}"


def _style(record: Record) -> str:
    return _STYLES[(record.seed - 1) % len(_STYLES)]


def _overview(kept: Kept, colours: dict[str, str]) -> Figure:
    """Draw what training did by arm, and where the base had nothing: the one picture."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    steps_axis, depths_axis = figure.subplots(1, 2)
    for record in kept.records:
        accuracy = record.validations.get("all", ())
        steps_axis.plot(record.validation_steps, accuracy, color=colours[record.arm], linewidth=0.9, alpha=0.8)
        at = dict(zip(record.validation_steps, accuracy, strict=True))
        for reset in record.resets:
            near = min(at, key=lambda step: (abs(step - reset.step), step))
            steps_axis.plot(reset.step, at[near], "v", color=colours[record.arm], markersize=6)
    steps_axis.set_title("held-out accuracy, depths 1 to 8; a line a seed, ▼ a reset of the reference")
    steps_axis.set_xlabel("step")
    if kept.base is not None:
        _depths(depths_axis, kept, kept.base.evaluation, colours)
    return figure


def _depths(axis: Axes, kept: Kept, base: Evaluation, colours: dict[str, str]) -> None:
    sources = list(base.levels)
    places = range(len(sources))
    axis.plot(places, [claims.mean_share(base, source) for source in sources], "k.--", label="base")
    levels = kept.levels
    most = max((len(level.seeds) for level in levels), default=0)
    for number, level in enumerate(levels):
        beside = 0.08 * (number - (len(levels) - 1) / 2)  # dots of arms that came to the same stay visible
        means = [sum(level.means[source]) / len(level.means[source]) for source in sources]
        label = f"{level.arm}, step {level.step}, {words.quantity(len(level.seeds), 'seed')}"
        line = "-" if len(level.seeds) == most else ":"
        axis.plot([place + beside for place in places], means, color=colours[level.arm], linestyle=line, label=label)
        for place, source in zip(places, sources, strict=True):
            seeds = level.means[source]
            axis.plot([place + beside] * len(seeds), seeds, ".", color=colours[level.arm])
    axis.set_xticks(list(places), [source.removeprefix("depth-") for source in sources])
    axis.set_title("pass@1 by depth; a dot a seed")
    axis.set_xlabel("depth")
    axis.legend(fontsize=8)


def _curves(records: Sequence[Record], colours: dict[str, str]) -> Figure:
    figure = Figure(figsize=(10, 10), layout="constrained")
    axes: Sequence[Axes] = figure.subplots(1 + len(_PANELS), 1, sharex=True)
    for record in records:
        colour, style, label = colours[record.arm], _style(record), _label(record)
        accuracy = record.validations.get("all", ())
        if not accuracy:  # it was shown solutions: nobody looked on the way
            continue
        axes[0].plot(record.validation_steps, accuracy, color=colour, linestyle=style, label=label)
        steps = [record.every * (block + 0.5) for block in range(len(record.curves["reward_mean"]))]
        for axis, (name, _) in zip(axes[1:], _PANELS, strict=True):
            values = [float("nan") if value is None else value for value in record.curves.get(name, ())]
            if values:
                axis.plot(steps[: len(values)], values, color=colour, linestyle=style)
        for axis in axes:
            for reset in record.resets:
                axis.axvline(reset.step, color=colour, linestyle=style, linewidth=0.7, alpha=0.6)
    axes[0].set_title("held-out accuracy over all depths; vertical lines: resets of the reference")
    axes[0].legend(loc="lower right", fontsize=8)
    for axis, (_, title) in zip(axes[1:], _PANELS, strict=True):
        axis.set_title(title)
    axes[-1].set_xlabel("step")
    return figure


def _passes(runs: Sequence[Judged], colours: dict[str, str]) -> Figure:
    num_sources = len(runs[0].boundaries)
    rows = -(-num_sources // _COLUMNS)
    figure = Figure(figsize=(12, 3 * rows), layout="constrained")
    axes = figure.subplots(rows, _COLUMNS, sharex=True, sharey=True, squeeze=False)
    for number, axis in zip(range(num_sources), axes.flat, strict=False):
        first = runs[0].boundaries[number]
        sizes = [k for k, _, _ in first.curve]
        axis.plot(sizes, [before.value for _, before, _ in first.curve], "k.-", label="base")
        for run in runs:
            after = [found.value for _, _, found in run.boundaries[number].curve]
            style = {"color": colours[run.record.arm], "linestyle": _style(run.record)}
            axis.plot(sizes, after, label=_label(run.record), **style)
        axis.set_xscale("log", base=2)
        axis.set_ylim(-0.03, 1.03)
        axis.set_title(first.source)
    axes[0][0].legend(fontsize=7)
    axes[-1][0].set_xlabel("k")
    axes[0][0].set_ylabel("pass@k")
    return figure
