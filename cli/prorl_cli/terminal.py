"""The console that commands write to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console


def stdout_console() -> Console:
    """Return standard output; colours and live display where it is a terminal."""
    return Console()


def stderr_console() -> Console:
    """Return standard error, for what is said beside a command's result."""
    return Console(stderr=True)


@contextmanager
def waiting(text: str, console: Console | None = None) -> Iterator[None]:
    """Show on a terminal what is being waited for, until the block ends; nothing in a pipe or file."""
    shown = console or stderr_console()
    if not shown.is_terminal:
        yield
        return
    with shown.status(text):
        yield
