"""The pipes of a running program, read and written without ever waiting for the program longer than its deadline.

What is kept is bounded by the caps. The pipes are not awaited after the program's end: a daemon may hold them open.
"""

from __future__ import annotations

import math
import os
import select
import socket
import time
from dataclasses import dataclass, field

from prorl_reward_sandbox.execution.process.run_request import Limits

_CHUNK = 65536
_OUR_ENDS = ("stdin", "stdout", "stderr")
_CHILD_ENDS = ("child_stdin", "child_stdout", "child_stderr", "child_talk")
EXITED = "exited"
WALL = "wall"
OUTPUT = "output"
MEMORY = "memory"
"""Stop reasons, as in `isolation.StopReason`."""


@dataclass(slots=True, kw_only=True)
class Pipes:
    """Our ends and the child's; -1 once closed."""

    stdin: int
    stdout: int
    stderr: int
    child_stdin: int
    child_stdout: int
    child_stderr: int
    child_talk: int

    @classmethod
    def make(cls, talk: int = -1, *, user_id: int | None = None) -> Pipes:
        """Make three fresh pipes, none inherited by exec, and take the child's end of a conversation.

        They belong to the program's user, who may open them again by name: programs read `/dev/stdin`.
        """
        child_stdin, stdin = os.pipe()
        stdout, child_stdout = os.pipe()
        stderr, child_stderr = os.pipe()
        for descriptor in (stdin, stdout, stderr):
            os.set_blocking(descriptor, False)
        if user_id is not None:
            for descriptor in (child_stdin, child_stdout, child_stderr):
                os.fchown(descriptor, user_id, -1)
        return cls(
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            child_stdin=child_stdin,
            child_stdout=child_stdout,
            child_stderr=child_stderr,
            child_talk=talk,
        )

    @property
    def child_ends(self) -> list[int]:
        """The child's descriptors 0, 1, 2, and 3 if there is a conversation."""
        ends = [self.child_stdin, self.child_stdout, self.child_stderr]
        return [*ends, self.child_talk] if self.child_talk >= 0 else ends

    def close_one(self, name: str) -> None:
        """Close one end, if it is open."""
        descriptor = getattr(self, name)
        if descriptor >= 0:
            setattr(self, name, -1)
            os.close(descriptor)

    def close_child_ends(self) -> None:
        """Close the child's ends in the parent."""
        for name in _CHILD_ENDS:
            self.close_one(name)

    def close(self) -> None:
        """Close what is still open."""
        for name in (*_OUR_ENDS, *_CHILD_ENDS):
            self.close_one(name)


@dataclass(slots=True, kw_only=True)
class Output:
    """What the program wrote, at most `cap` bytes of each stream, and why it was stopped.

    `stop_reason` is None if the run was given up because the service went away.
    """

    cap: int
    out: bytearray = field(default_factory=bytearray)
    err: bytearray = field(default_factory=bytearray)
    stop_reason: str | None = EXITED

    @property
    def stdout(self) -> bytes:
        """Standard output."""
        return bytes(self.out[: self.cap])

    @property
    def stderr(self) -> bytes:
        """Standard error."""
        return bytes(self.err[: self.cap])

    def take(self, descriptor: int, *, is_stdout: bool) -> bool:
        """Read what is there; whether the stream has ended."""
        buffer = self.out if is_stdout else self.err
        try:
            part = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return False
        buffer += part
        if len(buffer) > self.cap:
            self.stop_reason = OUTPUT
        return not part

    def drain(self, pipes: Pipes) -> None:
        """Take what the ended program left in the pipes; a pipe holds at most a few chunks."""
        for descriptor, is_stdout in ((pipes.stdout, True), (pipes.stderr, False)):
            buffer = self.out if is_stdout else self.err
            size = -1
            while descriptor >= 0 and size != len(buffer) and len(buffer) <= self.cap:
                size = len(buffer)
                self.take(descriptor, is_stdout=is_stdout)


def supervise(
    pid: int, pipes: Pipes, stdin: bytes, limits: Limits, *, deadline: float, control: socket.socket
) -> Output:
    """Feed and read the program until it ends, runs out of time or says too much, or the service calls it off."""
    output = Output(cap=limits.output_bytes)
    unsent = memoryview(stdin)
    process = os.pidfd_open(pid)
    poll = select.poll()  # not `selectors`, whose records cost as much as all the rest here
    for descriptor in (process, control.fileno(), pipes.stdout, pipes.stderr):
        poll.register(descriptor, select.POLLIN)
    if unsent:
        poll.register(pipes.stdin, select.POLLOUT)
    else:
        pipes.close_one("stdin")
    try:
        running = True
        while running and output.stop_reason == EXITED:
            remaining = deadline - time.monotonic()
            ready = {descriptor for descriptor, _ in poll.poll(max(0, math.ceil(remaining * 1e3)))}
            running = process not in ready
            if remaining <= 0 and running:
                output.stop_reason = WALL
            if control.fileno() in ready:
                output.stop_reason = None
            for name in ("stdout", "stderr"):
                descriptor = getattr(pipes, name)
                if descriptor in ready and output.take(descriptor, is_stdout=name == "stdout"):
                    poll.unregister(descriptor)
                    pipes.close_one(name)
            if pipes.stdin in ready:
                unsent = _feed(poll, pipes, unsent)
    finally:
        os.close(process)
    return output


def _feed(poll: select.poll, pipes: Pipes, unsent: memoryview) -> memoryview:
    """Write what fits; close the pipe once all is written or nobody reads any more."""
    try:
        unsent = unsent[os.write(pipes.stdin, unsent[:_CHUNK]) :]
    except BlockingIOError:
        return unsent
    except BrokenPipeError:
        unsent = unsent[:0]
    if not unsent:
        poll.unregister(pipes.stdin)
        pipes.close_one("stdin")
    return unsent
