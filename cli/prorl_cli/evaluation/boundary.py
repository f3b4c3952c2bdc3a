"""`prorl boundary`: a base model against checkpoints on the same items, as text and as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from prorl_analysis.boundary import Boundary, boundary
from prorl_analysis.estimators import at_most
from prorl_analysis.results import Results, read_results, require_comparable
from prorl_api.errors import Fault, SpecError
from prorl_cli.evaluation.figures import curves, moves


def show_boundary(base: Path, checkpoints: Sequence[Path], output: Path | None, console: Console) -> None:
    """Print what each checkpoint has lost and gained against the base, losses first.

    Raises:
        SpecError: Results that cannot be read or compared.
    """
    first = read_results(base)
    found: dict[str, list[Boundary]] = {}
    for path in checkpoints:
        other = read_results(path)
        require_comparable(first, other)
        found[str(path)] = [_bounded(first, other, source) for source in first.settings.sources]
    for name, rows in found.items():
        console.print(f"{first.path} -> {name}", markup=False, highlight=False, soft_wrap=True)
        console.print(moves(rows))
        console.print(curves(rows))
        for row in rows:
            console.print(f"  {row.source}: {_words(row)}", markup=False, highlight=False, soft_wrap=True)
    if output is not None:
        lines = {name: [_plain(row) for row in rows] for name, rows in found.items()}
        output.write_text(json.dumps({"base": first.path, "checkpoints": lines}, indent=2), encoding="utf-8")


def _bounded(base: Results, other: Results, source: str) -> Boundary:
    try:
        return boundary(base, other, source)
    except ValueError as error:
        raise SpecError(
            [Fault(path=other.path, got=str(error), want="judged samples of every item in both")],
            source="the comparison",
        ) from error


def _words(row: Boundary) -> str:
    bound = at_most(row.k)
    gains = "; ".join(
        f"{name} {gain.value:+.3f}"
        + ("" if gain.low is None or gain.high is None else f" ({gain.low:+.3f} to {gain.high:+.3f}, paired)")
        for name, gain in (("pass@1", row.first_gain), (f"pass@{row.k}", row.last_gain))
    )
    return f"{gains}. 0 of {row.k} means a success probability below {bound:.2%} (95 %), not an impossibility"


def _plain(row: Boundary) -> dict[str, Any]:
    values = dataclasses.asdict(row)
    ratios = {"srr": row.support_retention, "ndr": row.net_discovery, "nscr": row.net_change}
    return {**values, **ratios, "regime": row.regime.value}
