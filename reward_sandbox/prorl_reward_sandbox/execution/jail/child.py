"""A clone of the zygote becomes the program: its own file system, limits, user, filter, and then the program's code.

What goes wrong before that is ours, and is said on the job's socket, which the program never gets. Everything here is
written to look at few objects: see `jobs` and `steps`.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
from collections.abc import Sequence

# By name, since to look one up in a module may cost a clone the copies of three pages.
from os import chdir, close, closerange, dup2
from resource import setrlimit
from typing import NamedTuple, NoReturn

from prorl_reward_sandbox.execution.jail import landlock, root
from prorl_reward_sandbox.execution.jail.filter import build_filter
from prorl_reward_sandbox.execution.jail.jobs import read_job
from prorl_reward_sandbox.execution.jail.linux import installing_filter, mount_memory
from prorl_reward_sandbox.execution.jail.script import Script
from prorl_reward_sandbox.execution.jail.settings import Containment, ZygoteSettings
from prorl_reward_sandbox.execution.jail.steps import Steps, carry_out, prepare_steps
from prorl_reward_sandbox.execution.jail.syscalls import Architecture
from prorl_reward_sandbox.execution.process.child_setup import TALK_FD, program_environment, program_path
from prorl_reward_sandbox.execution.process.files import write_file

FAILED = b"F"
"""On the job's socket: why the program was not started."""
STATUS = b"S"
"""The wait status of an executable, whose parent is the first process of the run."""
FOLDER = b"K"
"""Comes with the working folder's descriptor."""
_JOB_FD = 4
FIRST_FREE = 5
"""Below it are the program's descriptors and the job's socket."""
_FAILED_EXIT_CODE = 126
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/alternatives")
_BOX = root.BOX.encode()


class Confinement(NamedTuple):
    """What Landlock needs to know."""

    readable: tuple[str, ...]
    """Folders that programs may read besides the system's."""
    own_pid_only: bool
    """See `Containment`."""


class Context(NamedTuple):
    """What a run needs of the zygote; nothing of any request."""

    steps: Steps
    script: Script
    max_descriptors: int
    confinement: Confinement


def make_context(settings: ZygoteSettings, containment: Containment) -> Context:
    """Make once what is the same for all runs, the environment of programs included."""
    os.environ.clear()
    os.environ.update(program_environment(root.WORK, temporary=root.TEMPORARY))
    return Context(
        steps=prepare_steps(settings, containment),
        script=Script(),
        max_descriptors=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        confinement=Confinement(settings.readable, containment.own_pid_only),
    )


def become_program(context: Context, descriptors: Sequence[int]) -> NoReturn:
    """Turn this clone into the program."""
    code = _FAILED_EXIT_CODE
    talk = descriptors[0]
    try:
        job = read_job(talk)
        if job is not None:
            steps, script, max_descriptors, confinement = context
            in_box, in_session, as_user, filtering, as_script = steps
            folder, box, files, argv, source, hands_over, limits = job
            if box:
                mount_memory(_BOX, box)
                carry_out(in_box)
            _arrange_descriptors(descriptors, max_descriptors)
            talk = _JOB_FD
            chdir(folder)
            carry_out(in_session)
            if hands_over:
                _hand_over_folder()
            carry_out(as_user)
            for name, content, mode in files:
                write_file(name, content, mode)
            for kind, soft, hard in limits:
                setrlimit(kind, (soft, hard))
            if not box:
                _confine(folder, confinement)
            carry_out(filtering)
            if source is None:
                code = _run_executable(folder, argv)
            else:
                carry_out(as_script)
                if folder != root.WORK:
                    os.environ.update(program_environment(folder, temporary=folder))
                close(_JOB_FD)
                code = script.run(folder, argv, source)
    except BaseException as error:  # noqa: BLE001  (process edge: the zygote's stack must not unwind in a clone)
        os.write(talk, FAILED + f"{type(error).__name__}: {error}".encode()[:500])
    finally:
        os._exit(code)


def _arrange_descriptors(descriptors: Sequence[int], maximum: int) -> None:
    """Arrange standard input, output and error, the conversation, the job, and nothing else."""
    # The zygote sees to it that no target is a source.
    dup2(descriptors[0], _JOB_FD, False)
    for target, source in enumerate(descriptors[1:]):
        dup2(source, target)
    if len(descriptors) <= TALK_FD + 1:
        close(TALK_FD)
    closerange(FIRST_FREE, maximum)


def _hand_over_folder() -> None:
    descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    with socket.socket(fileno=os.dup(_JOB_FD)) as job:
        socket.send_fds(job, [FOLDER], [descriptor])
    os.close(descriptor)


def _confine(folder: str, confinement: Confinement) -> None:
    """Return where there is no file system of the run's own."""
    own = f"/proc/{os.getpid()}"
    landlock.confine(readable=(*_SYSTEM, *confinement.readable, own), writable=(folder,))
    if confinement.own_pid_only:
        program = build_filter(Architecture.here(), in_namespaces=False, own_pid=os.getpid())
        carry_out((installing_filter(program),))


def _run_executable(folder: str, argv: tuple[str, ...]) -> int:
    path = program_path(argv[0])
    defaults = (signal.SIGPIPE, signal.SIGXFSZ)
    if folder != root.WORK:
        for number in defaults:
            signal.signal(number, signal.SIG_DFL)
        environment = program_environment(folder, temporary=folder)
        os.execve(path, list(argv), environment)  # noqa: S606  (the purpose)
    # The first process of a pid namespace ignores signals that it does not handle, `abort` included: so it only waits.
    program = os.posix_spawn(path, list(argv), os.environ, setsigdef=defaults)
    while True:
        pid, status = os.wait()
        if pid == program:
            os.write(_JOB_FD, STATUS + str(status).encode())
            return 0
