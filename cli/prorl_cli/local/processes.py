"""The child processes of a run: started in groups of their own, watched, and ended with everything they started."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from prorl_api.run_folder import RunFolder
from prorl_cli.local.files import last_words
from prorl_cli.local.leftovers import ProcessRecord, kill_group, write_records
from prorl_cli.local.orphans import Orphans
from prorl_control.members import Exit, Member, MemberKey, MemberStart, MemberState

END_GRACE_SECONDS = 10.0
"""Between SIGTERM and SIGKILL: enough to answer running requests, short enough for a person who waits."""
STARTING_GRACE_SECONDS = 2.0
"""The same for a member that was never ready: it has nothing to finish, and a loading engine hears no signal."""


@dataclass(slots=True, kw_only=True)
class _Child:
    """One process and what is known of it."""

    start: MemberStart
    process: subprocess.Popen[bytes]
    create_time: float
    started_at: float
    log_begins: int
    """Size of its log when it was started: what is after it is its own."""
    was_ready: bool = False
    asked_to_end_at: float | None = None
    exit: Exit | None = None
    exited_at: float | None = None


class ProcessTable:
    """All children of this body, the ended ones included until they are replaced."""

    def __init__(self, run: RunFolder, clock: Callable[[], float] = time.time) -> None:
        self._run = run
        self._clock = clock
        self._children: dict[MemberKey, _Child] = {}
        self._lifeline_read, self._lifeline_write = os.pipe()
        self._orphans = Orphans()

    @property
    def lifeline(self) -> int:
        """The descriptor every child inherits; it reads end-of-file once this process is gone."""
        return self._lifeline_read

    def start(
        self, start: MemberStart, argv: Sequence[str], environment: Mapping[str, str], descriptors: Sequence[int]
    ) -> None:
        """Start one member, replacing an ended one.

        Raises:
            OSError: The program or its log cannot be opened.
        """
        now = self._clock()
        with self.log_path(start.key).open("ab") as log:
            stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
            attempt = f" attempt {start.attempt}" if start.attempt else ""
            log.write(f"=== {stamp} {start.key.name}{attempt} starts ===\n".encode())
            log.flush()
            log_begins = log.tell()
            process = subprocess.Popen(
                list(argv),
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[self._lifeline_read, *descriptors],
            )
        try:
            create_time = psutil.Process(process.pid).create_time()
        except psutil.Error:
            create_time = now
        self._children[start.key] = _Child(
            start=start, process=process, create_time=create_time, started_at=now, log_begins=log_begins
        )
        self._record()

    def log_path(self, key: MemberKey) -> Path:
        """Return where the member's output goes."""
        return self._run.logs / f"{key.name}.log"

    def observe(self, is_ready: Callable[[MemberKey], bool]) -> tuple[Member, ...]:
        """Return every member as it is now. Ended ones are reaped with their whole group on the way."""
        ended = [self._reap(child) for child in self._children.values()]
        if any(ended):
            self._orphans.end(self._pids)
        for child in self._children.values():
            self._press(child)
        return tuple(self._member(key, child, is_ready) for key, child in self._children.items())

    def end(self, key: MemberKey) -> None:
        """Ask a member to end; it is killed if it has not within the grace period. Repeating it changes nothing."""
        child = self._children[key]
        if child.exit is None and child.asked_to_end_at is None:
            child.asked_to_end_at = self._clock()
            # Not reaped yet, so the pid is still ours.
            child.process.terminate()

    def kill_all(self) -> None:
        """End everything at once and wait for it."""
        for child in self._children.values():
            if child.exit is None:
                kill_group(child.process.pid)
        for child in self._children.values():
            if child.exit is None:
                child.process.wait()
                child.exit = _exit_of(child.process.returncode)
                child.exited_at = self._clock()
        self._orphans.end(self._pids)
        with contextlib.suppress(OSError):  # a full disk must not keep processes alive
            self._record()

    def close(self) -> None:
        """Kill what lives and close the lifeline."""
        self.kill_all()
        self._orphans.close()
        os.close(self._lifeline_read)
        os.close(self._lifeline_write)

    @property
    def _pids(self) -> frozenset[int]:
        return frozenset(child.process.pid for child in self._children.values())

    def _reap(self, child: _Child) -> bool:
        """Tell whether the child has just ended; its group has then ended too."""
        if child.exit is not None:
            return False
        # The zombie keeps its pid, and so the group's number, until its helpers have been killed.
        if os.waitid(os.P_PID, child.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return False
        kill_group(child.process.pid)
        child.process.wait()
        end = _exit_of(child.process.returncode)
        said = last_words(self.log_path(child.start.key), child.log_begins)
        child.exit = dataclasses.replace(end, termination_message=said)
        child.exited_at = self._clock()
        return True

    def _press(self, child: _Child) -> None:
        asked_at = child.asked_to_end_at
        grace = END_GRACE_SECONDS if child.was_ready else STARTING_GRACE_SECONDS
        if child.exit is None and asked_at is not None and self._clock() - asked_at > grace:
            kill_group(child.process.pid)

    def _member(self, key: MemberKey, child: _Child, is_ready: Callable[[MemberKey], bool]) -> Member:
        if child.exit is not None:
            state = MemberState.EXITED
        elif is_ready(key):
            state, child.was_ready = MemberState.READY, True
        else:
            state = MemberState.RUNNING if child.was_ready else MemberState.STARTING
        return Member(
            role=key.role,
            index=key.index,
            attempt=child.start.attempt,
            state=state,
            exit=child.exit,
            started_at=child.started_at,
            exited_at=child.exited_at,
        )

    def _record(self) -> None:
        write_records(
            self._run.processes,
            [
                ProcessRecord(name=key.name, pid=child.process.pid, create_time=child.create_time)
                for key, child in self._children.items()
                if child.exit is None
            ],
        )


def _exit_of(returncode: int) -> Exit:
    if returncode >= 0:
        return Exit(code=returncode)
    reason = "out of memory, or killed from outside" if -returncode == signal.SIGKILL else ""
    return Exit(signal=-returncode, reason=reason)
