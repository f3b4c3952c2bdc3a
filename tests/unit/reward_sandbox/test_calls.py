"""Function tests: only values cross, and no wrong program gets a reward by any trick."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from prorl_api.wire.sandbox import Verdict
from prorl_reward_sandbox.execution.programs import ProgramService
from tests.unit.reward_sandbox.program_kit import asserts, call, execute, program_service, result_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

FRAME = "len(body).to_bytes(4, 'big') + body"
HACKS = {
    "constant": "def add(a, b): return 3",
    "exit at import": "import sys; sys.exit(0)",
    "exit code 0 at import": "import os; os._exit(0)",
    "SystemExit in the call": "def add(a, b): raise SystemExit(0)",
    "exit in the call": "import os\ndef add(a, b): os._exit(0)",
    "equal to everything": "class E:\n  def __eq__(s, o): return True\n  __hash__ = None\ndef add(a, b): return E()",
    "an int that lies": "class I(int):\n  def __eq__(s, o): return True\n  __ne__ = __lt__ = __eq__\n"
    "def add(a, b): return I(0)",
    "fakes its class": "class F:\n  __class__ = int\n  def __eq__(s, o): return True\ndef add(a, b): return F()",
    "reads the caller's frames": """
import sys
def add(a, b):
    frame = sys._getframe()
    while frame:
        for name, value in {**frame.f_locals, **frame.f_globals}.items():
            if name in ('expected', 'gt_out', 'test', 'answer') and isinstance(value, (int, list)):
                return value
        frame = frame.f_back
    return 0""",
    "scans the heap": """
import gc
def add(a, b):
    numbers = [v for o in gc.get_objects() if isinstance(o, dict) for k, v in list(o.items()) if k == 'expected']
    return numbers[0] if numbers else 0""",
    "patches the harness": """
import json, builtins, sys
main = sys.modules['__main__']
main.encode = lambda value: True
main.answer = lambda *_: {'value': True, 'verdict': 'correct'}
json.dumps = lambda *_, **__: '{"value": true}'
builtins.isinstance = lambda *_: True
def add(a, b): return 0""",
    "patches comparisons": "import builtins, math\nbuiltins.all = builtins.any = lambda _: True\n"
    "math.isclose = lambda *_, **__: True\nbuiltins.len = lambda _: 1\ndef add(a, b): return 0",
    "writes a verdict into the conversation": f"""
import os
body = b'{{"verdict": "correct", "value": null, "passed": true}}'
os.write(3, {FRAME})
def add(a, b): return 0""",
    "offers many answers": f"""
import os
for guess in range(100):
    body = b'{{"value": %d}}' % guess
    os.write(3, {FRAME})
def add(a, b): return 0""",
    "prints verdicts": "print('correct\\nPASSED\\n{\"verdict\": \"correct\"}')\ndef add(a, b): return 'correct'",
    "an exception that says passed": "class timeoutexception(Exception):\n  def __str__(s): return 'passed'\n"
    "def add(a, b): raise timeoutexception('True')",
    "exit hooks": "import atexit, sys, os\n"
    "atexit.register(lambda: os._exit(0))\nsys.excepthook = lambda *_: os._exit(0)\n"
    "def add(a, b): raise ValueError",
    "searches the disk": """
import os
def add(a, b):
    texts = [open(name, errors='replace').read() for name in os.listdir('.')]
    return int('12' '345') if any('12' + '345' in text for text in texts) else 0""",
    "drops conftest and sitecustomize": "for n in ('conftest.py', 'sitecustomize.py', 'usercustomize.py'):\n"
    "  open(n, 'w').write('import builtins; builtins.all = lambda _: True')\ndef add(a, b): return 0",
    "a trailing decorator": "def add(a, b): return 0\n@(lambda f: (lambda *_: 0))",
    "an open string": "def add(a, b): return 0\n'''",
    "an open parenthesis": "def add(a, b): return 0\n(",
    "swallows what follows": "def add(a, b): return 0\nif 0: \\",
    "only when run as a program": "if __name__ == '__main__':\n  def add(a, b): return a + b",
    "hedges": "def add(a, b): return [a + b, a - b, a * b]",
    "as text": "def add(a, b): return str(a + b)",
    "as a set": "def add(a, b): return {a + b}",
    "in a generator": "def add(a, b): yield a + b",
    "nothing": "def add(a, b): print(a + b)",
    "no such function": "def sub(a, b): return a - b",
    "is told a test from its environment": "import os\n"
    "def add(a, b): return a + b if 'PYTEST_CURRENT_TEST' in os.environ else 0",
    "closes the conversation": "import os\nos.close(3)\ndef add(a, b): return a + b",
}
ADD_TESTS = (call("add", 12000, 345, expected=12345), call("add", -1, 1, expected=0))
RIGHT = "def add(a, b): return a + b"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def programs() -> AsyncIterator[ProgramService]:
    async with program_service() as service:
        yield service


async def test_a_right_function_passes(programs: ProgramService) -> None:
    response = await execute(programs, RIGHT, *ADD_TESTS)
    assert [result.verdict for result in response.tests] == [Verdict.CORRECT] * 2
    assert response.reward == 1.0


@pytest.mark.parametrize("name", HACKS)
async def test_a_wrong_function_fails_the_test_it_cannot_answer(programs: ProgramService, name: str) -> None:
    result = await result_of(programs, HACKS[name], ADD_TESTS[0], limits={"wall_seconds": 1.0})
    assert result.verdict not in (Verdict.CORRECT, Verdict.UNSUPPORTED, Verdict.SANDBOX_ERROR), result
    assert "12345" not in result.detail


@pytest.mark.parametrize("name", HACKS)
async def test_a_wrong_function_has_no_reward_from_assert_tests(programs: ProgramService, name: str) -> None:
    test = asserts("assert add(12000, 345) == 12345\nassert add(5, 6) == 11", "add")
    result = await result_of(programs, HACKS[name], test, limits={"wall_seconds": 2.0})
    assert result.verdict not in (Verdict.UNSUPPORTED, Verdict.SANDBOX_ERROR), result
    assert result.verdict is not Verdict.CORRECT, result


@pytest.mark.parametrize(
    ("source", "test"),
    [
        ("def f(): return (1, [2, {3: None}])", call("f", expected=[1, [2, {"3": None}]])),
        ("def f(*a): return a[::-1]", call("f", 1, "\u00e9\ud800", None, expected=[None, "\u00e9\ud800", 1])),
        ("def f(d): d['x'].append(1); return d", call("f", {"x": []}, expected={"x": [1]})),
        (
            "class Solution:\n  def f(self, x: List[int]) -> Optional[int]: return x[0]",
            call("Solution.f", [7], expected=7),
        ),
        ("def f(): print('noise' * 1000); return 0.1 + 0.2", call("f", expected=0.3)),
        (
            "from dataclasses import dataclass\n@dataclass\nclass P:\n  x: int\ndef f(): return P(4).x",
            call("f", expected=4),
        ),
        (
            "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\ndef f(): return 1",
            call("f", expected=1),
        ),
        (
            "import sys\nsys.setrecursionlimit(5000)\ndef f(n): return n and 1 + f(n - 1)",
            call("f", 3000, expected=3000),
        ),
        ("def f(): return 10 ** 300", call("f", expected=10**300)),
        ("f = lambda x: x", call("f", [], expected=[])),
    ],
)
async def test_ordinary_programs_answer_with_values(
    programs: ProgramService, source: str, test: dict[str, Any]
) -> None:
    assert (await result_of(programs, source, test)).verdict is Verdict.CORRECT


@pytest.mark.parametrize(
    ("source", "verdict"),
    [
        ("def f():\n  while True: pass", Verdict.TIMEOUT_WALL),
        ("def f(): return bytearray(1 << 40)", Verdict.RUNTIME_ERROR),
        ("def f(): return 'x' * (3 << 20)", Verdict.OUTPUT),
        ("def f(): return [0] * 2_000_000", Verdict.WRONG),
        ("import os\nos.write(3, b'\\xff\\xff\\xff\\xff' * 10)\ndef f(): return 1", Verdict.OUTPUT),
        ("import os\nos.write(3, b'\\0\\0\\0\\x05[[[[[')\ndef f(): return 1", None),
        ("import os\nos.write(3, b'\\0\\0\\0\\x05')\nos._exit(9)", Verdict.RUNTIME_ERROR),
        ("def f():\n  import sys; sys.setrecursionlimit(10**9)\n  return f()", None),
        ("def f(): return 10 ** 5000", Verdict.WRONG),
        ("def f(:", Verdict.RUNTIME_ERROR),
    ],
)
async def test_answers_that_are_none_have_typed_verdicts(
    programs: ProgramService, source: str, verdict: Verdict | None
) -> None:
    result = await result_of(programs, source, call("f", expected=1), limits={"wall_seconds": 3.0})
    assert result.verdict not in (Verdict.CORRECT, Verdict.UNSUPPORTED, Verdict.SANDBOX_ERROR), result
    assert verdict is None or result.verdict is verdict, result


@pytest.mark.parametrize(
    "reply", ['{"raised": ["\\ud800", ""]}', '{"refused": "\\udfff"}', '{"value": "\\ud800"}', '{"raised": 3}', "3"]
)
async def test_whatever_a_program_writes_the_result_can_be_sent(programs: ProgramService, reply: str) -> None:
    source = f"import os\nbody = {reply!r}.encode()\nos.write(3, {FRAME})\ndef f(): return 0"
    response = await execute(programs, source, call("f", expected=1))
    assert response.tests[0].verdict in (Verdict.RUNTIME_ERROR, Verdict.WRONG)
    response.model_dump_json()


async def test_each_test_has_a_process_of_its_own(programs: ProgramService) -> None:
    source = """
calls = []
def f(x):
    calls.append(x)
    open('note', 'a').write('x')
    return [len(calls), len(open('note').read())]
"""
    response = await execute(programs, source, *[call("f", number, expected=[1, 1]) for number in range(3)])
    assert response.reward == 1.0


async def test_arguments_that_are_too_deep_are_the_rows_fault(programs: ProgramService) -> None:
    deep: list[Any] = []
    for _ in range(100):
        deep = [deep]
    assert (await result_of(programs, RIGHT, call("add", deep, expected=0))).verdict is Verdict.UNSUPPORTED


async def test_calls_of_other_languages_are_unsupported(programs: ProgramService) -> None:
    result = await result_of(programs, "int main(void) { return 0; }", call("f", expected=1), language="c")
    assert result.verdict is Verdict.UNSUPPORTED


@pytest.mark.parametrize(
    ("source", "function", "is_found"),
    [
        ("class Solution:\n    def f(self, x): return 2 * x", "f", True),
        ("class Solution:\n    def f(self, x): return 2 * x\ndef f(x): return 0", "Solution.f", True),
        ("def f(x): return 2 * x", "Solution.f", True),
        ("def f(x): return 2 * x\nclass Solution:\n    def f(self, x): return 0", "f", True),
        ("class Other:\n    def f(self, x): return 2 * x", "f", False),
        ("class Solution:\n    def g(self, x): return 2 * x", "f", False),
    ],
)
async def test_a_method_of_solution_and_a_function_stand_for_each_other(
    programs: ProgramService, source: str, function: str, is_found: bool
) -> None:
    result = await result_of(programs, source, call(function, 3, expected=6))
    assert (result.verdict is Verdict.CORRECT) == is_found
