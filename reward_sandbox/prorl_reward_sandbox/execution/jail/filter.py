"""The system call filter: which calls a program may not make, and the BPF program that says so. Pure.

Wide denial: whatever reaches other processes, other namespaces, devices, the network or rarely used corners of the
kernel is refused with EPERM; numbers newer than the newest one known here do not exist (ENOSYS). The instruction set
is checked first, since the same number means another call in another one: such a process is killed.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from prorl_reward_sandbox.execution.jail.syscalls import DENIED, DENIED_WITHOUT_NAMESPACES, NUMBERS, Architecture

_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16
_ALLOW = 0x7FFF0000
_KILL = 0x80000000
_DENY = 0x00050000 | errno.EPERM
_ABSENT = 0x00050000 | errno.ENOSYS
_NEWEST = 462
"""mseal; the same on all architectures."""
_X32 = 0x40000000
_NEW_NAMESPACES = 0x7E020080
"""All CLONE_NEW* flags that clone(2) knows, time namespaces included."""
_TERMINAL_REQUESTS = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX push characters into a terminal."""
_OWNER_REQUESTS = (0x8901, 0x8902)
"""FIOSETOWN and SIOCSPGRP: who is signalled when a descriptor becomes ready. Any process may be named."""
_OWNER_COMMANDS = (8, 10, 15, 1024, 1026)
"""F_SETOWN, F_SETSIG and F_SETOWN_EX, the same by fcntl; F_SETLEASE and F_NOTIFY: whoever opens a file then waits, or
causes signals."""
_PAIRS = tuple(kind | flags for kind in (1, 5) for flags in (0, 0x800, 0x80000, 0x80800))
"""SOCK_STREAM and SOCK_SEQPACKET, each with SOCK_NONBLOCK and SOCK_CLOEXEC or without. A datagram socket, though one of
a pair, can send to any other by its address."""
_PR_SET_PDEATHSIG = 1
_PRIO_PROCESS = 0
_AF_UNIX = 1
_PERSONALITY_QUERY = 0xFFFFFFFF
_FARTHEST = 255


@dataclass(frozen=True, slots=True)
class _Test:
    """Deny a call by one of its arguments (the lower 32 bits): equal to one of `values`, or having one of `bits`.

    With `allow`, the values are the only ones allowed.
    """

    argument: int
    values: Sequence[int] = ()
    bits: int = 0
    allow: bool = False


@dataclass(frozen=True, slots=True)
class _Goto:
    """Unresolved instruction: where to continue, as labels."""

    code: int
    value: int
    if_true: str
    if_false: str


def build_filter(architecture: Architecture, *, in_namespaces: bool, own_pid: int | None = None) -> bytes:
    """Return the filter for one level.

    Args:
        in_namespaces: Other processes and System V objects are out of reach by themselves; otherwise calls that
            reach them are refused.
        own_pid: Where Landlock cannot keep signals inside: they may be sent to this process only. None: a namespace or
            Landlock does it.
    """
    denied = dict.fromkeys(DENIED if in_namespaces else DENIED | DENIED_WITHOUT_NAMESPACES, _DENY)
    tests: dict[str, tuple[_Test, ...]] = {
        "clone": (_Test(0, bits=_NEW_NAMESPACES),),
        "ioctl": (_Test(1, values=_TERMINAL_REQUESTS + _OWNER_REQUESTS),),
        "prctl": (_Test(0, values=(_PR_SET_PDEATHSIG,)),),
        "socketpair": (_Test(0, values=(_AF_UNIX,), allow=True), _Test(1, values=_PAIRS, allow=True)),
        "personality": (_Test(0, values=(0, _PERSONALITY_QUERY), allow=True),),
    }
    if not in_namespaces:
        # Calls that name a process: number 0 is the caller itself, and the only one that may be named.
        tests |= {
            "prlimit64": (_Test(0, values=(0,), allow=True),),
            "setpriority": (_Test(0, values=(_PRIO_PROCESS,), allow=True), _Test(1, values=(0,), allow=True)),
            "fcntl": (_Test(1, values=_OWNER_COMMANDS),),
        }
    if own_pid is not None:
        itself = (_Test(0, values=(own_pid,), allow=True),)
        tests |= {"kill": itself, "tgkill": itself}
        denied |= dict.fromkeys(("tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal"), _DENY)
    # Its flags lie in memory, where a filter cannot look; the C library falls back to clone.
    denied["clone3"] = _ABSENT
    numbers = NUMBERS[architecture]
    actions = {numbers[name]: action for name, action in denied.items() if name in numbers}
    labels = {numbers[name]: name for name in tests if name in numbers}
    code: list[_Goto | tuple[int, int] | str] = [
        (_LOAD, _ARCHITECTURE_AT),
        _Goto(_JUMP_EQUAL, architecture.audit, "known", "foreign"),
        "foreign",
        (_RETURN, _KILL),
        "known",
        (_LOAD, _NUMBER_AT),
        *_decide(_intervals(actions, labels)),
    ]
    for name in labels.values():
        code += _argument_tests(name, tests[name])
    return _assemble(code)


def _intervals(actions: Mapping[int, int], labels: Mapping[int, str]) -> list[tuple[int, int | str]]:
    """(first number, what to do) for all 32-bit numbers, in order."""
    special: dict[int, int | str] = {**actions, **labels}
    starts: list[tuple[int, int | str]] = []
    for number in range(_NEWEST + 1):
        what = special.get(number, _ALLOW)
        if not starts or starts[-1][1] != what:
            starts.append((number, what))
    return [*starts, (_NEWEST + 1, _ABSENT), (_X32, _KILL)]


def _decide(intervals: Sequence[tuple[int, int | str]], name: str = "n") -> Iterator[_Goto | tuple[int, int] | str]:
    """Return a balanced tree of comparisons: a filter is run through for every number when it is installed."""
    if len(intervals) == 1:
        what = intervals[0][1]
        if isinstance(what, str):
            yield _Goto(_JUMP_EQUAL, 0, what, what)
        else:
            yield (_RETURN, what)
        return
    half = len(intervals) // 2
    yield _Goto(_JUMP_AT_LEAST, intervals[half][0], f"{name}1", f"{name}0")
    yield f"{name}0"
    yield from _decide(intervals[:half], f"{name}0")
    yield f"{name}1"
    yield from _decide(intervals[half:], f"{name}1")


def _argument_tests(name: str, tests: Sequence[_Test]) -> Iterator[_Goto | tuple[int, int] | str]:
    """Allow the call if every test passes."""
    passed, denied = f"{name}-passed", f"{name}-denied"
    yield name
    for place, test in enumerate(tests):
        following = passed if place == len(tests) - 1 else f"{name}-{place + 1}"
        yield (_LOAD, _ARGUMENTS_AT + 8 * test.argument)
        hit, miss = (following, denied) if test.allow else (denied, following)
        if test.bits:
            yield _Goto(_JUMP_ANY_BIT, test.bits, hit, miss)
        for index, value in enumerate(test.values):
            is_last = index == len(test.values) - 1
            other = miss if is_last else f"{name}-{place}-{index}"
            yield _Goto(_JUMP_EQUAL, value, hit, other)
            if not is_last:
                yield other
        yield following
    yield (_RETURN, _ALLOW)
    yield denied
    yield (_RETURN, _DENY)


def _assemble(code: Sequence[_Goto | tuple[int, int] | str]) -> bytes:
    """Resolve labels to distances.

    Raises:
        ValueError: A jump is too far for an instruction.
    """
    places: dict[str, int] = {}
    count = 0
    for item in code:
        if isinstance(item, str):
            places[item] = count
        else:
            count += 1
    assembled: list[bytes] = []
    for item in code:
        if isinstance(item, str):
            continue
        here = len(assembled) + 1
        if isinstance(item, tuple):
            assembled.append(struct.pack("=HBBI", item[0], 0, 0, item[1]))
            continue
        if item.if_true == item.if_false:
            assembled.append(struct.pack("=HBBI", 0x05, 0, 0, places[item.if_true] - here))
            continue
        distances = [places[label] - here for label in (item.if_true, item.if_false)]
        if any(not 0 <= distance <= _FARTHEST for distance in distances):
            raise ValueError(f"the filter has grown too long: jumps of {distances} instructions")
        assembled.append(struct.pack("=HBBI", item.code, *distances, item.value))
    return b"".join(assembled)
