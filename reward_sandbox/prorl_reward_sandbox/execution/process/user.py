"""A user of its own for each runner's programs, and the sure way to end all processes of that user.

Programs must not run as root (limits on processes do not bind root) nor as the service's user (they could signal it).
A runner claims a user id by binding an abstract socket of that name: the kernel frees it when the runner ends, so no
two runners on a machine share one, also not those of different services.
"""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import dataclass, field

FIRST_USER_ID = 64000
NUM_USER_IDS = 1000
# CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_SETGID, CAP_SETUID: to hand over a folder, to remove what a program
# left in it, and to become the user.
_NEEDED_CAPABILITIES = (0, 1, 3, 6, 7)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramUser:
    """A claimed user id (and group id); claimed while `lock` lives."""

    user_id: int
    lock: socket.socket = field(repr=False)

    def become(self) -> None:
        """Turn this process into that user, for good."""
        os.setgroups([])
        os.setresgid(self.user_id, self.user_id, self.user_id)
        os.setresuid(self.user_id, self.user_id, self.user_id)

    def kill_all(self) -> None:
        """Kill all processes of the user with one system call, so that no fork can slip through between two."""
        pid = os.fork()
        if pid == 0:
            try:
                self.become()
                os.kill(-1, signal.SIGKILL)
            finally:
                os._exit(0)
        os.waitpid(pid, 0)


def claim_user() -> ProgramUser | None:
    """Return a user that nobody else has; None if this process may not change users.

    Raises:
        RuntimeError: All user ids are taken.
    """
    if not _may_change_users():
        return None
    for user_id in range(FIRST_USER_ID, FIRST_USER_ID + NUM_USER_IDS):
        lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            lock.bind(f"\0prorl-sandbox-user-{user_id}")
        except OSError:
            lock.close()
        else:
            user = ProgramUser(user_id=user_id, lock=lock)
            user.kill_all()  # what a predecessor that was killed may have left
            return user
    raise RuntimeError(f"all user ids from {FIRST_USER_ID} on are claimed by other runners on this machine")


def _may_change_users() -> bool:
    if os.geteuid() != 0:
        return False
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        effective = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff:"))
    return all(effective >> capability & 1 for capability in _NEEDED_CAPABILITIES)
