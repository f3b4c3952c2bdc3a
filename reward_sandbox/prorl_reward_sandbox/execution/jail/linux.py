"""System calls that Python 3.11 has no function for. Thin: no decisions.

`PyDLL` keeps the interpreter's lock during a call: a process that was just cloned has no other thread to hand it to.
Some calls are prepared: made with their arguments before there is a clone that makes the call (see `steps`).
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

Step = Callable[[], object]
"""A call with its arguments. Python's own raise an error; the C library's return `FAILED`."""
FAILED = -1
CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_PARENT = 0x00008000
_CLONE_CHILD_SETTID = 0x01000000
_CLONE_CHILD_CLEARTID = 0x00200000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 32, 4096, 16384, 1 << 18
MNT_DETACH = 2

_IS_X86 = os.uname().machine == "x86_64"
_SYS_CLONE = 56 if _IS_X86 else 220
_SYS_PIVOT_ROOT = 155 if _IS_X86 else 41
_SYS_CAPSET = 126 if _IS_X86 else 91
_SYS_LANDLOCK = 444  # create a ruleset; the next two numbers add a rule and restrict
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2
_CAPABILITY_VERSION_3 = 0x20080522
_LARGEST_THREAD_RECORD = 4096
_LARGEST_SIGNAL_SET = 128

_libc = ctypes.PyDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.pthread_self.restype = ctypes.c_void_p
_mount = _libc.mount
_mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_capset = _libc.capset
_capset.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
_sigprocmask = _libc.sigprocmask
_sigprocmask.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
_prctl = _libc.prctl
_prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong)


def _error(what: str) -> OSError:
    code = ctypes.get_errno()
    return OSError(code, f"{what}: {os.strerror(code)}")


def _check(result: int, what: str) -> int:
    if result < 0:
        raise _error(what)
    return result


def _syscall(number: int, what: str, *arguments: object) -> int:
    return _check(_libc.syscall(ctypes.c_long(number), *arguments), what)


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """mount(2)."""
    if mounting(source, target, kind, flags, data)() == FAILED:
        raise _error(f"mount {kind or ''} at {target}")


def mounting(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> Step:
    """mount(2), prepared."""
    return partial(_mount, source.encode(), os.fsencode(target), kind and kind.encode(), flags, data and data.encode())


def mount_memory(target: bytes, options: bytes) -> None:
    """mount(2) of a memory file system, for who has the arguments as bytes."""
    if _mount(_MEMORY, target, _MEMORY, MS_NOSUID | MS_NODEV, options) == FAILED:
        raise _error("mount of a memory file system")


def unmount(target: str) -> None:
    """Detach a mount, whoever still uses it."""
    _check(_libc.umount2(os.fsencode(target), MNT_DETACH), f"unmount {target}")


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2)."""
    _syscall(_SYS_PIVOT_ROOT, "pivot_root", os.fsencode(new_root), os.fsencode(put_old))


def unshare(flags: int) -> None:
    """unshare(2)."""
    _check(_libc.unshare(flags), f"unshare {flags:#x}")


def _address(record: ctypes.Array[Any] | ctypes.Structure) -> ctypes.c_void_p:
    """Return where it lies; keeps it. What is a pointer already needs no look at its type when it is passed."""
    return ctypes.cast(ctypes.pointer(record), ctypes.c_void_p)


_CAPABILITY_HEADER = _address((ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0))
_NO_CAPABILITIES = _address((ctypes.c_uint32 * 6)())
_NO_SIGNALS = _address(ctypes.create_string_buffer(_LARGEST_SIGNAL_SET))
_MEMORY = b"tmpfs"


def dropping_capabilities() -> Step:
    """Prepare emptying a process's capability sets."""
    return partial(_capset, _CAPABILITY_HEADER, _NO_CAPABILITIES)


def unblocking_signals() -> Step:
    """Lets all signals through. As `signal.pthread_sigmask`, which makes an enumeration's member of each signal."""
    return partial(_sigprocmask, int(signal.SIG_SETMASK), _NO_SIGNALS, None)


def preparing_prctl(option: int, value: int) -> Step:
    """prctl(2) with one number."""
    return partial(_prctl, option, int(value), None, 0, 0)


def installing_filter(program: bytes) -> Step:
    """Prepare submitting a process to a system call filter for good: BPF instructions of eight bytes each."""

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))

    record = _address(Program(len(program) // 8, program))
    return partial(_prctl, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, record, 0, 0)


def failure_of(step: Step) -> OSError:
    """Return why a step of the C library's has just failed."""
    return _error(getattr(getattr(step, "func", step), "__name__", "a prepared call"))


def landlock_version() -> int:
    """Return the kernel's Landlock interface version; 0 without Landlock."""
    result = _libc.syscall(ctypes.c_long(_SYS_LANDLOCK), None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    return max(0, int(result))


def landlock_create(attributes: bytes) -> int:
    """Return a new ruleset's descriptor."""
    size = ctypes.c_size_t(len(attributes))
    return _syscall(_SYS_LANDLOCK, "landlock_create_ruleset", attributes, size, ctypes.c_uint32(0))


def landlock_add(ruleset: int, rule: bytes) -> None:
    """Add a rule for what lies beneath a path."""
    _syscall(_SYS_LANDLOCK + 1, "landlock_add_rule", ctypes.c_int(ruleset), ctypes.c_int(1), rule, ctypes.c_uint32(0))


def landlock_restrict(ruleset: int) -> None:
    """Submit this process to the ruleset."""
    _syscall(_SYS_LANDLOCK + 2, "landlock_restrict_self", ctypes.c_int(ruleset), ctypes.c_uint32(0))


class Cloner:
    """Makes clone(2) for a single-threaded Python: as `os.fork`, with flags.

    The C library keeps the thread's id in its own record, and a plain clone would leave the parent's there (its own
    `fork` has the kernel write the child's). The place is found by looking where both a parent and its forked child
    have their ids; if that is not one place, nothing is written, which only recursive locks would notice.
    """

    def __init__(self) -> None:
        place = ctypes.c_void_p(_find_thread_id())
        self._flags = signal.SIGCHLD | (_CLONE_CHILD_SETTID | _CLONE_CHILD_CLEARTID if place else 0)
        # The two last arguments are swapped on aarch64.
        self._last = (place, None) if _IS_X86 else (None, place)

    def cloning(self, flags: int) -> Callable[[], int]:
        """clone(2), prepared: 0 in the child, the child's id in the parent; raises `OSError`."""
        call = partial(
            _libc.syscall, ctypes.c_long(_SYS_CLONE), ctypes.c_long(flags | self._flags), None, None, *self._last
        )
        before, in_parent, in_child = (
            getattr(ctypes.pythonapi, f"PyOS_{name}") for name in ("BeforeFork", "AfterFork_Parent", "AfterFork_Child")
        )

        def clone() -> int:
            before()
            pid: int = call()
            if pid == 0:
                in_child()
                return 0
            code = ctypes.get_errno() if pid < 0 else 0
            in_parent()
            if pid < 0:
                raise OSError(code, f"clone {flags:#x}: {os.strerror(code)}")
            return pid

        return clone


def _find_thread_id() -> int:
    """Address of the thread's id in the C library's record of this thread; 0 if it is not found."""
    start = int(_libc.pthread_self())
    ours = _places(start, os.getpid())
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(write_end, ",".join(map(str, _places(start, os.getpid()))).encode())
        finally:
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        theirs = {int(place) for place in pipe.read().split(b",") if place}
    os.waitpid(pid, 0)
    common = theirs.intersection(ours)
    return common.pop() if len(common) == 1 else 0


def _places(start: int, value: int) -> list[int]:
    """Return where the record holds the value.

    The record is followed by mapped memory: it lies inside the thread's area.
    """
    page = os.sysconf("SC_PAGE_SIZE")
    size = min(_LARGEST_THREAD_RECORD, page - start % page)  # never beyond the page that surely is mapped
    words = (ctypes.c_int32 * (size // 4)).from_address(start)
    return [start + 4 * index for index, word in enumerate(words) if word == value]
