"""Numbers and tables as the page has them."""

from __future__ import annotations

from collections.abc import Sequence

from prorl_analysis.estimators import Estimate


def estimate(found: Estimate, *, is_signed: bool = False) -> str:
    """Return `0.512 (0.499 to 0.525)`, or the value alone where there is no interval."""
    sign = "+" if is_signed else ""
    if found.low is None or found.high is None:
        return f"{found.value:{sign}.3f}"
    return f"{found.value:{sign}.3f} ({found.low:{sign}.3f} to {found.high:{sign}.3f})"


def percent(value: float) -> str:
    """Return `0.0366 %`, with three significant digits."""
    return f"{100 * value:.3g} %"


def ratio(value: float | None) -> str:
    """Return `0.94`, or a dash for none."""
    return "-" if value is None else f"{value:.2f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def listed(names: Sequence[str]) -> str:
    """Join names: `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "none"


def quantity(number: int, what: str) -> str:
    """Return `1 seed`, `3 seeds`."""
    return f"{number} {what}{'' if number == 1 else 's'}"
