"""The container of the level `process`: a forked child with limits and a user of its own, and no more."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass

from prorl_reward_sandbox.execution.process.child_setup import (
    Launch,
    become_program,
    count_tasks_of_this_user,
    resource_limits,
)
from prorl_reward_sandbox.execution.process.cleanup import end_descendants
from prorl_reward_sandbox.execution.process.containers import NotStartedError, RunEnd
from prorl_reward_sandbox.execution.process.folders import RunFolder, RunFolders, read_kept
from prorl_reward_sandbox.execution.process.run_request import Request
from prorl_reward_sandbox.execution.process.streams import Pipes
from prorl_reward_sandbox.execution.process.user import ProgramUser

_MAX_REPORT_BYTES = 1024


class Forked:
    """Starts programs as children of the runner."""

    def __init__(self, user: ProgramUser | None) -> None:
        self._user = user
        self._folders = RunFolders()

    @property
    def facts(self) -> Mapping[str, object]:
        """Nothing had to be found."""
        return {"memory_bounded": False}

    def prepare(self, request: Request) -> None:
        """There is nothing that runs share."""

    def start(self, request: Request, talk: int) -> ForkedRun:
        """Fork; returns when the child has become the program."""
        pipes = Pipes.make(talk, user_id=self._user.user_id if self._user is not None else None)
        folder: RunFolder | None = None
        try:
            folder = self._folders.make(request, self._user)
            report, child_report = os.pipe()
            launch = self._launch(request, folder.path, pipes, child_report)
            pid = os.fork()
            if pid == 0:
                become_program(launch)
            os.close(child_report)
            pipes.close_child_ends()
        except BaseException:
            pipes.close()
            if folder is not None:
                self._folders.discard(folder)
            raise
        run = ForkedRun(pid=pid, pipes=pipes, folder=folder, folders=self._folders, request=request, user=self._user)
        with os.fdopen(report, "rb") as pipe:
            fault = pipe.read(_MAX_REPORT_BYTES)  # ends when exec closes the other end
        if fault:
            run.close()
            raise NotStartedError(f"the program was not started: {fault.decode(errors='replace')}")
        return run

    def get_ready(self) -> None:
        """There is nothing that could be prepared."""

    def tidy(self) -> bool:
        """Remove what runs left."""
        return self._folders.tidy()

    def close(self) -> None:
        """Remove what is left."""
        self._folders.close()

    def _launch(self, request: Request, folder: str, pipes: Pipes, report: int) -> Launch:
        others = count_tasks_of_this_user() if self._user is None else 0
        limits = request.limits
        return Launch(
            argv=request.argv,
            folder=folder,
            resource_limits=resource_limits(
                limits, processes=limits.processes + others, memory_bytes=limits.memory_bytes
            ),
            user=self._user,
            stdin=pipes.child_stdin,
            stdout=pipes.child_stdout,
            stderr=pipes.child_stderr,
            talk=pipes.child_talk,
            report=report,
        )


@dataclass(slots=True, kw_only=True)
class ForkedRun:
    """One run."""

    pid: int
    pipes: Pipes
    folder: RunFolder
    folders: RunFolders
    request: Request
    user: ProgramUser | None
    _is_closed: bool = False

    def end(self) -> RunEnd:
        """Kill what is left of it, and say what it did."""
        # The program is not reaped yet, so the ids are still its own.
        for kill in (os.kill, os.killpg):
            # Nobody else in the group, or somebody who became another user: descendants are ended next.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(self.pid, signal.SIGKILL)
        _, status, usage = os.wait4(self.pid, 0)
        descendants = end_descendants(self.user, spared=self.folders.helpers)
        cpu_seconds = usage.ru_utime + usage.ru_stime + descendants
        files = read_kept(self.folder.descriptor, self.request.kept, max_bytes=self.request.limits.file_bytes)
        return RunEnd(status=status, cpu_seconds=cpu_seconds, files=files)

    def close(self) -> None:
        """Leave nothing of it."""
        if not self._is_closed:
            self._is_closed = True
            self.pipes.close()
            end_descendants(self.user, spared=self.folders.helpers)
            self.folders.discard(self.folder)
