"""The comparison as tables for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prorl_cli.durations import duration
from prorl_cli.report.compare import Comparison
from prorl_cli.report.words import between, score, signed

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print what the runs came to, their differences on the same items, and the settings that differ."""
    tables = [_runs(comparison), *([_items(comparison)] if comparison.differences else []), _settings(comparison)]
    for table in tables:
        console.print()
        console.print(table)
    for note in comparison.notes:
        console.print(note, markup=False, highlight=False)


def _table(title: str, *columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", overflow="fold")
    return table


def _runs(comparison: Comparison) -> Table:
    from rich.text import Text

    table = _table("Runs", "run", "state", "step", "held-out before", "after", "resets", "time")
    for run in comparison.runs:
        summary = run.summary
        overall = summary.held_out[0] if summary.held_out else None
        table.add_row(
            Text(run.label),
            summary.state.value,
            f"{summary.step}/{summary.total_steps or '?'}",
            score(overall.before if overall else None),
            score(overall.after if overall else None),
            str(len(summary.applied_resets)),
            duration(summary.time.seconds),
        )
    return table


def _items(comparison: Comparison) -> Table:
    from rich.text import Text

    first = comparison.runs[0].label
    table = _table(
        "On the same held-out items", "run", "source", "steps", first, "run", "difference", "95 % interval", "n"
    )
    for row in comparison.differences:
        steps = f"{row.first_step}" if row.first_step == row.second_step else f"{row.first_step} and {row.second_step}"
        table.add_row(
            Text(row.second),
            Text(row.source),
            steps,
            score(row.paired.before),
            score(row.paired.after),
            signed(row.paired.gain),
            between(row.paired.interval),
            str(row.paired.n),
        )
    return table


def _settings(comparison: Comparison) -> Table:
    from rich.text import Text

    table = _table("Settings that differ", "field", *(run.label for run in comparison.runs))
    for row in comparison.settings:
        table.add_row(Text(row.path), *map(Text, row.values))
    return table
