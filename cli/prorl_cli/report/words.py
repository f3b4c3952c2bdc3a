"""How the report writes numbers, times and counts. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from prorl_cli.report.intervals import Interval


def when(unix_time: float) -> str:
    """`2026-03-01 14:05 UTC`."""
    try:
        return datetime.fromtimestamp(unix_time, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, OSError, ValueError):
        return "unknown"


def score(number: float | None) -> str:
    """Return a reward or accuracy, with the same three digits wherever it stands; a dash if there is none."""
    return "–" if number is None else f"{number:.3f}"


def signed(number: float | None) -> str:
    """Write a number with its sign, as gains and advantages are written; a dash if there is none."""
    return "–" if number is None else f"{number:+.3f}".replace("-", "−")


def between(interval: Interval | None) -> str:
    """`+0.190 to +0.290`; a dash if there is none."""
    if interval is None:
        return "–"
    return f"{signed(interval.low)} to {signed(interval.high)}"


def share(number: float) -> str:
    """`48 %`, `0.4 %`."""
    percent = 100 * number
    return f"{percent:.1f} %" if 0 < percent < 0.95 else f"{percent:.0f} %"


def count(number: int, noun: str) -> str:
    """`1 reset`, `1,200 steps`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def listed(parts: list[str]) -> str:
    """Join as `a`, `a and b`, `a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def tight(text: str) -> str:
    """Put no-break spaces inside `95 %` and `n = 400`, so that a line does not end there."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%").replace("n = ", "n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")
