"""The page of one run: its parts from a loaded run, written as a file or handed to the live page."""

from __future__ import annotations

from pathlib import Path

from prorl_api.run_folder import RunFolder
from prorl_cli.report.components import advice_of, components_of, log_tails
from prorl_cli.report.document import Content, render_parts, static_document, write_document
from prorl_cli.report.gallery import gallery_of
from prorl_cli.report.loading import RunData, load
from prorl_cli.report.narrative import story
from prorl_cli.report.results import summary_of
from prorl_cli.report.samples import Rewards, validation_rewards
from prorl_cli.report.sections import sections
from prorl_cli.report.settings import main_settings

PARTS = (
    "header", "advice", "tiles", "story", "curves", "resets", "samples", "components", "logs", "time", "settings",
    "footer",
)  # fmt: skip
"""In the page's order; each has a template of its name."""


def write_page(run: RunFolder, output: Path) -> Path:
    """Render and write the page in one move; its path."""
    data = load(run)
    content = content_of(data, validation_rewards(run, data.timeline))
    return write_document(static_document(content), output)


def content_of(data: RunData, rewards: Rewards, *, is_live: bool = False, now: float | None = None) -> Content:
    """Return what the page of a run shows.

    Args:
        data: The run.
        rewards: Of its held-out items, by validation.
        is_live: Whether the page can act: buttons instead of the commands' names, and the ends of logs.
        now: Unix time at which "running" is judged; unset: the clock.
    """
    summary = summary_of(data, rewards, now=now)
    shown = sections(data, rewards)
    context = {
        "summary": summary,
        "headline": summary.held_out[0] if summary.held_out else None,
        "story": story(summary),
        "sections": shown,
        "resets": data.resets,
        "gallery": gallery_of(data, rewards),
        "components": components_of(data),
        "advice": advice_of(data),
        "logs": log_tails(data.folder) if is_live else (),
        "settings": main_settings(data.job, is_local=data.folder.lock.exists()) if data.job else {},
        "manifest": data.manifest,
        "notes": data.notes,
        "is_live": is_live,
        "is_comparison": False,
    }
    return Content(
        title=f"{summary.name}: ProRL run report",
        parts=render_parts(PARTS, context),
        figures=[chart.figure for section in shown for chart in section.charts if chart.figure is not None],
    )
