"""The last steps of a forked child before it becomes the program: limits, user, descriptors, environment.

Runs between fork and exec in a single-threaded runner. What goes wrong here is ours and not the program's, so it is
reported on a pipe that the kernel closes at a successful exec.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import resource
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from prorl_reward_sandbox import hygiene
from prorl_reward_sandbox.execution.process.run_request import Limits
from prorl_reward_sandbox.execution.process.user import ProgramUser

_MAX_OPEN_FILES = 256
TALK_FD = 3
"""Where a program finds its conversation."""
_REPORT_FD = 4
_UNREPORTED_EXIT_CODE = 126


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What to become. The descriptors are the child's ends; `report` tells why it did not get there.

    `talk` is -1 without a conversation.
    """

    argv: tuple[str, ...]
    folder: str
    resource_limits: Sequence[tuple[int, int, int]]
    user: ProgramUser | None
    stdin: int
    stdout: int
    stderr: int
    talk: int
    report: int


def become_program(launch: Launch) -> NoReturn:
    """Turn this process into the program."""
    try:
        os.setsid()
        _reset_signals()
        os.chdir(launch.folder)
        _arrange_descriptors(launch)
        forbid_resources()
        for kind, soft, hard in launch.resource_limits:
            resource.setrlimit(kind, (soft, hard))
        os.umask(0o077)
        if launch.user is not None:
            launch.user.become()
        hygiene.die_with_parent()  # after the change of user, which would reset it
        hygiene.forbid_new_privileges()
        environment = program_environment(launch.folder, temporary=launch.folder)
        os.execve(program_path(launch.argv[0]), list(launch.argv), environment)  # noqa: S606  (the purpose)
    except BaseException as error:  # noqa: BLE001  (process edge: the runner's stack must not unwind in the child)
        os.write(_REPORT_FD, f"{type(error).__name__}: {error}".encode()[:500])
    os._exit(_UNREPORTED_EXIT_CODE)


def program_path(name: str) -> str:
    """Return the path of a program; a relative one means the working folder."""
    return name if os.path.isabs(name) else os.path.join(".", name)


def program_environment(folder: str, *, temporary: str) -> dict[str, str]:
    """Return the program's whole environment."""
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": folder, "TMPDIR": temporary}


def _reset_signals() -> None:
    """Undo what Python and the runner ignore: ignored signals survive exec."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _arrange_descriptors(launch: Launch) -> None:
    """Arrange standard input, output and error, the conversation, the report, and nothing else."""
    wanted = (launch.stdin, launch.stdout, launch.stderr, launch.talk, launch.report)
    # First out of the way of 0..4, where a source might otherwise be overwritten before it is copied.
    sources = [_above_targets(descriptor) if descriptor >= 0 else -1 for descriptor in wanted]
    for target, source in enumerate(sources):
        if source >= 0:
            os.dup2(source, target, inheritable=target != _REPORT_FD)
        else:
            os.closerange(target, target + 1)
    os.closerange(_REPORT_FD + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[1])


def _above_targets(descriptor: int) -> int:
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _REPORT_FD + 1)


def resource_limits(limits: Limits, *, processes: int, memory_bytes: int | None) -> tuple[tuple[int, int, int], ...]:
    """Return the limits of a program and its descendants, as (kind, soft, hard) for `resource.setrlimit`.

    Args:
        processes: Processes and threads at once, of all that the program's user has.
        memory_bytes: Address space of each process; None: something else bounds the memory.
    """
    cpu_seconds = math.ceil(limits.cpu_seconds)
    address_space = resource.RLIM_INFINITY if memory_bytes is None else memory_bytes
    return (
        # SIGXCPU at the soft limit; SIGKILL a second later for who ignores it.
        (resource.RLIMIT_CPU, cpu_seconds, cpu_seconds + 1),
        (resource.RLIMIT_AS, address_space, address_space),
        (resource.RLIMIT_FSIZE, limits.file_bytes, limits.file_bytes),
        (resource.RLIMIT_NPROC, processes, processes),
        (resource.RLIMIT_NOFILE, _MAX_OPEN_FILES, _MAX_OPEN_FILES),
    )


def forbid_resources() -> None:
    """Take away what no program needs, from this process and its descendants."""
    for kind in (resource.RLIMIT_CORE, resource.RLIMIT_MEMLOCK):
        resource.setrlimit(kind, (0, 0))
    with contextlib.suppress(ValueError):  # gVisor has message queues, but no limit of them that could be set
        resource.setrlimit(resource.RLIMIT_MSGQUEUE, (0, 0))


def count_tasks_of_this_user() -> int:
    """Threads of our user right now: without a user of its own a program shares the count with everybody else."""
    user = f"{os.getuid()}"
    count = 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/status", encoding="utf-8", errors="replace") as file:
                    entries = dict(line.split(":", 1) for line in file)
            except OSError:
                continue  # it ended meanwhile
            if entries["Uid"].split()[0] == user:
                count += int(entries["Threads"])
    return count
