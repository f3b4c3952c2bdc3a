"""What every helper process is started with and does first: a clean environment, death with its parent, no dumps.

Helpers handle text and programs written by a model, so nothing that came to the service in its environment (tokens,
addresses) is passed on: the environment is built from constants.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
# PyDLL: also called between a clone and the program, where nobody else could take the interpreter's lock.
_libc = ctypes.PyDLL(None, use_errno=True)


def helper_environment() -> dict[str, str]:
    """Return the whole environment of a helper process."""
    return {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(part for part in sys.path if part),
        # Judgements must not depend on the process: some scorers iterate over sets.
        "PYTHONHASHSEED": "0",
        # One thread each: a process that forks must not have others, and workers share few cores.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "NUMEXPR_NUM_THREADS": "1",
    }


def ignore_terminal_signals() -> None:
    """Leave SIGINT and SIGTERM to the service: a helper ends when its connection does, after the drain."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def make_undumpable() -> None:
    """Keep other processes of the same user out of this one's memory and /proc entries; no core dump."""
    _prctl(PR_SET_DUMPABLE, 0)


def become_subreaper() -> None:
    """Make orphaned descendants children of this process, so that none can escape by double forking."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def forbid_new_privileges() -> None:
    """Make set-user-id programs and file capabilities ineffective from here on."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl({option}, {value}): {os.strerror(code)}")
