"""What a clone of the zygote is to do, worked out by the runner.

A clone shares its memory with the zygote until it writes, and Python writes wherever it looks, if only to count
references: every object that a clone touches may cost it the copy of a page. So decisions are the runner's, which is
warm, and a flat tuple crosses. Its encoding is `marshal`: only a runner writes it, and a clone trusts its runner.
"""

from __future__ import annotations

import marshal
import os
from collections.abc import Mapping
from typing import NamedTuple

from prorl_reward_sandbox.execution.jail.root import MAX_INODES, WORK
from prorl_reward_sandbox.execution.process.child_setup import resource_limits
from prorl_reward_sandbox.execution.process.files import file_mode
from prorl_reward_sandbox.execution.process.run_request import LIBRARY_ADDRESS_BYTES, PYTHON, Request

_MIN_BOX_BYTES = 64 * 2**20
_BOX_FILES = 4
"""How many files of the largest size a run's file system holds, beyond those that it is given."""
_LENGTH_BYTES = 8
_CHUNK = 4000


class Job(NamedTuple):
    """One run, for the clone that becomes it.

    Attributes:
        folder: The working folder.
        box: Mount options of the run's own file system; empty: it has none, and the folder is there with its files.
            Bytes, as the kernel takes them.
        files: (name, content, mode) of what to write into the folder.
        argv: The program and its arguments.
        source: The script, for a Python program; None: `argv[0]` is executed.
        hands_over: Whether the runner wants the folder's descriptor, to read files after the run.
        limits: (kind, soft, hard) as for `resource.setrlimit`.
    """

    folder: str
    box: bytes
    files: tuple[tuple[str, bytes, int], ...]
    argv: tuple[str, ...]
    source: bytes | None
    hands_over: bool
    limits: tuple[tuple[int, int, int], ...]


Fields = tuple[
    str,
    bytes,
    tuple[tuple[str, bytes, int], ...],
    tuple[str, ...],
    bytes | None,
    bool,
    tuple[tuple[int, int, int], ...],
]
"""A `Job` in the clone: whose names would have to be looked up."""


def plan_job(request: Request, folder: str, *, memory_is_bounded: bool, other_tasks: int) -> Job:
    """Work out a run.

    Args:
        folder: Where its files are already; empty: in a file system of its own.
        memory_is_bounded: A control group bounds the memory, so that executables need no limit of address space.
        other_tasks: Threads of others that the kernel counts together with the program's.
    """
    is_python = request.runtime == PYTHON
    limits = request.limits
    # In namespaces the first process of a run counts, where it is not the program itself.
    processes = limits.processes + other_tasks + (not folder and not is_python)
    memory_bytes = None if memory_is_bounded and not is_python else limits.memory_bytes
    if memory_bytes is not None and request.libraries:
        memory_bytes += LIBRARY_ADDRESS_BYTES
    return Job(
        folder=folder or WORK,
        box=b"" if folder else _box_options(request),
        files=() if folder else tuple(_files(request.files, request.executables)),
        argv=request.argv,
        source=request.files.get(request.argv[0]) if is_python else None,
        hands_over=bool(request.kept) and not folder,
        limits=resource_limits(limits, processes=processes, memory_bytes=memory_bytes),
    )


def encode_job(job: Job) -> bytes:
    """Return the job's bytes, their number first."""
    body = marshal.dumps(tuple(job))
    return len(body).to_bytes(_LENGTH_BYTES, "little") + body


def read_job(descriptor: int) -> Fields | None:
    """Read what `encode_job` made; None if the far end closed before."""
    data = os.read(descriptor, _CHUNK)
    size = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "little")
    if len(data) < size:
        whole = _read_rest(descriptor, data, size)
        if whole is None:
            return None
        data = whole
    fields: Fields = marshal.loads(data[_LENGTH_BYTES:])  # noqa: S302  (of the runner's making)
    return fields


def _read_rest(descriptor: int, begun: bytes, size: int) -> bytes | None:
    """Return a job with large files, in one piece: adding part to part would copy the beginning again and again."""
    parts, missing = [begun], size - len(begun)
    while missing:
        part = os.read(descriptor, missing)
        if not part:
            return None
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _box_options(request: Request) -> bytes:
    given = sum(len(content) for content in request.files.values())
    limits = request.limits
    room = min(limits.memory_bytes, max(_MIN_BOX_BYTES, _BOX_FILES * limits.file_bytes))
    return f"size={room + 2 * given},nr_inodes={MAX_INODES},mode=755".encode()


def _files(files: Mapping[str, bytes], executables: frozenset[str]) -> list[tuple[str, bytes, int]]:
    return [(name, content, file_mode(is_executable=name in executables)) for name, content in files.items()]
