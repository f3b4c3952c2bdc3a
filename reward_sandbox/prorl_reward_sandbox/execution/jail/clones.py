"""The zygote as the runner sees it: start it, have it cloned, end it.

A clone waits until it is told what to become, so one can be made before there is a program for it: while the program
before it runs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass

from prorl_reward_sandbox.execution.jail.settings import ZygoteSettings
from prorl_reward_sandbox.execution.process.containers import NotStartedError
from prorl_reward_sandbox.execution.process.streams import Pipes

_START_SECONDS = 60.0
"""Importing libraries takes a second of a free processor, and processors may be busy."""
_MAX_REPORT_BYTES = 4096
_BOOT = (
    "import sys; sys.path.insert(0, sys.argv.pop()); "
    "from prorl_reward_sandbox.execution.jail.zygote import main; del sys.path[0]; main()"
)
"""Nothing but the standard library may be imported by programs."""
_ANSWER_BYTES = 4


@dataclass(slots=True, kw_only=True, eq=False)
class Clone:
    """A clone that waits for its job.

    Attributes:
        pid: A child of this process; 0 while the zygote has not answered.
        job: Takes the job, and reports.
        pipes: Its streams; the child's ends are closed here.
    """

    job: socket.socket
    pipes: Pipes
    pid: int = 0

    def send(self, data: bytes) -> None:
        """Tell it what to become.

        Raises:
            ConnectionError: It is dead.
        """
        self.job.sendall(data)

    @property
    def is_waiting(self) -> bool:
        """Whether it lives, as far as one can know: it says nothing until it has its job."""
        try:
            self.job.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        return False

    def discard(self) -> None:
        """End it; it has become nothing."""
        self.job.close()
        self.pipes.close()
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


class Zygote:
    """A running zygote, and at most one clone of it that is kept ready."""

    def __init__(self, settings: ZygoteSettings, interpreter: str) -> None:
        """Start it; `await_ready` says when it can be used.

        Args:
            settings: Its own; the control descriptor is put in here.
            interpreter: A Python that programs may use.
        """
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._spare: Clone | None = None
        self._user_id = settings.user_id
        with theirs:
            settings = dataclasses.replace(settings, control=theirs.fileno())
            self._process = _start(settings, interpreter)

    @property
    def pid(self) -> int:
        """Its process, a child of this one."""
        return self._process.pid

    def await_ready(self) -> dict[str, object]:
        """Return what it found possible.

        Raises:
            NotStartedError: It did not get there.
        """
        self._control.settimeout(_START_SECONDS)
        try:
            message = self._control.recv(_MAX_REPORT_BYTES)
        except TimeoutError:
            raise NotStartedError(f"the zygote was not ready within {_START_SECONDS:g} s") from None
        self._control.settimeout(None)
        if not message:
            raise NotStartedError("the zygote ended while it started; the log has its last words")
        hello: dict[str, object] = json.loads(message)
        if "fault" in hello:
            raise NotStartedError(str(hello["fault"]))
        return hello

    def clone(self, talk: int = -1) -> Clone:
        """Return a clone; the spare one if it will do.

        Args:
            talk: The program's end of a conversation, closed here in any case; -1 without one.

        Raises:
            NotStartedError: None could be made.
        """
        if talk < 0 and (spare := self._settle_spare()) is not None:
            self._spare = None
            return spare
        self._settle_spare()  # answers come in order
        clone = self._ask(Pipes.make(talk, user_id=self._user_id))
        self._await_answer(clone)
        return clone

    def get_ready(self) -> None:
        """Have a clone made for the next run, without waiting for it; if one was asked for, see that it is there."""
        if self._settle_spare() is None:
            self._spare = self._ask(Pipes.make(user_id=self._user_id))

    def close(self) -> None:
        """End it, and the clone that was kept ready."""
        with contextlib.suppress(OSError):
            self._settle_spare()
        self._control.close()
        self._process.kill()
        self._process.wait()
        if self._spare is not None:
            self._spare.discard()
            self._spare = None

    def _settle_spare(self) -> Clone | None:
        """Return the spare clone, now that the zygote has answered; None if there is none."""
        if self._spare is not None and not self._spare.pid:
            try:
                self._await_answer(self._spare)
            except NotStartedError:
                # The program that ran meanwhile may have used up the processes: the next attempt tells.
                self._spare = None
        if self._spare is not None and not self._spare.is_waiting:
            self._spare.discard()
            self._spare = None
        return self._spare

    def _ask(self, pipes: Pipes) -> Clone:
        try:
            job, theirs = socket.socketpair()
            with theirs:
                socket.send_fds(self._control, [b"R"], [theirs.fileno(), *pipes.child_ends])
        except BaseException:
            pipes.close()
            raise
        pipes.close_child_ends()
        return Clone(job=job, pipes=pipes)

    def _await_answer(self, clone: Clone) -> None:
        answer = self._control.recv(_ANSWER_BYTES)
        pid = int.from_bytes(answer, sys.byteorder, signed=True)
        if not answer or pid < 0:
            clone.discard()
            reason = os.strerror(-pid) if answer else "the zygote ended"
            raise NotStartedError(f"no process could be cloned: {reason}")
        clone.pid = pid


def _start(settings: ZygoteSettings, interpreter: str) -> subprocess.Popen[bytes]:
    """Return the zygote's streams are pipes, as a program's will be: Python looks at its streams once, at its start."""
    stdin, unused = os.pipe()
    unread, stdout = os.pipe()
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    try:
        return subprocess.Popen(
            [interpreter, "-s", "-S", "-B", "-P", "-c", _BOOT, settings.encode(), package],
            stdin=stdin,
            stdout=stdout,
            pass_fds=[settings.control],
            cwd="/",
            # Sets and dictionaries of programs are the same in every run; a clone need not find functions by name.
            # Linear algebra must not start threads: a clone would wait for those that only its zygote has.
            env={"PYTHONHASHSEED": "0", "LANG": "C.UTF-8", "LD_BIND_NOW": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
    finally:
        for descriptor in (stdin, unused, unread, stdout):
            os.close(descriptor)
