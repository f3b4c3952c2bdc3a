"""Where the generated dashboards lie: in the package once it is installed, else among the chart's files."""

from __future__ import annotations

from pathlib import Path

_PACKAGED = Path(__file__).parent / "dashboards"
_IN_THE_CHART = Path(__file__).resolve().parents[2] / "charts/prorl-operator/files/dashboards"


def dashboards_folder() -> Path:
    """Return the folder of the dashboards' JSON files."""
    return _PACKAGED if _PACKAGED.is_dir() else _IN_THE_CHART
