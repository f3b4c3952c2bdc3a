"""Progress as log lines, for files, pipes and `--plain`. Also the interface that both displays share."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console

from prorl_api.wire.learner import LearnerPhase
from prorl_cli.durations import duration
from prorl_cli.local.view import View, doing, phase_text, remark, step_line, warnings
from prorl_control.members import MemberState

_WORDY_PHASES = frozenset({LearnerPhase.SAMPLING, LearnerPhase.UPDATING, LearnerPhase.PUBLISHING})
"""Phases of every step: a line for each would drown the steps."""


class Progress(Protocol):
    """Something that shows a run while it goes on."""

    def __enter__(self) -> Self:
        """Begin to show."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the screen tidy."""

    def show(self, view: View) -> None:
        """Show this moment."""

    def line(self, text: str, *, is_warning: bool = False) -> None:
        """Say something that stays."""


class Unbreakable:
    """A display that falls silent when the terminal or pipe behind it is gone: training goes on without it."""

    def __init__(self, inner: Progress) -> None:
        self._inner = inner
        self._is_silent = False

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._inner.__exit__(kind, error, trace)

    def line(self, text: str, *, is_warning: bool = False) -> None:
        """Say something, if anybody listens."""
        self._try(lambda: self._inner.line(text, is_warning=is_warning))

    def show(self, view: View) -> None:
        """Show this moment, if anybody looks."""
        self._try(lambda: self._inner.show(view))

    def _try(self, say: Callable[[], None]) -> None:
        if not self._is_silent:
            try:
                say()
            except OSError:
                self._is_silent = True


class PlainProgress:
    """One line for each thing that happens."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._states: dict[tuple[str, float], MemberState] = {}
        self._phase = ""
        self._shown_step: tuple[int, int] = (0, -1)
        self._begun = time.time()
        self._warned: set[str] = set()
        self._remark = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def line(self, text: str, *, is_warning: bool = False) -> None:
        """Say something, with the time."""
        mark = "WARNING " if is_warning else ""
        stamp = time.strftime("%H:%M:%S")
        self._console.print(f"{stamp} {mark}{text}", markup=False, highlight=False, soft_wrap=True)

    def show(self, view: View) -> None:
        """Say what is new."""
        self._members(view)
        if view.learner is not None and view.learner.phase not in _WORDY_PHASES:
            # Numbers in the detail count something up; each is not worth a line.
            detail = re.sub(r"[\d.,/%]+", "", view.learner.phase_detail)
            phase = f"{view.learner.attempt} {view.learner.phase} {detail}"
            if phase != self._phase:
                self._phase = phase
                self.line(f"learner: {phase_text(view.learner)}")
        self._steps(view)
        self._unusual(view)

    def _unusual(self, view: View) -> None:
        said = remark(view.learner) if view.learner is not None else ""
        if said and said != self._remark:
            self.line(said, is_warning=True)
        self._remark = said
        for kind, warning in warnings(view.lines):
            if kind not in self._warned:
                self._warned.add(kind)
                self.line(warning, is_warning=True)

    def _steps(self, view: View) -> None:
        earlier = None
        for line in view.lines:
            place = (int(line["attempt"]), int(line["step"]))
            if place <= self._shown_step:
                continue
            self._shown_step = place
            if line.get("time", self._begun) < self._begun:
                earlier = line  # of an earlier start: said once, not with today's time
            else:
                self.line(step_line(line, view))
        if earlier is not None:
            self.line(f"done before this start: {step_line(earlier, view)}")

    def _members(self, view: View) -> None:
        for member in view.members:
            seen = (member.key.name, member.started_at)
            before = self._states.get(seen)
            self._states[seen] = member.state
            if before is None and member.is_alive:
                usual = duration(view.usual_seconds[member.role])
                self.line(f"{member.key.name}: {doing(member, view)} (usually about {usual})")
            elif before is MemberState.STARTING and member.state is MemberState.READY:
                self.line(f"{member.key.name}: ready after {duration(view.now - member.started_at)}")
