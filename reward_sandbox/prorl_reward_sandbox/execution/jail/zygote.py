"""The zygote: a Python that has started, contained as far as all runs share it, and is cloned for every run.

A runner starts one and hands it descriptors, five for a run: where the job comes from, standard input, output and
error, and the conversation if there is one. The clone becomes the runner's child, not the zygote's, so that the runner
waits for it and knows its use of the CPU. The zygote itself reads no job.
"""

from __future__ import annotations

import fcntl
import gc
import importlib
import json
import os
import signal
import socket
import sys
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from types import ModuleType

from prorl_reward_sandbox import hygiene
from prorl_reward_sandbox.execution.harness.expected import meet_expectations
from prorl_reward_sandbox.execution.jail import child, linux, root
from prorl_reward_sandbox.execution.jail.landlock import SCOPES_SINCE
from prorl_reward_sandbox.execution.jail.rehearsal import rehearse
from prorl_reward_sandbox.execution.jail.settings import NAMESPACES, Containment, ZygoteSettings
from prorl_reward_sandbox.execution.jail.steps import carry_out
from prorl_reward_sandbox.execution.process.child_setup import forbid_resources

INSIDE_USER = 64000
"""The user inside a user namespace: not root there either."""
_SHARED = linux.CLONE_NEWNET | linux.CLONE_NEWNS | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS
# A network namespace is the dearest: all runs share the zygote's empty one.
_OWN = linux.CLONE_NEWPID | linux.CLONE_NEWNS | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS
_MAX_DESCRIPTORS = 5


def main() -> None:
    """Get ready, say so, and clone until the runner is gone."""
    settings = ZygoteSettings.decode(sys.argv[1])
    control = _take_control(settings.control)
    _block_terminal_signals()
    hygiene.die_with_parent()
    hygiene.forbid_new_privileges()
    forbid_resources()
    cloner = linux.Cloner()
    _preload(settings.preloaded)
    try:
        _import_libraries(dict(settings.libraries))
    except ImportError as error:
        control.send(json.dumps({"fault": f"a library cannot be imported: {error}"}).encode())
        return
    meet_expectations()
    try:
        containment = _prepare(settings, cloner)
    except OSError as error:
        control.send(json.dumps({"fault": f"{type(error).__name__}: {error}"}).encode())
        return
    hygiene.make_undumpable()
    rehearse()
    context = child.make_context(settings, containment)
    ours = _hide_own_modules()
    gc.collect()
    gc.freeze()  # so that a program's garbage collections do not copy the shared pages
    control.send(json.dumps(asdict(containment)).encode())
    flags = linux.CLONE_PARENT | (_OWN if settings.level == NAMESPACES else 0)
    _serve(control, cloner.cloning(flags), context)
    del ours


def _block_terminal_signals() -> None:
    """As `hygiene.ignore_terminal_signals`, in a way that a clone undoes with one call, and as Python starts with."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _preload(names: Sequence[str]) -> None:
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError:
            continue  # this Python lacks it


def _import_libraries(packages: Mapping[str, str]) -> None:
    """Import them from where they lie. Later nothing is found there but their own parts, by their own folders.

    What draws random numbers from a generator that it made at its import is seeded anew in each clone.

    Raises:
        ImportError: One cannot be imported.
    """
    if not packages:
        return
    # Here: what a zygote without libraries has imported, each of its clones pays for.
    from prorl_reward_sandbox.execution.harness.library_finder import find_libraries

    finder = find_libraries(packages)
    for package in packages:
        importlib.import_module(package)
    sys.meta_path.remove(finder)
    if (drawing := sys.modules.get("sympy.core.random")) is not None:
        os.register_at_fork(after_in_child=drawing.rng.seed)
    if (drawing := sys.modules.get("numpy.random")) is not None:
        os.register_at_fork(after_in_child=drawing.seed)


def _hide_own_modules() -> list[ModuleType]:
    """Take this package out of what programs find imported; kept alive by the caller, since it is still at work."""
    return [sys.modules.pop(name) for name in list(sys.modules) if name.startswith("prorl_")]


def _take_control(descriptor: int) -> socket.socket:
    """Return the control socket, above the descriptors that a program gets; and those are occupied.

    What is received for a run then lies above them too, and can be put in its place in any order.
    """
    control = socket.socket(fileno=fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, child.FIRST_FREE))
    os.close(descriptor)
    while os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC) < child.FIRST_FREE - 1:
        pass
    return control


def _prepare(settings: ZygoteSettings, cloner: linux.Cloner) -> Containment:
    """Enter what all runs share.

    Raises:
        OSError: Something of it is not allowed or not there.
    """
    if settings.level != NAMESPACES:
        version = linux.landlock_version()
        if version == 0:
            raise OSError("the kernel has no Landlock, or it is switched off")
        return Containment(own_pid_only=version < SCOPES_SINCE)
    has_user_namespace = _leave_namespaces()
    root.build_root(settings.readable, shows_proc=has_user_namespace)
    with_proc = _can_mount_proc(cloner)
    if has_user_namespace and not with_proc:
        linux.unmount("/proc")
    return Containment(has_user_namespace=has_user_namespace, with_proc=with_proc)


def _leave_namespaces() -> bool:
    """Make new shared namespaces, with the help of a user namespace if needed; return whether it was."""
    user_id, group_id = os.geteuid(), os.getegid()
    try:
        linux.unshare(_SHARED)
    except PermissionError:
        linux.unshare(_SHARED | linux.CLONE_NEWUSER)
    else:
        return False
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{INSIDE_USER} {user_id} 1"),
        ("gid_map", f"{INSIDE_USER} {group_id} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)
    return True


def _can_mount_proc(cloner: linux.Cloner) -> bool:
    pid = cloner.cloning(_OWN)()
    if pid == 0:
        status = 1
        try:
            carry_out((root.mounting_proc(),))
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1] == 0


def _serve(control: socket.socket, clone: Callable[[], int], context: child.Context) -> None:
    room = socket.CMSG_SPACE(_MAX_DESCRIPTORS * array("i").itemsize)
    while True:
        message, ancillary, _, _ = control.recvmsg(1, room)
        if not message:
            return
        descriptors = array("i", ancillary[0][2])
        try:
            pid = clone()
        except OSError as error:
            pid = -(error.errno or 1)
        if pid == 0:
            child.become_program(context, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        control.send(pid.to_bytes(4, sys.byteorder, signed=True))
