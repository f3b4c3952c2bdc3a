"""The service's ends of the zygote and of one worker."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from dataclasses import dataclass

from prorl_reward_sandbox import frames
from prorl_reward_sandbox.hygiene import helper_environment
from prorl_reward_sandbox.workers.fork_server import FORK, READY

_START_SECONDS = 120.0
_HELLO_SECONDS = 30.0
_EXIT_SECONDS = 3.0

_logger = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True, eq=False)
class WorkerProcess:
    """A worker: its connection and a handle that cannot hit another process once this one is gone."""

    pid: int
    pidfd: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    judged: int = 0

    def is_gone(self) -> bool:
        """Tell whether it closed its connection, which it does only by ending."""
        return self.reader.at_eof()

    async def exchange(self, message: bytes) -> frames.Frame:
        """Send an item, wait for the reply.

        Raises:
            ConnectionError: The worker ended.
        """
        self.writer.write(message)
        await self.writer.drain()
        return await frames.read(self.reader)

    def kill(self) -> None:
        """End it now, whatever it is doing."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        os.close(self.pidfd)
        self.writer.close()


class ZygoteProcess:
    """The running zygote."""

    def __init__(self, process: asyncio.subprocess.Process, control: socket.socket) -> None:
        self._process = process
        self._control = control
        self.pid = process.pid

    @classmethod
    async def start(cls, *, memory_bytes: int) -> ZygoteProcess:
        """Start one and wait until it is warm.

        Raises:
            ConnectionError: It ended instead; the message or its log on standard error says why.
            TimeoutError: It did not get warm in time.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            arguments = [f"--control-fd={theirs.fileno()}", f"--memory-bytes={memory_bytes}"]
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-W",
                "ignore",  # syntax warnings of third-party modules, which are not ours to mend
                "-m",
                "prorl_reward_sandbox.workers.fork_server",
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=helper_environment(),
            )
        zygote = cls(process, ours)
        try:
            async with asyncio.timeout(_START_SECONDS):
                await zygote._wait_until_ready()
        except BaseException:
            await zygote.stop()
            raise
        return zygote

    async def _wait_until_ready(self) -> None:
        self._control.setblocking(False)
        message = await asyncio.get_running_loop().sock_recv(self._control, 1024)
        if not message:
            raise ConnectionError(f"the verifier zygote ended with exit code {await self._process.wait()}")
        if message != READY:
            raise ConnectionError(message.decode())

    async def fork_worker(self) -> WorkerProcess:
        """Return a new worker, ready to judge.

        Raises:
            OSError: The zygote is gone, or no process can be had.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._control, [FORK], [theirs.fileno()])
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=2**20)
        try:
            async with asyncio.timeout(_HELLO_SECONDS):
                pid = int((await frames.read(reader)).header["pid"])
            return WorkerProcess(pid=pid, pidfd=os.pidfd_open(pid), reader=reader, writer=writer)
        except BaseException:
            writer.close()
            raise

    async def wait(self) -> int:
        """Return the exit code, once it has ended."""
        return await self._process.wait()

    async def stop(self) -> None:
        """End it and all its workers."""
        self._control.close()
        try:
            async with asyncio.timeout(_EXIT_SECONDS):
                await self._process.wait()
        except TimeoutError:
            _logger.warning("the verifier zygote did not end by itself; killing it")
            self._process.kill()
            await self._process.wait()
