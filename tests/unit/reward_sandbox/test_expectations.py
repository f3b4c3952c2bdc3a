"""Programs as people write them: what they expect of Python is there, at every level."""

from __future__ import annotations

import pytest

from prorl_reward_sandbox.execution.isolation import Isolation
from tests.unit.reward_sandbox.isolation_levels import python

PROGRAMS: dict[str, tuple[str, bytes, bytes]] = {
    "exit() ends": ("print(1); exit(); print(2)", b"", b"1\n"),
    "quit() ends": ("print(1); quit(); print(2)", b"", b"1\n"),
    "exit in a function": ("def main():\n    print(int(input()))\n    exit(0)\nmain()\nprint(2)", b"7\n", b"7\n"),
    "a whole number of 20,000 digits": ("print(len(str(10 ** 20000)))", b"", b"20001\n"),
    "one of 5,000 digits read": ("print(int(input()) % 7)", b"9" * 5000, b"%d\n" % ((10**5000 - 1) % 7)),
    "standard input by its name": ("print(sum(map(int, open('/dev/stdin').read().split())))", b"1 2 3", b"6\n"),
    "standard input as descriptor 0": ("print(sum(map(int, open(0).read().split())))", b"1 2 3", b"6\n"),
    "standard output by its name": ("open('/dev/stdout', 'w').write('x')", b"", b"x"),
    "a thread with a large stack": (
        "import sys, threading\n"
        "sys.setrecursionlimit(10**6)\nthreading.stack_size(512 * 1024 * 1024)\n"
        "def depth(n): return 0 if n == 0 else 1 + depth(n - 1)\n"
        "def main(): print(depth(50000))\n"
        "thread = threading.Thread(target=main); thread.start(); thread.join()",
        b"",
        b"50000\n",
    ),
    "its own name and file": ("print(__name__, __file__.rpartition('/')[2])", b"", b"__main__ main.py\n"),
    "no names but its own": ("print(sorted(name for name in globals() if not name.startswith('__')))", b"", b"[]\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
async def test_a_program_finds_what_it_expects(isolation: Isolation, name: str) -> None:
    source, stdin, stdout = PROGRAMS[name]
    outcome = await isolation.run(python(source, stdin=stdin))
    assert outcome.stdout == stdout, outcome.stderr.decode()
    assert outcome.exit_code == 0
