"""One rank as a child process of the launcher: its signals, its exit code, the end of its standard error."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

_TAIL_BYTES = 3072
"""Of standard error kept, for a termination log of which the kubelet reads 4096 bytes."""
_LINE_BYTES = 65536
"""Longer lines are passed on in pieces."""
_DRAIN_SECONDS = 1.0
"""A helper that a rank left behind may hold the pipe open; what the rank wrote is in it already."""


@dataclass(slots=True, kw_only=True, eq=False)
class RankProcess:
    """A started rank. It leads a process group, to which its helpers belong."""

    number: int
    """Over all pods."""
    process: asyncio.subprocess.Process
    tail: bytes = b""
    """End of its standard error."""

    @classmethod
    async def start(
        cls, number: int, command: Sequence[str], environment: Mapping[str, str], inherited: Sequence[int]
    ) -> Self:
        """Start a rank; `inherited` are descriptors it keeps."""
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, stderr=asyncio.subprocess.PIPE, pass_fds=inherited, start_new_session=True
        )
        return cls(number=number, process=process)

    @property
    def exit_code(self) -> int:
        """As a shell gives it: 128 + n after signal n. Only once it has ended."""
        code = self.process.returncode
        assert code is not None
        return code if code >= 0 else 128 - code

    async def run(self) -> None:
        """Pass its standard error on, by lines, until it has ended."""
        pumping = asyncio.create_task(self._pump())
        await self.process.wait()
        await asyncio.wait([pumping], timeout=_DRAIN_SECONDS)
        pumping.cancel()

    def terminate(self) -> None:
        """Ask it to end."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.terminate()

    def kill(self) -> None:
        """End it and its helpers now."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    async def _pump(self) -> None:
        stream, held = self.process.stderr, b""
        assert stream is not None
        while chunk := await stream.read(_LINE_BYTES):
            self.tail = (self.tail + chunk)[-_TAIL_BYTES:]
            *lines, held = (held + chunk).split(b"\n")
            if len(held) >= _LINE_BYTES:
                lines, held = [*lines, held], b""
            self._pass_on(lines)
        self._pass_on([held] if held else [])

    def _pass_on(self, lines: Sequence[bytes]) -> None:
        sys.stderr.buffer.write(b"".join(b"[rank %d] %s\n" % (self.number, line) for line in lines))
        sys.stderr.buffer.flush()
