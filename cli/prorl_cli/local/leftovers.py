"""Ending processes that an earlier body left behind, and the file that makes it possible.

A child normally dies with its supervisor through the lifeline. This is the second net: every child's pid and start
time are on disk, so that a later start can end whole process groups without hitting a stranger that got the pid.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable
from pathlib import Path

import psutil
from pydantic import TypeAdapter, ValidationError

from prorl_api.wire.base import WireModel
from prorl_cli.local.files import write_atomically

_START_TIME_TOLERANCE_SECONDS = 2.0
"""The kernel counts ticks since boot; the boot time that turns them into Unix time is known to the second."""


class ProcessRecord(WireModel):
    """One child in `processes.json`. It leads its own process group, so its pid is the group's."""

    name: str
    pid: int
    create_time: float


_Records = TypeAdapter(tuple[ProcessRecord, ...])


def write_records(path: Path, records: Iterable[ProcessRecord]) -> None:
    """Replace the file."""
    write_atomically(path, _Records.dump_json(tuple(records), indent=2).decode())


def read_records(path: Path) -> tuple[ProcessRecord, ...]:
    """Return the file's records; none if it is missing or torn: the lifeline has then done the work."""
    try:
        return _Records.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return ()


def end_leftovers(path: Path) -> list[str]:
    """Kill what is left of the recorded children's groups and wait for it; the names of those that lived."""
    found: list[str] = []
    victims: list[psutil.Process] = []
    for record in read_records(path):
        members = _members_of(record)
        if members:
            found.append(record.name)
            victims += members
            kill_group(record.pid)
    psutil.wait_procs(victims, timeout=10)
    return found


def kill_group(pid: int) -> None:
    """SIGKILL to a process group; nothing if it is gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _members_of(record: ProcessRecord) -> list[psutil.Process]:
    """Return the living processes of the recorded group, or none if the group's number now belongs to somebody else."""
    with contextlib.suppress(psutil.Error):
        leader = psutil.Process(record.pid)
        if abs(leader.create_time() - record.create_time) > _START_TIME_TOLERANCE_SECONDS:
            return []
    members = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
            same_group = os.getpgid(process.pid) == record.pid
            not_older = process.create_time() >= record.create_time - _START_TIME_TOLERANCE_SECONDS
            if same_group and not_older and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process)
    return members
