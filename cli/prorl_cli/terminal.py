"""The console that commands write to."""

from __future__ import annotations

from rich.console import Console


def stdout_console() -> Console:
    """Return standard output; colours and live display where it is a terminal."""
    return Console()
