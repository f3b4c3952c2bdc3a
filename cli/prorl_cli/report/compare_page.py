"""The page of a comparison."""

from __future__ import annotations

from pathlib import Path

from prorl_cli.report.compare import Comparison
from prorl_cli.report.compare_charts import comparison_sections
from prorl_cli.report.document import Content, render_parts, static_document, write_document

PARTS = ("compare_runs", "compare_items", "compare_settings", "curves", "compare_resets", "compare_footer")


def write_comparison(comparison: Comparison, output: Path) -> Path:
    """Render and write the page in one move; its path."""
    return write_document(static_document(comparison_content(comparison)), output)


def comparison_content(comparison: Comparison) -> Content:
    """Return what the page shows."""
    sections = comparison_sections(comparison.runs)
    context = {"comparison": comparison, "sections": sections, "is_comparison": True}
    return Content(
        title=f"{' against '.join(run.label for run in comparison.runs)}: ProRL comparison",
        parts=render_parts(PARTS, context),
        figures=[chart.figure for section in sections for chart in section.charts if chart.figure is not None],
    )
