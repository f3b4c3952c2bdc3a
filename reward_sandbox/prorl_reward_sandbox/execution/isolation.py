"""The seam between the service and whatever contains a program.

A level of isolation is one implementation of `Isolation`: it runs a program once and says what happened, in terms of
exit status, output and limits. It never learns the expected output; verdicts are formed by `verdicts`. Stronger levels
(namespaces, Landlock with seccomp) are further implementations and change nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from prorl_api.wire.sandbox import ExecutionLimits


class StopReason(StrEnum):
    """Why a run ended."""

    EXITED = "exited"
    WALL = "wall"
    OUTPUT = "output"
    MEMORY = "memory"
    """The kernel said so (the control group's limit); a program that only says so itself has exited."""


class Runtime(StrEnum):
    """What runs a program."""

    EXEC = "exec"
    """`argv` is executed."""
    PYTHON = "python"
    """`argv` is a script in the working folder and its arguments: run by a copy of a Python that has already started,
    where the level keeps one, else by a fresh one."""


Conversation = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""Talks with the program over its descriptor 3 while it runs, and is cancelled when the program ends. What the program
writes there is the program's word, as much as its output: never trusted, always bounded. The end of
the connection (`EOFError`, `ConnectionError`) only ends the conversation; another exception ends the program and is
raised by `run`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """One run of a program: fresh process, fresh folder.

    Attributes:
        argv: The command; a relative path is looked up in the working folder.
        files: Put into the working folder, by name; names in `executables` may be executed.
        kept: Names of files in the working folder that are given back, such as a compiler's output.
        libraries: Python: what it may import besides the standard library, imported already where the level keeps an
            interpreter.
        limits: Its `wall_seconds` may be lower than requested, when little is left of the total.
        conversation: Without one, descriptor 3 is closed.
    """

    argv: tuple[str, ...]
    runtime: Runtime = Runtime.EXEC
    files: Mapping[str, bytes] = field(default_factory=dict)
    executables: frozenset[str] = frozenset()
    kept: tuple[str, ...] = ()
    stdin: bytes = b""
    libraries: tuple[str, ...] = ()
    limits: ExecutionLimits = field(default_factory=ExecutionLimits)
    conversation: Conversation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RawOutcome:
    """What a run did. Exactly one of `exit_code` and `signal` is set.

    Attributes:
        cpu_wait_seconds: The longest that a thread waited for a processor; None where the kernel does not tell.
        peak_bytes: Most memory of all its processes together; None where the level cannot tell.
        files: Those of `kept` that exist as regular files within `file_bytes`.
    """

    stop_reason: StopReason
    exit_code: int | None
    signal: int | None
    stdout: bytes
    stderr: bytes
    wall_seconds: float
    cpu_seconds: float
    cpu_wait_seconds: float | None = None
    peak_bytes: int | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)


class Isolation(Protocol):
    """A way to contain programs."""

    @property
    def name(self) -> str:
        """The level, as callers see it."""
        ...

    @property
    def max_runs(self) -> int:
        """Runs at once; further ones wait. Known once it has started."""
        ...

    async def start(self) -> None:
        """Get ready.

        Raises:
            RewardError: This level cannot be had here; the message says why.
        """
        ...

    async def run(self, spec: RunSpec) -> RawOutcome:
        """Run a program once. If the caller is cancelled, the program is killed.

        Raises:
            RewardError: The run failed for a reason that is not the program's.
        """
        ...

    async def close(self) -> None:
        """End everything that was started."""
        ...
