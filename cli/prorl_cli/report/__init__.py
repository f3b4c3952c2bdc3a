"""What a run came to: a self-contained HTML page and a table for the terminal.

Called by `prorl run` at its end and by `prorl report`. Reads the run folder alone and writes nothing but the page;
it works on a run in progress, an interrupted one and an empty one. Importing this package is light: plotting,
templates and statistics are imported by the functions that use them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from prorl_api.run_folder import RunFolder

if TYPE_CHECKING:
    from prorl_cli.report.results import RunSummary


def write_report(run: RunFolder, output: Path | None = None) -> Path:
    """Write the run's page to `output`, by default `run.report`, in one move; its path."""
    from prorl_cli.report.page import write_page

    return write_page(run, output or run.report)


def summarise(run: RunFolder) -> RunSummary:
    """Return the run in numbers, as `RunSummary.as_json` can print them."""
    from prorl_cli.report.loading import load
    from prorl_cli.report.results import summary_of
    from prorl_cli.report.samples import validation_rewards

    data = load(run)
    return summary_of(data, validation_rewards(run, data.timeline))
