"""What every level of isolation promises its caller, whatever contains the program."""

from __future__ import annotations

import asyncio

import pytest

from prorl_reward_sandbox.execution.isolation import Isolation, RunSpec
from tests.unit.reward_sandbox.isolation_levels import python


async def test_a_script_gets_its_arguments_files_and_input(isolation: Isolation) -> None:
    source = "import sys; print(sys.argv, open('data').read(), input(), __name__)"
    outcome = await isolation.run(python(source, "a", "b", files={"data": b"d"}, stdin=b"in\n"))
    assert outcome.stdout == b"['main.py', 'a', 'b'] d in __main__\n"


async def test_an_executable_file_is_run_by_its_name(isolation: Isolation) -> None:
    files = {"run": b"#!/bin/sh\necho $1 $0; exit 5\n"}
    outcome = await isolation.run(RunSpec(argv=("run", "x"), files=files, executables=frozenset({"run"})))
    assert (outcome.exit_code, outcome.stdout) == (5, b"x ./run\n")


async def test_only_regular_files_of_allowed_size_are_kept(isolation: Isolation) -> None:
    source = """
import os
open('made', 'wb').write(b'made')
os.symlink('/etc/hostname', 'link'); os.mkfifo('pipe'); os.mkdir('folder'); open('huge', 'wb').truncate(1 << 24)
"""
    kept = ("made", "link", "pipe", "folder", "huge", "absent", "main.py")
    spec = python(source, kept=kept)
    limits = spec.limits.model_copy(update={"file_bytes": 2**24 - 1})
    outcome = await isolation.run(spec)
    assert {name: len(content) for name, content in outcome.files.items()} == {
        "made": 4,
        "huge": 2**24,
        "main.py": len(source),
    }
    outcome = await isolation.run(python(source.replace("1 << 24", "(1 << 24) - 2"), kept=kept, limits=limits))
    assert len(outcome.files["huge"]) == 2**24 - 2


async def test_a_conversation_goes_over_descriptor_three(isolation: Isolation) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"question\n")
        answers.append(await reader.readline())

    answers: list[bytes] = []
    source = "with open(3, 'r+b', buffering=0) as talk: talk.write(talk.read(9).upper())"
    outcome = await isolation.run(python(source, conversation=talk))
    assert (outcome.exit_code, outcome.stderr) == (0, b"")
    assert answers == [b"QUESTION\n"]


async def test_a_failed_conversation_ends_the_program_and_is_raised(isolation: Isolation) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        raise LookupError("broken")

    source = "import os, time; os.write(3, b'x'); time.sleep(60)"
    with pytest.raises(LookupError, match="broken"):
        await isolation.run(python(source, conversation=talk))
    assert (await isolation.run(python("print(1)"))).stdout == b"1\n"


async def test_without_a_conversation_descriptor_three_is_closed(isolation: Isolation) -> None:
    outcome = await isolation.run(python("import os; os.fstat(3)"))
    assert b"Bad file descriptor" in outcome.stderr


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a", "a\0"])
async def test_a_name_that_is_no_plain_name_is_refused(isolation: Isolation, name: str) -> None:
    with pytest.raises(ValueError, match="plain name"):
        await isolation.run(RunSpec(argv=("true",), files={name: b""}))


async def test_a_script_ends_as_it_would_under_a_fresh_interpreter(isolation: Isolation) -> None:
    for source, code, stdout, last_word in SCRIPTS:
        outcome = await isolation.run(python(source))
        assert (outcome.exit_code, outcome.stdout) == (code, stdout), (source, outcome)
        assert outcome.stderr.splitlines()[-1:] == ([last_word] if last_word else []), source


SCRIPTS = [
    ("print(1)", 0, b"1\n", b""),
    ("raise SystemExit", 0, b"", b""),
    ("import sys; sys.exit(7)", 7, b"", b""),
    ("import sys; sys.exit(256 + 3)", 3, b"", b""),
    ("import sys; sys.exit('why')", 1, b"", b"why"),
    ("1 / 0", 1, b"", b"ZeroDivisionError: division by zero"),
    ("print(1", 1, b"", b"SyntaxError: '(' was never closed"),
    ("import atexit; atexit.register(print, 'end'); print('start')", 0, b"start\nend\n", b""),
    ("import threading as t; t.Timer(0.01, print, ('late',)).start(); print('early')", 0, b"early\nlate\n", b""),
    ("import os; print('lost', end=''); os._exit(4)", 4, b"", b""),
    ("exit(7)", 7, b"", b""),
    ("import builtins; getattr(builtins, 'qu' + 'it')(7)", 7, b"", b""),
    ("getattr(__import__('built' + 'ins'), 'ex' + 'it')(7)", 7, b"", b""),
    ("import sys\nif len(sys.argv) > 1: sys.exit(1)\neval('exi' + 't(7)')", 7, b"", b""),
    ("\uff45xit(7)", 7, b"", b""),  # a letter of another width: the same name
    ("# coding: utf-7\n+AGUAeABpAHQ(7)", 7, b"", b""),
    ("import _thread; print(_thread.stack_size(2**29))", 0, b"0\n", b""),
    ("import threading as t; t.stack_size(2**29); t.Thread(target=print, args=(1,)).start()", 0, b"1\n", b""),
    ("print(len(str(10**5000)))", 0, b"5001\n", b""),
    ("f = open(1, 'w', closefd=False); f.write('unflushed')", 0, b"unflushed", b""),
    ("class A:\n  def __del__(self): print('gone')\na = A()", 0, b"gone\n", b""),
    ("class A:\n  def __del__(self): print('gone')\na = A(); a.me = a", 0, b"gone\n", b""),
    ("import gc\nclass A:\n  def __del__(self): print('gone')\na = A(); a.me = a; gc.collect()", 0, b"gone\n", b""),
    ("import __main__; x = 5; print(__main__.x, __main__.__file__[-7:])", 0, b"5 main.py\n", b""),
    ("print([name for name in dir() if not name.startswith('_')])", 0, b"[]\n", b""),
    ("import sys; sys.excepthook = lambda *_: print('hook'); 1 / 0", 1, b"hook\n", b""),
    (
        "import sys; print('prorl_reward_sandbox' in sys.modules, sys.stdin.seekable(), sys.path[0][-4:])",
        0,
        b"False False .zip\n",
        b"",
    ),
]
