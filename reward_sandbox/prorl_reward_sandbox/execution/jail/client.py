"""The runner's side of a jail: have a clone become the program, end the run and say what it did."""

from __future__ import annotations

import array
import contextlib
import os
import resource
import signal
import socket
import sys
import sysconfig
from dataclasses import dataclass, field

from prorl_reward_sandbox.execution.jail.cgroups import NoControlGroupError, SlotGroup
from prorl_reward_sandbox.execution.jail.child import FAILED, FOLDER, STATUS
from prorl_reward_sandbox.execution.jail.clones import Clone, Zygote
from prorl_reward_sandbox.execution.jail.jobs import encode_job, plan_job
from prorl_reward_sandbox.execution.jail.settings import NAMESPACES, PRELOADED, ZygoteSettings
from prorl_reward_sandbox.execution.process.child_setup import count_tasks_of_this_user
from prorl_reward_sandbox.execution.process.cleanup import end_descendants
from prorl_reward_sandbox.execution.process.containers import NotStartedError, RunEnd
from prorl_reward_sandbox.execution.process.folders import RunFolder, RunFolders, read_kept
from prorl_reward_sandbox.execution.process.interpreters import readable_interpreter
from prorl_reward_sandbox.execution.process.libraries import folders_of, located
from prorl_reward_sandbox.execution.process.run_request import Request
from prorl_reward_sandbox.execution.process.streams import Pipes
from prorl_reward_sandbox.execution.process.user import ProgramUser

_MAX_REPORT_BYTES = 4096
_SPARE = 1
_MAX_LIBRARY_ZYGOTES = 2
"""Besides the one without libraries; each holds 20 to 80 MiB."""
_ZYGOTE_BYTES, _ZYGOTE_PROCESSES = 2**30, 64
"""Room to start one in."""


class Jail:
    """A container by namespaces or by Landlock.

    Raises:
        NotStartedError: At its making: this level cannot be had here.
    """

    def __init__(self, level: str, user: ProgramUser | None) -> None:
        self._user = user
        self._level = level
        self._is_contained = level == NAMESPACES
        self._group, self._no_group = _make_group()
        # In namespaces a run has a file system of its own, which ends with it.
        self._folders = None if self._is_contained else RunFolders()
        # By the libraries that they have imported, those used last at the end.
        self._zygotes: dict[tuple[str, ...], Zygote] = {}
        self._libraries: tuple[str, ...] = ()
        try:
            self._containment = self._start_zygote(())
            self.get_ready()
        except BaseException:
            self.close()
            raise

    @property
    def facts(self) -> dict[str, object]:
        """What was found at the start, for people and metrics."""
        return {**self._containment, "memory_bounded": self._group is not None, "no_control_group": self._no_group}

    def prepare(self, request: Request) -> None:
        """Have a zygote with the libraries of a run."""
        libraries = self._libraries = request.libraries
        if libraries in self._zygotes:
            self._zygotes[libraries] = self._zygotes.pop(libraries)
            return
        kept = [each for each in self._zygotes if each]
        if len(kept) >= _MAX_LIBRARY_ZYGOTES:
            self._zygotes.pop(kept[0]).close()
        self._start_zygote(libraries)

    def start(self, request: Request, talk: int) -> JailRun:
        """Have a clone become the program."""
        clone = self._zygote.clone(talk)
        folder = None
        try:
            if self._folders is not None:
                folder = self._folders.make(request, self._user)
            return self._tell(clone, request, folder)
        except BaseException:
            clone.discard()
            if self._folders is not None and folder is not None:
                self._folders.discard(folder)
            raise

    def get_ready(self) -> None:
        """Have the next run's clone made. In namespaces only: elsewhere a program's end would be its end too."""
        if self._is_contained:
            self._zygote.get_ready()

    def tidy(self) -> bool:
        """Remove what runs left. In namespaces nothing is left."""
        return self._folders is not None and self._folders.tidy()

    def close(self) -> None:
        """End the zygotes."""
        for zygote in self._zygotes.values():
            zygote.close()
        if self._folders is not None:
            self._folders.close()
        if self._group is not None:
            self._group.remove()

    @property
    def _zygote(self) -> Zygote:
        return self._zygotes[self._libraries]

    def _start_zygote(self, libraries: tuple[str, ...]) -> dict[str, object]:
        """Start one and return what it found possible.

        Raises:
            OSError: It cannot be had; there is none with these libraries then.
        """
        packages = located(libraries)
        settings = ZygoteSettings(
            level=self._level,
            user_id=self._user.user_id if self._user else None,
            readable=(*_interpreter_folders(), *folders_of(packages)),
            preloaded=tuple(PRELOADED),
            libraries=tuple(packages.items()),
            memory_is_bounded=self._group is not None,
        )
        # A mount namespace shows the interpreter to whoever is in it; elsewhere the user must find it by itself.
        interpreter = readable_interpreter(None if self._is_contained else self._user)
        if self._group is not None and libraries:
            # The limits are those of the run before it, and bound the zygotes' own use too.
            self._group.prepare(memory_bytes=_ZYGOTE_BYTES, processes=_ZYGOTE_PROCESSES)
        zygote = Zygote(settings, interpreter)
        try:
            if self._group is not None:
                self._group.adopt(zygote.pid)
            containment = zygote.await_ready()
        except BaseException:
            zygote.close()
            raise
        self._zygotes[libraries] = zygote
        return containment

    def _tell(self, clone: Clone, request: Request, folder: RunFolder | None) -> JailRun:
        # Counted by the kernel besides the program's: the one that waits for it, and the clone that is kept ready.
        if self._group is not None:
            others = (len(self._zygotes) - 1) * (1 + _SPARE if self._is_contained else 1)
            processes = request.limits.processes + others + (1 + _SPARE if self._is_contained else 0)
            self._group.prepare(memory_bytes=request.limits.memory_bytes, processes=processes)
        shares_user = self._user is None and not self._is_contained
        job = plan_job(
            request,
            folder.path if folder is not None else "",
            memory_is_bounded=self._group is not None,
            other_tasks=count_tasks_of_this_user() - 1 if shares_user else 0,  # the clone is the program's first
        )
        clone.send(encode_job(job))
        return JailRun(
            clone=clone,
            request=request,
            folder=folder,
            folders=self._folders,
            user=self._user,
            group=self._group,
            zygotes=tuple(zygote.pid for zygote in self._zygotes.values()),
        )


def _interpreter_folders() -> tuple[str, ...]:
    """Return where this Python lives, outer folders first."""
    return tuple(sorted({sys.base_prefix, sys.base_exec_prefix, sysconfig.get_path("stdlib")}))


def _make_group() -> tuple[SlotGroup | None, str]:
    """Return a control group, or why there is none."""
    try:
        return SlotGroup(str(os.getpid())), ""
    except NoControlGroupError as error:
        return None, str(error)


@dataclass(slots=True, kw_only=True)
class JailRun:
    """One run; its process is a child of this one."""

    clone: Clone
    request: Request
    folder: RunFolder | None
    folders: RunFolders | None
    user: ProgramUser | None
    group: SlotGroup | None
    zygotes: tuple[int, ...]
    _is_reaped: bool = False
    _report: bytearray = field(default_factory=bytearray)
    _directories: list[int] = field(default_factory=list)

    @property
    def pid(self) -> int:
        """See `Run`."""
        return self.clone.pid

    @property
    def pipes(self) -> Pipes:
        """See `Run`."""
        return self.clone.pipes

    def end(self) -> RunEnd:
        """Kill what still runs, reap it, and say what it did.

        Raises:
            NotStartedError: It never became the program.
        """
        status, usage = self._kill_and_reap()
        cpu_seconds = usage.ru_utime + usage.ru_stime
        if self.folder is not None:
            cpu_seconds += self._end_descendants()
        self._read_report()
        if self._report.startswith(FAILED):
            raise NotStartedError(f"the program was not started: {self._report[1:].decode(errors='replace')}")
        if self._report.startswith(STATUS):
            status = int(self._report[1:])
        kept, limit = self.request.kept, self.request.limits.file_bytes
        files: dict[str, bytes] = {}
        if self.folder is not None:
            files = read_kept(self.folder.descriptor, kept, max_bytes=limit)
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
        self.clone.job.close()
        self.clone.pipes.close()
        for directory in self._directories:
            os.close(directory)
        self._directories.clear()
        if self.folder is not None and self.folders is not None:
            self._end_descendants()
            self.folders.discard(self.folder)
            self.folder = None

    def _end_descendants(self) -> float:
        helpers = self.folders.helpers if self.folders is not None else ()
        return end_descendants(self.user, spared=(*self.zygotes, *helpers))

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
        """Return all its writers have ended."""
        self.clone.job.setblocking(False)
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            while len(self._report) <= _MAX_REPORT_BYTES:
                data, ancillary, _, _ = self.clone.job.recvmsg(_MAX_REPORT_BYTES, socket.CMSG_SPACE(4))
                for _, _, content in ancillary:
                    self._directories += array.array("i", content)
                if not data:
                    return
                self._report += data.removeprefix(FOLDER)
