"""Progress on a terminal: a few lines that change in place, and above them the lines that stay."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from prorl_cli.durations import duration
from prorl_cli.local.view import View, doing, figures, phase_text, warnings
from prorl_control.members import MemberState


class LiveProgress:
    """A `rich` display."""

    def __init__(self, console: Console) -> None:
        self._live = Live(Text(""), console=console, refresh_per_second=4, transient=True)
        self._warned: set[str] = set()

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def line(self, text: str, *, is_warning: bool = False) -> None:
        """Put a line above the changing part, where it stays."""
        stamp = Text(time.strftime("%H:%M:%S "), style="dim")
        # Unbroken, so that an address can be clicked or copied.
        self._live.console.print(stamp.append(Text(text, style="yellow" if is_warning else "default")), soft_wrap=True)

    def show(self, view: View) -> None:
        """Replace the changing part."""
        self._live.update(render(view))
        for kind, warning in warnings(view.lines):
            if kind not in self._warned:
                self._warned.add(kind)
                self.line(warning, is_warning=True)


def render(view: View) -> RenderableType:
    """Draw the changing part: members while they start, then the training."""
    parts: list[RenderableType] = []
    if view.outcome.reason == "Stopping":
        parts.append(Text(f"stopping: {view.outcome.message}. Ctrl-C again ends at once", style="yellow"))
    unready = [member for member in view.members if member.state is not MemberState.READY]
    if not view.is_training or unready:
        parts.append(_members(view))
    if view.is_training:
        parts.append(_training(view))
    return Group(*parts)


def _members(view: View) -> Table:
    table = Table(box=None, padding=(0, 2), show_header=False)
    for member in view.members:
        since = duration(view.now - member.started_at)
        usual = duration(view.usual_seconds[member.role])
        time_text = "" if member.state is MemberState.READY else f"{since}, usually about {usual}"
        style = {MemberState.READY: "green", MemberState.EXITED: "yellow"}.get(member.state, "default")
        table.add_row(
            Text(member.key.name, style="bold"), Text(doing(member, view), style=style), Text(time_text, "dim")
        )
    return table


def _training(view: View) -> Table:
    assert view.learner is not None
    table = Table.grid(padding=(0, 2))
    total = view.plan.total_steps
    bar = ProgressBar(total=total, completed=view.learner.step, width=40)
    table.add_row(Text(f"step {view.learner.step}/{total}", style="bold"), bar, Text(phase_text(view.learner), "dim"))
    values = Text("   ").join(Text(f"{name} ", "dim").append(value, "bold") for name, value in figures(view))
    return _stack(table, values)


def _stack(first: RenderableType, second: RenderableType) -> Table:
    stacked = Table.grid()
    stacked.add_row(first)
    stacked.add_row(second)
    return stacked
