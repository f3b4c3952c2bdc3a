"""The boundary report as one self-contained page, and the same as JSON."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from prorl_analysis.boundary import Regime
from prorl_analysis.comparison import Comparison, Pair
from prorl_analysis.estimators import at_most
from prorl_analysis.novelty import Novelty
from prorl_analysis.results import EvaluationSettings
from prorl_cli.evaluation.charts import boundary_sections
from prorl_cli.report.document import Content, render_parts, static_document, write_document

PARTS = ("boundary_head", "boundary_moves", "boundary_tasks", "boundary_scores", "boundary_curves", "boundary_novelty",
         "boundary_footer")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundaryReport:
    """What the page and the JSON file hold."""

    base: str
    settings: EvaluationSettings
    comparisons: tuple[Comparison, ...]
    pairs: tuple[Pair, ...]
    novelty: tuple[Novelty, ...] = ()

    @property
    def warnings(self) -> list[str]:
        """Return what the head says, each once."""
        own = [warning for found in self.comparisons for warning in found.warnings]
        return list(dict.fromkeys([*own, *(warning for found in self.novelty for warning in found.warnings)]))


def write_boundary_page(report: BoundaryReport, output: Path) -> Path:
    """Write the page in one move; its path."""
    return write_document(static_document(boundary_content(report)), output)


def boundary_content(report: BoundaryReport) -> Content:
    """Return what the page shows."""
    labels = short_names([report.base, *(found.checkpoint for found in report.comparisons)])
    sections = boundary_sections(report.comparisons, labels)
    context: dict[str, Any] = {
        "report": report,
        "labels": labels,
        "sections": sections,
        "at_most": at_most,
        "regimes": [regime.value for regime in Regime],
        "is_comparison": True,
    }
    return Content(
        title=f"{labels[report.base]}: reasoning boundary",
        parts=render_parts(PARTS, context),
        figures=[chart.figure for section in sections for chart in section.charts if chart.figure is not None],
    )


def boundary_json(report: BoundaryReport) -> str:
    """Return the report as JSON: every number of the page, and the items by name."""
    checkpoints = {found.checkpoint: _comparison(found) for found in report.comparisons}
    document = {
        "format": 1,
        "base": report.base,
        "settings": report.settings.model_dump(mode="json"),
        "warnings": report.warnings,
        "checkpoints": checkpoints,
        "consecutive": [_plain(pair) for pair in report.pairs],
        "novelty": [_plain(found) for found in report.novelty],
    }
    return json.dumps(document, indent=2) + "\n"


def short_names(paths: Sequence[str]) -> Mapping[str, str]:
    """Call each results file by its folder, or by as much of its path as tells them apart."""
    whole = {path: Path(os.path.abspath(path)) for path in paths}
    for depth in range(1, 64):
        names = {path: "/".join(_named(place)[-depth:]) for path, place in whole.items()}
        if len(set(names.values())) == len(set(whole.values())):
            return names
    return {path: path for path in paths}


def _named(path: Path) -> tuple[str, ...]:
    return path.parent.parts if path.name == "results.jsonl" else (*path.parent.parts, path.stem)


def _comparison(found: Comparison) -> dict[str, Any]:
    rows = []
    for row in found.rows:
        bound = row.boundary
        ratios = {"srr": bound.support_retention, "ndr": bound.net_discovery, "nscr": bound.net_change}
        zero = {"zeroOfKIsBelow": at_most(bound.k)}
        rows.append({**_plain(row), "boundary": {**_plain(bound), **ratios, "regime": bound.regime.value, **zero}})
    return {**_plain(found), "rows": rows}


def _plain(value: Any) -> dict[str, Any]:
    return dataclasses.asdict(
        value, dict_factory=lambda pairs: {name: item.value if isinstance(item, Enum) else item for name, item in pairs}
    )
