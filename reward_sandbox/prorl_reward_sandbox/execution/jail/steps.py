"""What every clone does alike on its way to the program, prepared by the zygote.

A step is a call with its arguments at hand. To find a function by its name, or to make an argument, is to look at
objects, and each of them may cost a clone the copy of a page (see `jobs`): of the steps done by functions of ours, that
was more than half of the cost.
"""

from __future__ import annotations

import os
import signal
from functools import partial
from os import close, write
from typing import NamedTuple

from prorl_reward_sandbox import hygiene
from prorl_reward_sandbox.execution.jail import linux, root
from prorl_reward_sandbox.execution.jail.filter import build_filter
from prorl_reward_sandbox.execution.jail.linux import Step
from prorl_reward_sandbox.execution.jail.settings import NAMESPACES, Containment, ZygoteSettings
from prorl_reward_sandbox.execution.jail.syscalls import Architecture

_open, _TO_WRITE = os.open, os.O_WRONLY | os.O_CLOEXEC


class Steps(NamedTuple):
    """In their order; between them comes what differs from run to run."""

    box: tuple[Step, ...]
    """In the run's own file system, once it is mounted: its /proc and its folders."""
    session: tuple[Step, ...]
    """Out of the zygote's session and its settings."""
    user: tuple[Step, ...]
    """The program's user, without any privilege."""
    filter: tuple[Step, ...]
    """The system call filter, unless it differs from run to run."""
    script: tuple[Step, ...]
    """Before a script: as any program it may look at itself."""


def prepare_steps(settings: ZygoteSettings, containment: Containment) -> Steps:
    """Return the steps of all clones of one zygote."""
    in_namespaces = settings.level == NAMESPACES
    installing = linux.installing_filter(build_filter(Architecture.here(), in_namespaces=in_namespaces))
    return Steps(
        box=_box(settings.user_id, containment) if in_namespaces else (),
        session=_session(has_own_proc=in_namespaces and containment.with_proc),
        user=_user(settings.user_id),
        filter=() if containment.own_pid_only else (installing,),
        script=(linux.preparing_prctl(hygiene.PR_SET_DUMPABLE, 1),),
    )


def carry_out(steps: tuple[Step, ...]) -> None:
    """Do them, up to the first that fails.

    Raises:
        OSError: It failed.
    """
    for step in steps:
        if step() == linux.FAILED:
            raise linux.failure_of(step)


def _box(user_id: int | None, containment: Containment) -> tuple[Step, ...]:
    steps: list[Step] = [root.mounting_proc()] if containment.with_proc else []
    for folder in (root.TEMPORARY, root.WORK):
        steps.append(partial(os.mkdir, folder, 0o700))
        if user_id is not None:
            steps.append(partial(os.chown, folder, user_id, user_id))
    return tuple(steps)


def _session(*, has_own_proc: bool) -> tuple[Step, ...]:
    steps: list[Step] = [
        os.setsid,
        partial(os.umask, 0o077),
        linux.unblocking_signals(),
        _offer_to_the_memory_killer,
    ]
    return (*steps, root.making_proc_read_only()) if has_own_proc else tuple(steps)


def _user(user_id: int | None) -> tuple[Step, ...]:
    ids: tuple[Step, ...] = ()
    if user_id is not None:
        ids = (
            partial(os.setgroups, []),
            partial(os.setresgid, user_id, user_id, user_id),
            partial(os.setresuid, user_id, user_id, user_id),
        )
    # The change of user would undo what its parent's death means to it.
    dying = linux.preparing_prctl(hygiene.PR_SET_PDEATHSIG, signal.SIGKILL)
    return *ids, linux.dropping_capabilities(), dying


def _offer_to_the_memory_killer() -> None:
    """Return where memory ends, the program goes before the zygote and the service."""
    try:
        descriptor = _open("/proc/self/oom_score_adj", _TO_WRITE)
        write(descriptor, b"1000")
        close(descriptor)
    except OSError:  # there is no /proc
        return
