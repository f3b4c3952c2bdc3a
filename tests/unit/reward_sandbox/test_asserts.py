"""Assert tests by two jails: the verdict is the test program's, and what needs more than values is never a zero."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from prorl_api.wire.sandbox import Verdict
from prorl_reward_sandbox.execution.levels.process_isolation import ProcessIsolation
from prorl_reward_sandbox.execution.programs import ProgramService
from tests.unit.reward_sandbox.program_kit import asserts, make_request, program_service, result_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

RIGHT = """
calls = []
def add(a, b):
    calls.append(1)
    return a + b
def divide(a, b): return a / b
def count(): return len(calls)
def sort(values): values.sort(); return values
class Stack:
    def push(self, x): pass
class Custom(Exception): pass
def fail(kind): raise {'custom': Custom, 'value': ValueError, 'key': KeyError, 'exit': SystemExit}[kind]('why')
"""
UNITTEST = """
import unittest
from solution import add, divide
class Tests(unittest.TestCase):
    def test_add(self): self.assertEqual(add(a=1, b=2), 3)
    def test_error(self):
        with self.assertRaises(ZeroDivisionError):
            divide(1, 0)
unittest.main()
"""
PASSING = [
    "assert add(1, 2) == 3",
    "import solution\nassert solution.add(1, 2) == 3",
    "from solution import add as plus\nassert plus([1], [2]) == [1, 2]",
    "def check(candidate):\n  assert candidate(1, 2) == 3\ncheck(add)",
    UNITTEST,
    "assert (add((1,), (2,)), type(add({}.get('x') or 1, 2))) == ((1, 2), int)",
    "x = add(1, 1)\ny = add(1, 2)\nassert count() == 2",
    "values = [3, 1]\nresult = sort(values)\nassert (result, values) == ([1, 3], [3, 1])",
    "try:\n  fail('value')\nexcept ValueError as error:\n  assert str(error) == 'why'\nelse:\n  assert False",
    "try:\n  fail('key')\nexcept LookupError:\n  pass\nelse:\n  assert False",
    "assert all(map(lambda n: add(n, n) == 2 * n, range(100)))",
    "import threading\nfound = []\n"
    "threads = [threading.Thread(target=lambda: found.append(add(1, 1))) for _ in range(3)]\n"
    "for t in threads: t.start()\nfor t in threads: t.join()\nassert found == [2] * 3",
    "result = add('a', 'b')\nassert result.upper() == 'AB'",
    "assert add(1, 2) == 3\nraise SystemExit(0)",
]
FAILING = [
    "assert add(1, 2) == 4",
    "x = fail('custom')",
    "x = fail('exit')",
    "assert add(1, 2) == 3\nassert divide(1, 0)",
    "x = add(1)",
    "assert Stack() == 1",
    "import sys\nx = add(1, 2)\nsys.exit(1)",
]
UNSUPPORTED = [
    ("pass", "none of the functions"),
    ("assert 1 == 1", "none of the functions"),
    ("add(1, 2)", "for its effect"),
    ("values = [2, 1]\nsort(values)\nassert values == [1, 2]", "for its effect"),
    ("s = Stack()\ns.push(1)", "'push' of a result"),
    ("Stack().push(1)", "'push' of a result"),
    ("class Mine(Stack): pass\nassert add(1, 2) == 3", "derives a class"),
    ("assert isinstance(add(1, 2), Stack)", "the program's class"),
    ("from unittest import mock\nassert add(1, 2) == 3", "replaces parts"),
    ("from unittest.mock import patch\nassert add(1, 2) == 3", "replaces parts"),
    ("assert add.__doc__ is None", "looks into"),
    ("assert add(print, 1)", "builtin_function_or_method"),
    ("try:\n  x = add(object(), 1)\nexcept Exception:\n  pass", "a value of type object"),
    ("import solution\nassert solution.other == 1", "'other'"),
    ("assert undefined_name(1)", "lacks a name"),
    ("import numpy_that_is_not_here\nassert add(1, 2) == 3", "lacks a name or a module"),
    ("assert add(1, 2) == ", "no Python"),
    ("import os\nassert add(1, 2) == 3\nos._exit(0)", "without a verdict"),
]
NAMES = ("add", "divide", "count", "sort", "Stack", "fail")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def programs() -> AsyncIterator[ProgramService]:
    async with program_service() as service:
        yield service


@pytest.mark.parametrize("source", PASSING)
async def test_a_right_program_passes(programs: ProgramService, source: str) -> None:
    result = await result_of(programs, RIGHT, asserts(source, *NAMES))
    assert result.verdict is Verdict.CORRECT, result


@pytest.mark.parametrize("source", FAILING)
async def test_a_failing_assertion_is_wrong_and_tells_nothing(programs: ProgramService, source: str) -> None:
    result = await result_of(programs, RIGHT, asserts(source, *NAMES))
    assert result.verdict is Verdict.WRONG, result
    assert result.stdout == result.stderr == ""


@pytest.mark.parametrize(("source", "reason"), UNSUPPORTED)
async def test_what_needs_more_than_values_is_unsupported(programs: ProgramService, source: str, reason: str) -> None:
    result = await result_of(programs, RIGHT, asserts(source, *NAMES))
    assert result.verdict is Verdict.UNSUPPORTED, result
    assert reason in result.detail


@pytest.mark.parametrize(
    ("source", "verdict"),
    [
        ("def add(a, b):\n  while True: pass", Verdict.TIMEOUT_WALL),
        ("import time\ndef add(a, b): time.sleep(60)", Verdict.TIMEOUT_WALL),
        ("import os\ndef add(a, b): os._exit(0)", Verdict.RUNTIME_ERROR),
        ("import os\nos.close(3)\ndef add(a, b): return 3", Verdict.RUNTIME_ERROR),
        ("def add(a, b): return 'x' * (3 << 20)", Verdict.OUTPUT),
        ("import os\nwhile True: os.write(3, b'\\xff' * 65536)", Verdict.OUTPUT),
        ("import os\nos.write(3, b'\\0\\0\\0\\2{}' * 1000)\ndef add(a, b): return 3", Verdict.WRONG),
        ('import os, sys\nos.write(3, b\'D\\0\\0\\0\\x0c["passed",""]\' * 9)\ndef add(a, b): return 0', Verdict.OUTPUT),
        ("raise NameError('x')", Verdict.RUNTIME_ERROR),
        ("def add(a, b): raise NameError('x')", Verdict.WRONG),
        ("def add(a, b): raise AssertionError", Verdict.WRONG),
        ("add = 3", Verdict.WRONG),
        ("def add(a, b): return add", Verdict.WRONG),
        ("def add(a, b:", Verdict.RUNTIME_ERROR),
    ],
)
async def test_a_program_can_only_make_the_test_fail(programs: ProgramService, source: str, verdict: Verdict) -> None:
    # The test program even catches what it can.
    test = asserts("try:\n  result = add(1, 2)\nexcept Exception:\n  result = None\nassert result == 3", "add")
    result = await result_of(programs, source, test, limits={"wall_seconds": 2.0})
    assert result.verdict is verdict, result


async def test_the_program_never_meets_the_test_program(programs: ProgramService) -> None:
    source = """
import os
def add(a, b):
    return sorted(os.listdir('.')) + [str(len(open('main.py').read()) > 0), str('SECRET' in open('solution.py').read())]
"""
    test = asserts(
        "# SECRET\n"
        "assert add(1, 2) == ['harness.bin', 'harness.py', 'main.py', 'solution.py', 'True', 'False'], add(1, 2)",
        "add",
    )
    source = source.replace("'SECRET'", "'SEC' + 'RET'")
    assert (await result_of(programs, source, test)).verdict is Verdict.CORRECT


async def test_a_slow_test_program_ends_at_the_wall_limit(programs: ProgramService) -> None:
    test = asserts("while add(1, 2): pass", "add")
    result = await result_of(programs, RIGHT, test, limits={"wall_seconds": 0.7})
    assert result.verdict is Verdict.TIMEOUT_WALL


async def test_many_assert_tests_at_once_do_not_wait_for_each_other_forever(programs: ProgramService) -> None:
    request = make_request(RIGHT, asserts("assert add(1, 2) == 3", "add"))
    async with asyncio.timeout(60):
        responses = await programs.execute_all((request,) * 8, shown_bytes=0)
    assert {response.reward for response in responses} == {1.0}


async def test_a_level_that_runs_one_program_at_a_time_cannot_judge_asserts() -> None:
    async with program_service(slots=1, isolation=ProcessIsolation(1)) as programs:
        result = await result_of(programs, RIGHT, asserts("assert add(1, 2) == 3", "add"))
    assert result.verdict is Verdict.UNSUPPORTED
    assert "one program at a time" in result.detail
