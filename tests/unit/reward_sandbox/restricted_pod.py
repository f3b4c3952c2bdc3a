"""Turn this process into one of a restricted pod, and become a command: `python restricted_pod.py KIND COMMAND...`.

A user without capabilities and without the way to new privileges; where KIND is `restricted` also with a filter that
refuses new namespaces and mounts, as the container runtimes' default profiles do. `user-namespaces` leaves those out.
"""

from __future__ import annotations

import errno
import os
import struct
import sys

from prorl_reward_sandbox import hygiene
from prorl_reward_sandbox.execution.jail import linux
from prorl_reward_sandbox.execution.jail.steps import carry_out
from prorl_reward_sandbox.execution.jail.syscalls import NUMBERS, Architecture

USER = 65532
_REFUSED = ("unshare", "setns", "mount", "pivot_root", "chroot", "ptrace", "bpf", "keyctl")
_NEW_NAMESPACES = 0x7E020080
_ALLOW, _REFUSE, _ABSENT = 0x7FFF0000, 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS


def runtime_default_filter() -> bytes:
    numbers = NUMBERS[Architecture.here()]
    code = [(0x20, 0, 0, 0)]
    for name in _REFUSED:
        code += [(0x15, 0, 1, numbers[name]), (0x06, 0, 0, _REFUSE)]
    code += [(0x15, 0, 1, numbers["clone3"]), (0x06, 0, 0, _ABSENT)]
    code += [(0x15, 0, 3, numbers["clone"]), (0x20, 0, 0, 16), (0x45, 0, 1, _NEW_NAMESPACES), (0x06, 0, 0, _REFUSE)]
    code += [(0x06, 0, 0, _ALLOW)]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def main() -> None:
    kind, *command = sys.argv[1:]
    os.setgroups([])
    os.setresgid(USER, USER, USER)
    os.setresuid(USER, USER, USER)
    carry_out((linux.dropping_capabilities(),))
    hygiene.forbid_new_privileges()
    if kind == "restricted":
        carry_out((linux.installing_filter(runtime_default_filter()),))
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
