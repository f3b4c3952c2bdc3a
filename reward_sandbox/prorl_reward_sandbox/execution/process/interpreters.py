"""Which Python runs programs. It must be readable by the user that programs run as, also for what they import later.

The service's own comes first; a system's of the same version is the fallback, where the own one lies in a folder that
other users may not enter.
"""

from __future__ import annotations

import os
import sys

from prorl_reward_sandbox.execution.process.user import ProgramUser

SAME_VERSION = (
    os.path.realpath(sys.executable),
    f"/usr/local/bin/python3.{sys.version_info.minor}",
    f"/usr/bin/python3.{sys.version_info.minor}",
)
INTERPRETERS = (*SAME_VERSION, "/usr/bin/python3")


def readable_interpreter(user: ProgramUser | None) -> str:
    """Return the first of this version that a user may run; without a user, this process may.

    Raises:
        FileNotFoundError: There is none.
    """
    for interpreter in SAME_VERSION:
        if user is None or _may_run(user, interpreter):
            return interpreter
    raise FileNotFoundError(f"none of {', '.join(SAME_VERSION)} can be run by other users; install one that can")


def _may_run(user: ProgramUser, interpreter: str) -> bool:
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            user.become()
            status = 0 if os.access(interpreter, os.X_OK) else 1
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1] == 0
