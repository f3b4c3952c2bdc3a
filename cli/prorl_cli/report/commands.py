"""What `prorl report` does: one run's summary and page, or several runs compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prorl_cli.report import write_report
from prorl_cli.report.loading import readable

if TYPE_CHECKING:
    from rich.console import Console


def report_run(path: Path, output: Path | None, console: Console) -> None:
    """Print a run's summary and write its page.

    Raises:
        RunFolderError: There is no run that can be read.
        StorageError: The page cannot be written.
    """
    from prorl_cli.report.summary import print_summary

    run = readable(path)
    written = write_report(run, output)  # before the table, which names it under what comes next
    print_summary(run, console, report=written)
    _say(f"report: {written}", console)


def report_comparison(paths: Sequence[Path], output: Path, console: Console) -> None:
    """Print how runs differ and write the page of their comparison.

    Raises:
        RunFolderError: One of them is none, or has nothing to compare.
        StorageError: The page cannot be written.
    """
    from prorl_cli.report.compare import compared
    from prorl_cli.report.compare_page import write_comparison
    from prorl_cli.report.compare_summary import print_comparison

    comparison = compared([readable(path) for path in paths])
    print_comparison(comparison, console)
    _say(f"comparison: {write_comparison(comparison, output)}", console)


def _say(text: str, console: Console) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
