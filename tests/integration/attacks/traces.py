"""What a program could leave behind on this machine, looked for before and after it ran."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psutil

from prorl_reward_sandbox.execution.process.removal import empty_folder

_PUBLIC = ("/tmp", "/var/tmp", "/dev/shm", "/run/lock")
RESTRICTED_USER = 65532
_GROUPS = "/sys/fs/cgroup"


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """One look. Two of them are equal if nothing was left."""

    num_processes: int
    """Descendants of this process."""
    num_descriptors: int
    """Open in this process and all of them."""
    mounts: str
    files: frozenset[str]
    """Of the users that programs run as, where anybody may write. What sandboxes make themselves is left out for the
    user of a restricted pod, which all of them share."""
    groups: frozenset[str]
    """Control groups of our runners. A killed service's stay until the next runner starts, and process ids come again:
    a clone may have the id of a runner that is long gone."""


def look(users: frozenset[int]) -> Traces:
    """Look now.

    Args:
        users: Whom programs may run as.
    """
    everybody = [psutil.Process(), *psutil.Process().children(recursive=True)]
    runners = {str(process.pid) for process in psutil.Process().children()}
    return Traces(
        num_processes=len(everybody),
        num_descriptors=sum(_num_descriptors(process.pid) for process in everybody),
        mounts=Path("/proc/self/mounts").read_text(),
        files=frozenset((*(path for folder in _PUBLIC for path in _owned(folder, users)), *_working_folders())),
        groups=frozenset(path for path in _groups() if path.rpartition("-")[2] in runners),
    )


def remove_abandoned() -> None:
    """Remove the folders of killed services, whoever owns them: they would pass for a neighbour's."""
    for folder in glob.glob(os.path.join(tempfile.gettempdir(), "prorl-run-*")):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue  # a runner that lives holds it
        else:
            empty_folder(descriptor, deadline=float("inf"))  # however deep it is
            os.rmdir(folder)
        finally:
            os.close(descriptor)


def _num_descriptors(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def _working_folders() -> list[str]:
    """Folders of runs, within those of runners."""
    return glob.glob(os.path.join(tempfile.gettempdir(), "prorl-run-*", "*"))


def _owned(folder: str, users: frozenset[int]) -> list[str]:
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):  # somebody else's, and gone
                status = entry.stat(follow_symlinks=False)
                is_shared = status.st_uid == RESTRICTED_USER and entry.name.startswith("prorl-")
                if status.st_uid in users and not stat.S_ISSOCK(status.st_mode) and not is_shared:
                    found.append(entry.path)
    return found


def _groups() -> list[str]:
    return [
        os.path.join(folder, name)
        for folder, names, _ in os.walk(_GROUPS)
        for name in names
        if name.startswith("prorl-sandbox-")
    ]
