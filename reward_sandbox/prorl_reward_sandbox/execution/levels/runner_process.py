"""The service's end of one runner: start it, send it a run, read what happened, end it. Knows no level by name."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from prorl_api.errors import RewardError
from prorl_reward_sandbox import frames
from prorl_reward_sandbox.execution.isolation import Conversation, RawOutcome, RunSpec, StopReason
from prorl_reward_sandbox.execution.process.run_request import FAILURE, encode_request
from prorl_reward_sandbox.hygiene import helper_environment

_START_SECONDS = 30.0
_EXIT_SECONDS = 3.0
_MAX_BUFFERED_BYTES = 2**20

_logger = logging.getLogger(__name__)


class NotRunError(RewardError):
    """The runner could not run the program, and is ready for the next."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunnerProcess:
    """A running runner.

    Attributes:
        hello: What it said about itself when it was ready.
        descriptors: Takes the program's end of a conversation, just before the run that it belongs to.
    """

    process: asyncio.subprocess.Process
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    descriptors: socket.socket
    hello: dict[str, Any]

    async def run(self, spec: RunSpec) -> RawOutcome:
        """Run a program. After any exception but `NotRunError` the runner must be stopped: it may still be at work.

        Raises:
            NotRunError: The program could not be run.
            ConnectionError: The runner ended.
        """
        async with self._talking(spec.conversation) as talk:
            self.writer.write(encode_request(spec))
            await self.writer.drain()
            reply = await _first_of(frames.read(self.reader), talk)
        if FAILURE in reply.header:
            raise NotRunError(str(reply.header[FAILURE]))
        try:
            return _outcome(reply)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise frames.FrameError(f"the runner's reply is none: {error!r}") from error

    @contextlib.asynccontextmanager
    async def _talking(self, conversation: Conversation | None) -> AsyncIterator[asyncio.Task[None] | None]:
        """Let the conversation go on as long as the program runs."""
        if conversation is None:
            yield None
            return
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self.descriptors, [b"c"], [theirs.fileno()])
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=_MAX_BUFFERED_BYTES)
        talk = asyncio.ensure_future(_converse(conversation, reader, writer))
        try:
            yield talk
        finally:
            talk.cancel()
            await asyncio.gather(talk, return_exceptions=True)
            writer.close()

    async def stop(self) -> None:
        """End it; it kills what runs."""
        self.writer.close()
        self.descriptors.close()
        try:
            async with asyncio.timeout(_EXIT_SECONDS):
                await self.process.wait()
        except TimeoutError:
            _logger.warning("a program runner did not end by itself; killing it")
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()


async def start_runner(level: str, command: Sequence[str] = (sys.executable,)) -> RunnerProcess:
    """Return a new runner of a level that has reported ready.

    Args:
        command: A Python, or what turns into one.

    Raises:
        RewardError: It did not get there; the message, or its standard error, says why.
    """
    ours, theirs = socket.socketpair()
    our_descriptors, their_descriptors = socket.socketpair()
    with theirs, their_descriptors:
        process = await asyncio.create_subprocess_exec(
            *command,
            "-m",
            "prorl_reward_sandbox.execution.levels.runner",
            f"--fd={theirs.fileno()}",
            f"--descriptors-fd={their_descriptors.fileno()}",
            f"--level={level}",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            pass_fds=[theirs.fileno(), their_descriptors.fileno()],
            env=helper_environment(),
        )
    our_descriptors.setblocking(False)
    reader, writer = await asyncio.open_unix_connection(sock=ours, limit=_MAX_BUFFERED_BYTES)
    hello: dict[str, Any] = {}
    runner = RunnerProcess(process=process, reader=reader, writer=writer, descriptors=our_descriptors, hello=hello)
    try:
        async with asyncio.timeout(_START_SECONDS):
            hello.update((await frames.read(reader)).header)
    except (ConnectionError, TimeoutError) as error:
        await runner.stop()
        raise RewardError("a program runner did not start; the log has its last words") from error
    except BaseException:
        await runner.stop()
        raise
    if FAILURE in hello:
        await runner.stop()
        raise RewardError(str(hello[FAILURE]))
    return runner


async def _converse(conversation: Conversation, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    # The program ended, or closed its end: what it did is known in a moment.
    with contextlib.suppress(ConnectionError, EOFError):
        await conversation(reader, writer)


async def _first_of(reply: Coroutine[Any, Any, frames.Frame], talk: asyncio.Task[None] | None) -> frames.Frame:
    """Return the reply, unless the conversation fails before it comes.

    Raises:
        Exception: What the conversation raised.
    """
    waiting = asyncio.ensure_future(reply)
    try:
        if talk is not None:
            await asyncio.wait({waiting, talk}, return_when=asyncio.FIRST_COMPLETED)
            if talk.done():
                talk.result()
        return await waiting
    finally:
        waiting.cancel()


def _outcome(reply: frames.Frame) -> RawOutcome:
    header = reply.header
    return RawOutcome(
        stop_reason=StopReason(header["stop_reason"]),
        exit_code=header["exit_code"],
        signal=header["signal"],
        stdout=reply.blobs[0],
        stderr=reply.blobs[1],
        wall_seconds=header["wall_seconds"],
        cpu_seconds=header["cpu_seconds"],
        cpu_wait_seconds=header["cpu_wait_seconds"],
        peak_bytes=header["peak_bytes"],
        files=dict(zip(header["files"], reply.blobs[2:], strict=True)),
    )
