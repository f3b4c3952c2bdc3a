"""The runner: a small process that runs one program at a time and leaves nothing of it behind.

The service starts one per slot and sends it a program and its input; the answer is what the program did. It stands
outside the program's process, user and session, enforces the wall limit and the output caps, and is the subreaper
under which all descendants of the program end. It never gets an expected output, a token, or another request's data.
Standard library only and single-threaded, because it forks for every run. When its connection closes it kills what
runs and ends.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import socket
import time

from prorl_reward_sandbox import frames, hygiene
from prorl_reward_sandbox.execution.jail.settings import LEVELS, NAMESPACES
from prorl_reward_sandbox.execution.process.containers import Container, RunEnd
from prorl_reward_sandbox.execution.process.crowding import waited_seconds
from prorl_reward_sandbox.execution.process.forked import Forked
from prorl_reward_sandbox.execution.process.run_request import FAILURE, Request, decode_request
from prorl_reward_sandbox.execution.process.streams import MEMORY, Output, supervise
from prorl_reward_sandbox.execution.process.user import ProgramUser, claim_user

_TIDY_SECONDS = 0.1
PROCESS = "process"
"""The level without a jail."""
_SHORT_SECONDS = 0.1
"""Of a run that nobody can have crowded out."""


def main() -> None:
    """Serve runs until the connection closes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--descriptors-fd", type=int, required=True)
    parser.add_argument("--level", choices=(*LEVELS, PROCESS), required=True)
    arguments = parser.parse_args()
    connection = socket.socket(fileno=arguments.fd)
    descriptors = socket.socket(fileno=arguments.descriptors_fd)
    for each in (connection, descriptors):
        each.set_inheritable(False)
    hygiene.ignore_terminal_signals()
    hygiene.make_undumpable()
    user = claim_user()
    try:
        container = make_container(arguments.level, user)
    except OSError as error:
        connection.sendall(frames.encode({FAILURE: str(error)}))
        return
    hello = {"pid": os.getpid(), "user_id": user.user_id if user else None, **container.facts}
    connection.sendall(frames.encode(hello))
    try:
        with contextlib.suppress(ConnectionError):  # the service was killed: this is the end too
            _serve(connection, descriptors, container)
    finally:
        container.close()


def make_container(level: str, user: ProgramUser | None) -> Container:
    """Return the container of a level.

    Raises:
        OSError: The level cannot be had here.
    """
    if level != NAMESPACES:  # there the kernel ends all processes of a run with its first one
        hygiene.become_subreaper()
    if level == PROCESS:
        return Forked(user)
    # Not before: it brings `subprocess` and with it `threading`, whose care for forks costs a third of a millisecond.
    from prorl_reward_sandbox.execution.jail.client import Jail

    return Jail(level, user)


def _serve(connection: socket.socket, descriptors: socket.socket, container: Container) -> None:
    while (frame := frames.receive(connection)) is not None:
        request = decode_request(frame)
        talk = _receive_descriptor(descriptors) if request.has_conversation else -1
        reply = _answer(request, talk, container, connection)
        if reply is None:
            return
        connection.sendall(reply)
        while container.tidy() and not select.select([connection], [], [], _TIDY_SECONDS)[0]:
            pass  # nobody asks for anything meanwhile


def _receive_descriptor(descriptors: socket.socket) -> int:
    """Return the program's end of a conversation, which the service sent before the request."""
    _, received, _, _ = socket.recv_fds(descriptors, 1, 1)
    return received[0]


def _answer(request: Request, talk: int, container: Container, connection: socket.socket) -> bytes | None:
    """Return the reply to one request; None if the service went away or gave up meanwhile."""
    try:
        return _run(request, talk, container, connection)
    except OSError as error:
        return frames.encode({FAILURE: f"{type(error).__name__}: {error}"})


def _run(request: Request, talk: int, container: Container, connection: socket.socket) -> bytes | None:
    """Run the program and describe what it did."""
    limits = request.limits
    try:
        container.prepare(request)
    except OSError:
        if talk >= 0:
            os.close(talk)
        raise
    started = time.monotonic()
    run = container.start(request, talk)
    try:
        container.get_ready()
        deadline = started + limits.wall_seconds
        output = supervise(run.pid, run.pipes, request.stdin, limits, deadline=deadline, control=connection)
        wall_seconds = time.monotonic() - started
        waited = waited_seconds(run.pid, wall_seconds=wall_seconds) if wall_seconds > _SHORT_SECONDS else None
        end = run.end()
        output.drain(run.pipes)
    finally:
        run.close()
    container.get_ready()  # again: the program may have left no room for it
    return None if output.stop_reason is None else _reply(output, end, wall_seconds, waited)


def _reply(output: Output, end: RunEnd, wall_seconds: float, waited: float | None) -> bytes:
    code = os.waitstatus_to_exitcode(end.status)
    # What is too large for a frame is not there, as what is too large for the run's limit.
    files = {name: content for name, content in end.files.items() if len(content) <= frames.MAX_BLOB_BYTES}
    header = {
        "stop_reason": MEMORY if end.has_exceeded_memory else output.stop_reason,
        "exit_code": code if code >= 0 else None,
        "signal": -code if code < 0 else None,
        "wall_seconds": wall_seconds,
        "cpu_seconds": end.cpu_seconds,
        "cpu_wait_seconds": waited,
        "peak_bytes": end.peak_bytes,
        "files": list(files),
    }
    return frames.encode(header, [output.stdout, output.stderr, *files.values()])


if __name__ == "__main__":
    main()
