"""A control group for one slot: bounds the memory and the number of processes of a run together. Versions 1 and 2.

Groups beside each other have equal shares of the processors, where the kernel shares them by group: a slot with thirty
busy processes gets no more of them than one with a single process.

The zygote lives in it and its clones with it, so that no run has to be moved; what the zygote itself uses is added
to each limit. One group serves all runs of a slot: making one for each would cost as much as a run.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_PREFIX = "prorl-sandbox-"
_SERVICE = "prorl-service"
_UNLIMITED = 2**63
_CPU = "cpuacct"
_SHARES = "cpu"
"""The controller that gives each slot the same share of the processors, however many processes are in it."""
_MAX_FILE_BYTES = 4096
_LIMIT_STEP = 2**20


class NoControlGroupError(Exception):
    """No group can be had; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Files:
    """Names of what is read and written, in one version."""

    limit: str
    swap_limit: str
    swap_includes_memory: bool
    usage: str
    peak: str
    events: str
    cpu: str
    processes: str = "pids.max"


_V1 = _Files(
    limit="memory.limit_in_bytes",
    swap_limit="memory.memsw.limit_in_bytes",
    swap_includes_memory=True,
    usage="memory.usage_in_bytes",
    peak="memory.max_usage_in_bytes",
    events="memory.oom_control",
    cpu="cpuacct.usage",
)
_V2 = _Files(
    limit="memory.max",
    swap_limit="memory.swap.max",
    swap_includes_memory=False,
    usage="memory.current",
    peak="memory.peak",
    events="memory.events",
    cpu="cpu.stat",
)


class SlotGroup:
    """The group of one slot.

    Raises:
        NoControlGroupError: At its making.
    """

    def __init__(self, name: str) -> None:
        folders, self._files = _make(_PREFIX + name)
        self._memory, self._pids, self._cpu = folders["memory"], folders["pids"], folders.get(_CPU, "")
        self._folders = sorted(set(folders.values()))
        self._limit = _UNLIMITED
        self._processes = -1
        self._kills = 0
        self._baseline = 0
        self._cpu_baseline = 0.0
        self._open: dict[str, int] = {}

    def adopt(self, pid: int) -> None:
        """Move a process, and thereby its future children, into the group."""
        for folder in self._folders:
            _write(os.path.join(folder, "cgroup.procs"), str(pid))

    def prepare(self, *, memory_bytes: int, processes: int) -> None:
        """Before a run: its limits, and where its use is counted from."""
        self._baseline = self._number(self._files.usage)
        self._kills = self._count_kills()
        self._cpu_baseline = self._cpu_total()
        # In large steps: the baseline moves a little from run to run, and writing a limit costs more than reading.
        limit = (self._baseline + memory_bytes) // _LIMIT_STEP * _LIMIT_STEP
        if limit != self._limit:
            self._set_limit(limit)
        if processes != self._processes:
            _write(os.path.join(self._pids, self._files.processes), str(processes + 1))  # the zygote
            self._processes = processes
        self._begin_peak()

    def peak_bytes(self) -> int | None:
        """Most memory that the run used, file cache included; None if this kernel cannot tell."""
        if self._files is _V2:
            return None  # the file's reset holds for one open file only; the figure would be of all runs together
        with contextlib.suppress(OSError):
            return max(0, self._number(self._files.peak) - self._baseline)
        return None

    def cpu_seconds(self) -> float:
        """CPU time since `prepare`, the cloning included: also of processes that nobody waited for."""
        return self._cpu_total() - self._cpu_baseline

    def has_exceeded(self) -> bool:
        """Tell whether the kernel ended a process since `prepare`, because the memory was used up."""
        return self._count_kills() > self._kills

    def remove(self) -> None:
        """Remove it; nothing lives in it any more."""
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()
        for folder in self._folders:
            with contextlib.suppress(OSError):
                os.rmdir(folder)

    def _set_limit(self, limit: int) -> None:
        swap = limit if self._files.swap_includes_memory else 0
        names = [(self._files.limit, limit), (self._files.swap_limit, swap)]
        if self._files.swap_includes_memory and limit > self._limit:
            names.reverse()  # the sum of memory and swap may never be below the memory
        for name, value in names:
            path = os.path.join(self._memory, name)
            if name == self._files.limit or os.path.exists(path):  # a kernel may have no account of swap
                _write(path, str(value))
        self._limit = limit

    def _begin_peak(self) -> None:
        """Version 2 can do so since Linux 6.12, for whoever reads by the same descriptor, and says nothing before."""
        if self._files is _V2:
            return
        with contextlib.suppress(OSError):
            os.pwrite(self._descriptor(self._memory, self._files.peak, os.O_RDWR), b"0", 0)

    def _number(self, name: str) -> int:
        return int(self._read(self._memory, name))

    def _read(self, folder: str, name: str) -> bytes:
        return os.pread(self._descriptor(folder, name, os.O_RDONLY), _MAX_FILE_BYTES, 0)

    def _descriptor(self, folder: str, name: str, mode: int) -> int:
        """Files are opened once: they are used for every run."""
        path = os.path.join(folder, name)
        if path not in self._open:
            self._open[path] = os.open(path, mode | os.O_CLOEXEC)
        return self._open[path]

    def _cpu_total(self) -> float:
        if not self._cpu:
            return 0.0
        text = self._read(self._cpu, self._files.cpu)
        # Version 1: one number, in nanoseconds. Version 2: named numbers, the first in microseconds.
        return int(text) / 1e9 if self._files is _V1 else int(text.split()[1]) / 1e6

    def _count_kills(self) -> int:
        lines = self._read(self._memory, self._files.events).splitlines()
        return next((int(line.split()[1]) for line in lines if line.startswith(b"oom_kill ")), 0)


def _make(name: str) -> tuple[Mapping[str, str], _Files]:
    with open("/proc/self/cgroup", encoding="utf-8") as file:
        entries = [line.rstrip("\n").split(":", 2) for line in file]
    mounts = _mounts()
    ours = {controller: path for _, controllers, path in entries for controller in controllers.split(",")}
    try:
        if "memory" in ours and "pids" in ours:
            folders = {each: _make_v1(mounts, each, ours[each], name) for each in ("memory", "pids")}
            return folders | _make_optional_v1(mounts, ours, name), _V1
        if "" in ours:
            folder = _make_v2(mounts, ours[""], name)
            return {"memory": folder, "pids": folder, _CPU: folder}, _V2
    except OSError as error:
        raise NoControlGroupError(f"control groups cannot be written: {error}") from error
    raise NoControlGroupError("there are no control groups for memory and processes")


def _mounts() -> list[tuple[str, str, Sequence[str]]]:
    """(mount point, root of the mount, version and controllers) of control group file systems."""
    found: list[tuple[str, str, Sequence[str]]] = []
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        for line in file:
            before, _, after = line.partition(" - ")
            kind, _, options = after.split()[:3]
            if kind in ("cgroup", "cgroup2"):
                found.append((before.split()[4], before.split()[3], [kind, *options.split(",")]))
    return found


def _locate(mounts: Sequence[tuple[str, str, Sequence[str]]], mark: str, path: str) -> str:
    """Return the folder of a group."""
    for point, root, marks in mounts:
        if mark in marks:
            inside = os.path.relpath(path, root)
            return point if inside.startswith("..") else os.path.normpath(os.path.join(point, inside))
    raise FileNotFoundError(f"the control groups of {mark} are not mounted")


def _make_v1(mounts: Sequence[tuple[str, str, Sequence[str]]], controller: str, path: str, name: str) -> str:
    parent = _locate(mounts, controller, path)
    _sweep(parent, name)
    folder = os.path.join(parent, name)
    os.makedirs(folder, exist_ok=True)  # two controllers may have one hierarchy
    return folder


def _make_optional_v1(
    mounts: Sequence[tuple[str, str, Sequence[str]]], ours: Mapping[str, str], name: str
) -> dict[str, str]:
    """Make the groups that account for the processors and share them, as far as they can be had."""
    folders = {}
    for controller in (_CPU, _SHARES):
        with contextlib.suppress(KeyError, OSError):
            folders[controller] = _make_v1(mounts, controller, ours[controller], name)
    return folders


def _make_v2(mounts: Sequence[tuple[str, str, Sequence[str]]], path: str, name: str) -> str:
    parent = _locate(mounts, "cgroup2", path)
    if os.path.basename(parent) == _SERVICE:
        parent = os.path.dirname(parent)  # another runner has moved the service there
    with open(os.path.join(parent, "cgroup.controllers"), encoding="ascii") as file:
        controllers = set(file.read().split())
    if not {"memory", "pids"} <= controllers:
        raise FileNotFoundError(f"{parent} does not hand down memory and pids")
    _sweep(parent, name)
    # A group that hands down controllers may hold no process itself: ours move one level down.
    service = os.path.join(parent, _SERVICE)
    with contextlib.suppress(FileExistsError):
        os.mkdir(service)
    with open(os.path.join(parent, "cgroup.procs"), encoding="ascii") as file:
        for pid in file.read().split():
            with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
                _write(os.path.join(service, "cgroup.procs"), pid)
    _write(os.path.join(parent, "cgroup.subtree_control"), "+memory +pids")
    if _SHARES in controllers:
        with contextlib.suppress(OSError):  # a kernel with real-time groups refuses it where a process is real-time
            _write(os.path.join(parent, "cgroup.subtree_control"), f"+{_SHARES}")
    folder = os.path.join(parent, name)
    os.mkdir(folder)
    return folder


def _sweep(parent: str, ours: str) -> None:
    """Remove what runners that were killed have left; a group in use cannot be removed.

    One that already has the name of ours is of a runner that had our process id before, with that one's limits.
    """
    for name in os.listdir(parent):
        pid = name.removeprefix(_PREFIX)
        if name == ours or (pid != name and not os.path.exists(f"/proc/{pid}")):
            with contextlib.suppress(OSError):
                os.rmdir(os.path.join(parent, name))


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
