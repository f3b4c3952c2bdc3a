"""What a runner needs of a level: start a run, end it. The levels are `forked` (plain process) and `jail.client`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from prorl_reward_sandbox.execution.process.run_request import Request
from prorl_reward_sandbox.execution.process.streams import Pipes


class NotStartedError(OSError):
    """A program could not be started, for a reason that is not its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnd:
    """What a run did besides its output.

    Attributes:
        status: As `os.wait` gives it.
        cpu_seconds: Of all its processes.
        peak_bytes: Most memory at once; None if nobody counted.
        has_exceeded_memory: The kernel ended one of its processes for want of memory.
    """

    status: int
    cpu_seconds: float
    files: Mapping[str, bytes] = field(default_factory=dict)
    peak_bytes: int | None = None
    has_exceeded_memory: bool = False


class Run(Protocol):
    """A program that was started."""

    @property
    def pid(self) -> int:
        """Its first process, a child of the caller."""
        ...

    @property
    def pipes(self) -> Pipes:
        """Its streams; the child's ends are closed here."""
        ...

    def end(self) -> RunEnd:
        """Kill what is left of it, and say what it did.

        Raises:
            NotStartedError: It never became the program.
        """
        ...

    def close(self) -> None:
        """Leave nothing of it; also after a failure."""
        ...


class Container(Protocol):
    """A level of isolation, inside a runner."""

    @property
    def facts(self) -> Mapping[str, object]:
        """What was found at its start."""
        ...

    def prepare(self, request: Request) -> None:
        """Prepare what a run needs and the run before it may not have needed; before the run's time begins.

        Raises:
            OSError: It cannot be had.
        """
        ...

    def start(self, request: Request, talk: int) -> Run:
        """Start a program.

        Args:
            talk: Its end of a conversation, closed here in any case; -1 without one.

        Raises:
            OSError: It could not be started.
        """
        ...

    def get_ready(self) -> None:
        """Prepare what the next run will need anyhow, if it is not there; while a program runs there is time."""
        ...

    def tidy(self) -> bool:
        """Remove what runs left, once their answers are out; return whether that is still under way.

        Trouble with it is logged and is nobody's verdict.
        """
        ...

    def close(self) -> None:
        """End what it started itself."""
        ...
