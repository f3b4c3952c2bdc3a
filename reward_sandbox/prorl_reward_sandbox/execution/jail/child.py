"""A clone of the zygote becomes the program: its own file system, limits, user, filter, and then the program's code.

What goes wrong before that is ours, and is said on the job's socket, which the program never gets. Everything here is
written to look at few objects: see `jobs`.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
from dataclasses import dataclass, field
from typing import NoReturn

from prorl_reward_sandbox import hygiene
from prorl_reward_sandbox.execution.files import write_file
from prorl_reward_sandbox.execution.jail import landlock, linux, root
from prorl_reward_sandbox.execution.jail.filter import build_filter
from prorl_reward_sandbox.execution.jail.jobs import Job, read_job
from prorl_reward_sandbox.execution.jail.numbers import Architecture
from prorl_reward_sandbox.execution.jail.script import Script
from prorl_reward_sandbox.execution.jail.settings import NAMESPACES, Containment, ZygoteSettings
from prorl_reward_sandbox.execution.launch import TALK_FD, program_environment, program_path

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a run needs of the zygote; nothing of any request."""

    settings: ZygoteSettings
    containment: Containment
    script: Script = field(init=False)
    is_contained: bool = field(init=False)
    filter: linux.SystemCallFilter = field(init=False)
    max_descriptors: int = field(init=False)

    def __post_init__(self) -> None:
        """Make once what is the same for all runs."""
        in_namespaces = self.settings.level == NAMESPACES
        program = build_filter(Architecture.here(), in_namespaces=in_namespaces)
        for name, value in (
            ("script", Script()),
            ("is_contained", in_namespaces),
            ("filter", linux.SystemCallFilter(program)),
            ("max_descriptors", resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
        ):
            object.__setattr__(self, name, value)
        os.environ.clear()
        os.environ.update(program_environment(root.WORK, temporary=root.TEMPORARY))


def become_program(context: Context, descriptors: list[int]) -> NoReturn:
    """Turn this clone into the program."""
    code = _FAILED_EXIT_CODE
    talk = descriptors[0]
    try:
        job = read_job(talk)
        if job is not None:
            if job.box:
                _make_box(context, job)
            _arrange_descriptors(descriptors, context.max_descriptors)
            talk = _JOB_FD
            _contain(context, job)
            code = _run(context, job)
    except BaseException as error:  # noqa: BLE001  (process edge: the zygote's stack must not unwind in a clone)
        os.write(talk, FAILED + f"{type(error).__name__}: {error}".encode()[:500])
    finally:
        os._exit(code)


def _make_box(context: Context, job: Job) -> None:
    """This run's file system, with its folders."""
    root.mount_run(job.box, with_proc=context.containment.with_proc)
    user_id = context.settings.user_id
    for folder in (root.TEMPORARY, root.WORK):
        os.mkdir(folder, 0o700)
        if user_id is not None:
            os.chown(folder, user_id, user_id)


def _arrange_descriptors(descriptors: list[int], maximum: int) -> None:
    """Standard input, output and error, the conversation, the job, and nothing else."""
    # The zygote sees to it that no target is a source.
    os.dup2(descriptors[0], _JOB_FD, inheritable=False)
    for target, source in enumerate(descriptors[1:]):
        os.dup2(source, target)
    if len(descriptors) <= TALK_FD + 1:
        os.close(TALK_FD)
    os.closerange(FIRST_FREE, maximum)


def _contain(context: Context, job: Job) -> None:
    """Files, limits, user, and the doors that close for good."""
    user_id = context.settings.user_id
    os.setsid()
    os.chdir(job.folder)
    os.umask(0o077)
    linux.unblock_signals()
    _offer_to_the_memory_killer()
    if context.is_contained and context.containment.with_proc:
        root.make_proc_read_only()
    if job.hands_over:
        _hand_over_folder()
    if user_id is not None:
        os.setgroups([])
        os.setresgid(user_id, user_id, user_id)
        os.setresuid(user_id, user_id, user_id)
    linux.drop_capabilities()
    for name, content, mode in job.files:
        write_file(name, content, mode)
    for kind, soft, hard in job.limits:
        resource.setrlimit(kind, (soft, hard))
    hygiene.die_with_parent()  # after the change of user, which would reset it
    if not context.is_contained:
        own = f"/proc/{os.getpid()}"
        landlock.confine(readable=(*_SYSTEM, *context.settings.readable, own), writable=(job.folder,))
        if context.containment.own_pid_only:
            program = build_filter(Architecture.here(), in_namespaces=False, own_pid=os.getpid())
            linux.SystemCallFilter(program).install()
            return
    context.filter.install()


def _offer_to_the_memory_killer() -> None:
    """Where memory ends, the program goes before the zygote and the service."""
    try:
        descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
        os.write(descriptor, b"1000")
        os.close(descriptor)
    except OSError:  # there is no /proc
        return


def _hand_over_folder() -> None:
    descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    with socket.socket(fileno=os.dup(_JOB_FD)) as job:
        socket.send_fds(job, [FOLDER], [descriptor])
    os.close(descriptor)


def _run(context: Context, job: Job) -> int:
    if job.source is not None:
        os.close(_JOB_FD)
        if job.folder != root.WORK:
            os.environ.update(program_environment(job.folder, temporary=job.folder))
        hygiene.make_dumpable()  # as any program may look at itself
        return context.script.run(job.folder, job.argv, job.source)
    path = program_path(job.argv[0])
    defaults = (signal.SIGPIPE, signal.SIGXFSZ)
    if job.folder != root.WORK:
        for number in defaults:
            signal.signal(number, signal.SIG_DFL)
        environment = program_environment(job.folder, temporary=job.folder)
        os.execve(path, list(job.argv), environment)  # noqa: S606  (the purpose)
    # The first process of a pid namespace ignores signals that it does not handle, `abort` included: so it only waits.
    program = os.posix_spawn(path, list(job.argv), os.environ, setsigdef=defaults)
    while True:
        pid, status = os.wait()
        if pid == program:
            os.write(_JOB_FD, STATUS + str(status).encode())
            return 0
