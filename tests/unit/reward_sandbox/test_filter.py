"""The system call filter says what its tables say: run here by a small interpreter of the BPF instructions it uses."""

from __future__ import annotations

import errno
import struct

import pytest

from prorl_reward_sandbox.execution.jail.filter import build_filter
from prorl_reward_sandbox.execution.jail.syscalls import DENIED, DENIED_WITHOUT_NAMESPACES, NUMBERS, Architecture

ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0x80000000, 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS
BOTH = pytest.mark.parametrize("architecture", Architecture)
HARMLESS = {Architecture.X86_64: (0, 1, 9, 59, 202, 231, 257), Architecture.AARCH64: (63, 64, 222, 221, 98, 94, 56)}
"""read, write, mmap, execve, futex, exit_group, openat."""


def verdict(program: bytes, number: int, *arguments: int, architecture: int) -> int:
    data = struct.pack("=IIQ6Q", number, architecture, 0, *(*arguments, 0, 0, 0, 0, 0, 0)[:6])
    code = list(struct.iter_unpack("=HBBI", program))
    at = accumulator = 0
    while True:
        operation, if_true, if_false, value = code[at]
        at += 1
        match operation:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", data, value)
            case 0x05:
                at += value
            case 0x15:
                at += if_true if accumulator == value else if_false
            case 0x35:
                at += if_true if accumulator >= value else if_false
            case 0x45:
                at += if_true if accumulator & value else if_false
            case 0x06:
                return int(value)
            case _:
                raise AssertionError(f"unknown instruction {operation:#x}")


@BOTH
def test_every_denied_call_is_refused_and_the_rest_is_not(architecture: Architecture) -> None:
    program = build_filter(architecture, in_namespaces=True)
    numbers = NUMBERS[architecture]
    denied = {numbers[name] for name in DENIED if name in numbers}
    tested = {numbers[name] for name in ("clone", "ioctl", "prctl", "socketpair", "personality")}
    for number in range(463):
        found = verdict(program, number, architecture=architecture.audit)
        if number == numbers["clone3"]:
            assert found == ENOSYS
        elif number not in tested:
            assert found == (EPERM if number in denied else ALLOW), number


@BOTH
def test_what_programs_live_on_is_allowed(architecture: Architecture) -> None:
    program = build_filter(architecture, in_namespaces=False, own_pid=7)
    assert {verdict(program, number, architecture=architecture.audit) for number in HARMLESS[architecture]} == {ALLOW}


@BOTH
@pytest.mark.parametrize("own_pid", [None, 77])
def test_another_instruction_set_kills_whatever_the_call(architecture: Architecture, own_pid: int | None) -> None:
    program = build_filter(architecture, in_namespaces=own_pid is None, own_pid=own_pid)
    for other in (0x40000003, 0x40000028, next(each.audit for each in Architecture if each is not architecture)):
        assert verdict(program, 0, 77, architecture=other) == KILL


@BOTH
def test_numbers_beyond_the_known_do_not_exist(architecture: Architecture) -> None:
    program = build_filter(architecture, in_namespaces=True)
    assert verdict(program, 463, architecture=architecture.audit) == ENOSYS
    assert verdict(program, 0x40000000, architecture=architecture.audit) == KILL
    assert verdict(program, 0xFFFFFFFF, architecture=architecture.audit) == KILL


@BOTH
@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("clone", (0x01200011,), ALLOW),
        ("clone", (0x10000011,), EPERM),
        ("clone", (0x80,), EPERM),
        ("ioctl", (0, 0x5401), ALLOW),
        ("ioctl", (0, 0x5412), EPERM),
        ("ioctl", (0, 0x1_0000_5412), EPERM),
        ("prctl", (1, 0), EPERM),
        ("prctl", (15, 0), ALLOW),
        ("ioctl", (0, 0x8901), EPERM),
        ("ioctl", (0, 0x8902), EPERM),
        ("socketpair", (1, 1), ALLOW),
        ("socketpair", (1, 0x80801), ALLOW),
        ("socketpair", (1, 5), ALLOW),
        ("socketpair", (1, 0x80005), ALLOW),
        ("socketpair", (1, 2), EPERM),
        ("socketpair", (1, 0x80002), EPERM),
        ("socketpair", (1, 0x80802), EPERM),
        ("socketpair", (1, 3), EPERM),
        ("socketpair", (2, 1), EPERM),
        ("personality", (0xFFFFFFFF,), ALLOW),
        ("personality", (0x0400000,), EPERM),
    ],
)
def test_some_calls_depend_on_an_argument(
    architecture: Architecture, name: str, arguments: tuple[int, ...], expected: int
) -> None:
    program = build_filter(architecture, in_namespaces=True)
    assert verdict(program, NUMBERS[architecture][name], *arguments, architecture=architecture.audit) == expected


@BOTH
@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("prlimit64", (0, 7), ALLOW),
        ("prlimit64", (1, 7), EPERM),
        ("prlimit64", (4711, 7), EPERM),
        ("prlimit64", (0xFFFFFFFF, 7), EPERM),
        ("setpriority", (0, 0, 5), ALLOW),
        ("setpriority", (0, 4711, 5), EPERM),
        ("setpriority", (1, 0, 5), EPERM),
        ("setpriority", (2, 0, 5), EPERM),
        ("fcntl", (3, 2), ALLOW),
        ("fcntl", (3, 4), ALLOW),
        ("fcntl", (3, 1030), ALLOW),
        ("fcntl", (3, 8, 4711), EPERM),
        ("fcntl", (3, 10), EPERM),
        ("fcntl", (3, 15), EPERM),
        ("fcntl", (3, 1024), EPERM),
        ("fcntl", (3, 1026), EPERM),
    ],
)
def test_outside_namespaces_a_call_may_name_no_other_process(
    architecture: Architecture, name: str, arguments: tuple[int, ...], expected: int
) -> None:
    number = NUMBERS[architecture][name]
    for own_pid in (None, 4711):
        outside = build_filter(architecture, in_namespaces=False, own_pid=own_pid)
        assert verdict(outside, number, *arguments, architecture=architecture.audit) == expected
    inside = build_filter(architecture, in_namespaces=True)
    assert verdict(inside, number, *arguments, architecture=architecture.audit) == ALLOW


@BOTH
def test_without_scopes_a_program_may_signal_only_itself(architecture: Architecture) -> None:
    numbers = NUMBERS[architecture]
    program = build_filter(architecture, in_namespaces=False, own_pid=77)
    for name in ("kill", "tgkill"):
        assert verdict(program, numbers[name], 77, architecture=architecture.audit) == ALLOW
        for other in (0, 1, 78, 0xFFFFFFFF):
            assert verdict(program, numbers[name], other, architecture=architecture.audit) == EPERM
    assert verdict(program, numbers["pidfd_send_signal"], 3, architecture=architecture.audit) == EPERM


@BOTH
def test_outside_namespaces_shared_objects_are_refused(architecture: Architecture) -> None:
    numbers = NUMBERS[architecture]
    inside, outside = (build_filter(architecture, in_namespaces=each) for each in (True, False))
    for name in DENIED_WITHOUT_NAMESPACES:
        assert verdict(inside, numbers[name], architecture=architecture.audit) == ALLOW
        assert verdict(outside, numbers[name], architecture=architecture.audit) == EPERM
