"""The runner's side of a zygote: start it, have it cloned for a run, end the run and say what it did."""

from __future__ import annotations

import array
import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, field

from prorl_reward_sandbox.execution.cleanup import end_descendants, remove_folder
from prorl_reward_sandbox.execution.containers import NotStartedError, RunEnd
from prorl_reward_sandbox.execution.folders import make_folder, read_kept
from prorl_reward_sandbox.execution.interpreters import readable_interpreter
from prorl_reward_sandbox.execution.jail.cgroups import NoControlGroupError, SlotGroup
from prorl_reward_sandbox.execution.jail.child import FAILED, FOLDER, STATUS
from prorl_reward_sandbox.execution.jail.jobs import encode_job, plan_job
from prorl_reward_sandbox.execution.jail.settings import LANDLOCK, NAMESPACES, PRELOADED, ZygoteSettings
from prorl_reward_sandbox.execution.launch import count_tasks_of_this_user
from prorl_reward_sandbox.execution.requests import Request
from prorl_reward_sandbox.execution.streams import Pipes
from prorl_reward_sandbox.execution.user import ProgramUser

_START_SECONDS = 30.0
_MAX_REPORT_BYTES = 4096
_BOOT = (
    "import sys; sys.path.insert(0, sys.argv.pop()); "
    "from prorl_reward_sandbox.execution.jail.zygote import main; del sys.path[0]; main()"
)
"""Nothing but the standard library may be imported by programs."""


class Jail:
    """A container by namespaces or by Landlock.

    Raises:
        NotStartedError: At its making: this level cannot be had here.
    """

    def __init__(self, level: str, user: ProgramUser | None) -> None:
        self._user = user
        self._is_contained = level == NAMESPACES
        self._group, self._no_group = _make_group()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        settings = ZygoteSettings(
            level=level,
            control=theirs.fileno(),
            user_id=user.user_id if user else None,
            readable=_interpreter_folders(),
            preloaded=tuple(PRELOADED),
            memory_is_bounded=self._group is not None,
        )
        # A mount namespace shows the interpreter to whoever is in it; elsewhere the user must find it by itself.
        interpreter = readable_interpreter(None if self._is_contained else user)
        with theirs:
            self._zygote = _start_zygote(settings, theirs.fileno(), interpreter)
        try:
            if self._group is not None:
                self._group.adopt(self._zygote.pid)
            self._containment = self._await_hello()
        except BaseException:
            self.close()
            raise

    @property
    def facts(self) -> dict[str, object]:
        """What was found at the start, for people and metrics."""
        return {**self._containment, "memory_bounded": self._group is not None, "no_control_group": self._no_group}

    def start(self, request: Request, pipes: Pipes) -> JailRun:
        """Have a clone become the program."""
        folder = "" if self._is_contained else make_folder(request, self._user)
        if self._group is not None:
            limits = request.limits
            self._group.prepare(memory_bytes=limits.memory_bytes, processes=limits.processes + self._is_contained)
        plan = plan_job(
            request, folder, memory_is_bounded=self._group is not None, other_tasks=self._count_other_tasks()
        )
        job, theirs = socket.socketpair()
        with theirs:
            unsent = _send_part(job, encode_job(plan))
            socket.send_fds(self._control, [b"R"], [theirs.fileno(), *pipes.child_ends])
            answer = self._control.recv(4)
        pid = int.from_bytes(answer, sys.byteorder, signed=True)
        if not answer or pid < 0:
            job.close()
            raise NotStartedError(f"no process could be cloned: {os.strerror(-pid) if answer else 'the zygote ended'}")
        run = JailRun(
            pid=pid,
            job=job,
            request=request,
            folder=folder,
            user=self._user,
            group=self._group,
            zygote=self._zygote.pid,
        )
        run.send(unsent)
        return run

    def close(self) -> None:
        """End the zygote."""
        self._control.close()
        self._zygote.kill()
        self._zygote.wait()
        if self._group is not None:
            self._group.remove()

    def _count_other_tasks(self) -> int:
        """Of our user, where programs have no user of their own and the kernel counts all together."""
        return count_tasks_of_this_user() if self._user is None and not self._is_contained else 0

    def _await_hello(self) -> dict[str, object]:
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


def _send_part(job: socket.socket, data: bytes) -> memoryview:
    """Send as much as nobody needs to wait for, so that a clone finds it at once; returns the rest."""
    return memoryview(data)[job.send(data, socket.MSG_DONTWAIT) :]


def _interpreter_folders() -> tuple[str, ...]:
    """Where this Python lives, outer folders first."""
    return tuple(sorted({sys.base_prefix, sys.base_exec_prefix, sysconfig.get_path("stdlib")}))


def _make_group() -> tuple[SlotGroup | None, str]:
    """A control group, or why there is none."""
    try:
        return SlotGroup(str(os.getpid())), ""
    except NoControlGroupError as error:
        return None, str(error)


def _start_zygote(settings: ZygoteSettings, control: int, interpreter: str) -> subprocess.Popen[bytes]:
    """The zygote's streams are pipes, as a program's will be: Python looks at its streams once, at its start."""
    stdin, unused = os.pipe()
    unread, stdout = os.pipe()
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    try:
        return subprocess.Popen(
            [interpreter, "-s", "-S", "-B", "-P", "-c", _BOOT, settings.encode(), package],
            stdin=stdin,
            stdout=stdout,
            pass_fds=[control],
            cwd="/",
            # Sets and dictionaries of programs are the same in every run.
            env={"PYTHONHASHSEED": "0", "LANG": "C.UTF-8", "LD_BIND_NOW": "1"},
        )
    finally:
        for descriptor in (stdin, unused, unread, stdout):
            os.close(descriptor)


@dataclass(slots=True, kw_only=True)
class JailRun:
    """One run; its process is a child of this one."""

    pid: int
    job: socket.socket
    request: Request
    folder: str
    user: ProgramUser | None
    group: SlotGroup | None
    zygote: int
    _is_reaped: bool = False
    _report: bytearray = field(default_factory=bytearray)
    _directories: list[int] = field(default_factory=list)

    def send(self, unsent: memoryview) -> None:
        """Send the rest of the job. That the clone ended meanwhile shows later."""
        if unsent:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.job.sendall(unsent)

    def end(self) -> RunEnd:
        """Kill what still runs, reap it, and say what it did.

        Raises:
            NotStartedError: It never became the program.
        """
        status, usage = self._kill_and_reap()
        cpu_seconds = usage.ru_utime + usage.ru_stime
        if self.folder:
            cpu_seconds += end_descendants(self.user, spared=self.zygote)
        self._read_report()
        if self._report.startswith(FAILED):
            raise NotStartedError(f"the program was not started: {self._report[1:].decode(errors='replace')}")
        if self._report.startswith(STATUS):
            status = int(self._report[1:])
        kept, limit = self.request.kept, self.request.limits.file_bytes
        files: dict[str, bytes] = {}
        if self.folder:
            files = read_kept(self.folder, kept, max_bytes=limit)
        elif self._directories:
            files = read_kept(self._directories[0], kept, max_bytes=limit)
        return RunEnd(
            status=status,
            cpu_seconds=max(cpu_seconds, self.group.cpu_seconds()) if self.group else cpu_seconds,
            files=files,
            peak_bytes=self.group.peak_bytes() if self.group else None,
            has_exceeded_memory=self.group is not None and self.group.has_exceeded(),
        )

    def close(self) -> None:
        """Leave nothing of it."""
        self._kill_and_reap()
        self.job.close()
        for directory in self._directories:
            os.close(directory)
        self._directories.clear()
        if self.folder:
            end_descendants(self.user, spared=self.zygote)
            remove_folder(self.folder)

    def _kill_and_reap(self) -> tuple[int, resource.struct_rusage]:
        """With the first process of a pid namespace the kernel ends all of it, before that process can be reaped."""
        if self._is_reaped:
            return 0, resource.getrusage(resource.RUSAGE_SELF)
        for kill in (os.kill, os.killpg):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(self.pid, signal.SIGKILL)
        _, status, usage = os.wait4(self.pid, 0)
        self._is_reaped = True
        return status, usage

    def _read_report(self) -> None:
        """All its writers have ended."""
        self.job.setblocking(False)
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            while len(self._report) <= _MAX_REPORT_BYTES:
                data, ancillary, _, _ = self.job.recvmsg(_MAX_REPORT_BYTES, socket.CMSG_SPACE(4))
                for _, _, content in ancillary:
                    self._directories += array.array("i", content)
                if not data:
                    return
                self._report += data.removeprefix(FOLDER)


LEVELS = (NAMESPACES, LANDLOCK)
"""What a `Jail` can be, the strongest first."""
