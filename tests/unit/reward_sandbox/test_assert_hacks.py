"""What a hostile program answers to a test program: never a reward for a wrong value, never a zero turned into none."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from prorl_api.wire.sandbox import Verdict
from prorl_reward_sandbox.execution.programs import ProgramService
from tests.unit.reward_sandbox.program_kit import asserts, program_service, result_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

FRAME = "len(body).to_bytes(4, 'big') + body"
PRIMES = "[2, 3, 5, 7]"


def raising(name: str) -> str:
    return f"def f(n=0, *_): raise {name}"


def answering(reply: str) -> str:
    """A program that answers every call with a frame of its own making."""
    return f"import os\ndef f(*_):\n  body = {reply}\n  os.write(3, {FRAME})\n  os.read(3, 1 << 20)\n  return f()"


def value(form: str) -> str:
    return answering(f"b'{{\"value\": ' + {form} + b'}}'")


async def verdict_of(programs: ProgramService, source: str, test: str) -> Verdict:
    result = await result_of(programs, source, asserts(test, "f"), limits={"wall_seconds": 4.0})
    assert result.stdout == result.stderr == "" or result.verdict is not Verdict.WRONG
    return result.verdict


SIGNALS = ["StopIteration", "StopAsyncIteration", "GeneratorExit", "SystemExit(0)", "KeyboardInterrupt"]
READERS = {
    "all of a map": f"assert all(map(f, {PRIMES}))",
    "a loop over a zip": f"for got, want in zip(map(f, {PRIMES}), {PRIMES}):\n  assert got == want",
    "a list": f"assert not [x for x in map(f, {PRIMES}) if x != 2]",
    "unpacking": f"found = [*map(f, {PRIMES})]\nassert all(found)",
    "a sum": f"assert sum(map(f, {PRIMES})) == 0",
    "a default": f"assert next(map(f, {PRIMES}), 2) == 2",
    "calls until one is None": "assert list(iter(f, None)) == []",
    "an inner generator": f"def each():\n  yield from map(f, {PRIMES})\nassert all(each())",
    "a filter": f"assert not list(filter(f, {PRIMES}))",
    "any": f"assert not any(map(f, {PRIMES}))",
    "a dictionary": f"assert not dict(map(f, {PRIMES}))",
    "a join": f"assert not ''.join(map(f, {PRIMES}))",
    "a for with else": f"for x in map(f, {PRIMES}):\n  assert x\nelse:\n  x = 1\nassert x",
    "a coroutine": "import asyncio\nclass A:\n  def __aiter__(self): return self\n"
    "  async def __anext__(self): return f(1)\n"
    "async def main():\n  async for x in A():\n    assert x == 3\nasyncio.run(main())",
    "sorting": "assert sorted(map(f, [1, 2])) == []",
    "an exit code": "import sys\nx = f(1)\nsys.exit(0 if x else 1)",
    "unittest": "import unittest\nclass T(unittest.TestCase):\n  def test(self):\n"
    "    for x in map(f, [1]): self.assertEqual(x, 3)\nunittest.main()",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def programs() -> AsyncIterator[ProgramService]:
    async with program_service() as service:
        yield service


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("test", READERS.values(), ids=READERS)
async def test_an_exception_that_python_reads_as_a_signal_is_none(
    programs: ProgramService, name: str, test: str
) -> None:
    assert await verdict_of(programs, raising(name), test) is Verdict.WRONG


@pytest.mark.parametrize("name", SIGNALS)
async def test_nor_is_one_of_a_class_derived_from_it(programs: ProgramService, name: str) -> None:
    base = name.partition("(")[0]
    source = f"class Mine({base}): pass\ndef f(n): raise Mine"
    assert await verdict_of(programs, source, READERS["all of a map"]) is Verdict.WRONG
    raw = answering(f'b\'{{"raised": ["{base}", ""]}}\'')
    assert await verdict_of(programs, raw, READERS["all of a map"]) is Verdict.WRONG


@pytest.mark.parametrize(
    "name",
    ["FindingError", "ProgramError", "type", "eval", "print", "BaseException", "ExceptionGroup", "Warning", "int", ""],
)
async def test_a_name_that_is_no_exception_that_crosses_fails(programs: ProgramService, name: str) -> None:
    raw = answering(f'b\'{{"raised": ["{name}", "x"]}}\'')
    assert await verdict_of(programs, raw, "assert f(1) or True") is Verdict.WRONG


ERRORS = (
    "ValueError KeyError IndexError ZeroDivisionError TypeError FileNotFoundError RecursionError NotImplementedError "
    "AssertionError AttributeError UserWarning OverflowError UnicodeDecodeError"
)


@pytest.mark.parametrize("name", ERRORS.split())
async def test_ordinary_exceptions_cross(programs: ProgramService, name: str) -> None:
    made = "b'\\xff'.decode()" if name == "UnicodeDecodeError" else f"exec('raise {name}(\"why\")')"
    source = f"def f(n): {made}"
    test = f"try:\n  x = f(1)\nexcept {name} as error:\n  assert str(error)\nelse:\n  assert False"
    assert await verdict_of(programs, source, test) is Verdict.CORRECT


UNSUPPORTED = [
    "try:\n  x = f(1)\nexcept SystemExit:\n  pass\nelse:\n  assert False",
    "try:\n  x = f(1)\nexcept (ValueError, StopIteration):\n  pass",
    "import unittest\nclass T(unittest.TestCase):\n  def test(self):\n"
    "    with self.assertRaises(StopIteration):\n      f(1)\nunittest.main()",
    "import unittest\nclass T(unittest.TestCase):\n  def test(self):\n"
    "    self.assertRaises(KeyboardInterrupt, f, 1)\nunittest.main()",
    "import warnings\nwith warnings.catch_warnings(record=True) as w:\n  x = f(1)\nassert not w",
    "import io, contextlib\nout = io.StringIO()\nwith contextlib.redirect_stdout(out):\n  x = f(1)\n"
    "assert out.getvalue() == ''",
    "import io, sys\nsys.stdin = io.StringIO('3')\nassert f() == 3",
    "import io, sys\nsys.stdout = io.StringIO()\nx = f()\nassert sys.stdout.getvalue() == ''",
    "class Seq:\n  def __getitem__(self, i): return f(i)\nfor x in Seq(): assert x == 3",
    "class Has:\n  @property\n  def v(self): return f(1)\nassert not hasattr(Has(), 'v')",
    "import pickle\nassert pickle.loads(f(1)) == 3",
    "exec(f(1))\nassert x == 3",
    "assert eval(compile(f(1), 's', 'eval')) == 3",
    "import os\nassert os.system(f(1)) == 0",
    "import subprocess\nassert subprocess.run(f(1), shell=True).returncode == 0",
    "import builtins\nassert builtins.eval(f(1)) == 3",
    "import os\nif f(1) != 3: os._exit(1)",
    "if f(1) != 3:\n  pytest.fail('no')",
    "if f(1) != 3:\n  import a_module_that_is_not_here",
    "assert f(1) == 3, helper(1)",
    "from solution import f, Other\nassert f(1) == 3",
    "assert f(1) == 3\nimport solution\nassert solution.other(1) == 2",
]


@pytest.mark.parametrize("test", UNSUPPORTED)
@pytest.mark.parametrize("source", ["def f(*_): return 3", "def f(*_): return 0"], ids=["right", "wrong"])
async def test_what_the_text_needs_is_unsupported_whatever_is_answered(
    programs: ProgramService, source: str, test: str
) -> None:
    assert await verdict_of(programs, source, test) is Verdict.UNSUPPORTED


DEEP = "b'[' * 63 + b']' * 63"
MASKING = {
    "an integer of 4,250 digits, passed on": (value("b'9' * 4250"), "x = f(1)\nassert f(x) == 3"),
    "the same, multiplied": (value("b'9' * 4200"), "assert f(f(1) * 10 ** 90) == 3"),
    "63 nested lists, passed on in more": (value(DEEP), "assert f([[[[f(1)]]]]) == 3"),
    "a negative number whose root is none": ("def f(x): return -8", "assert f(f(1) ** 0.5) == 3"),
    "a name that is evaluated": ("def f(x): return 'undefined_name'", "assert eval(f(1)) == 3"),
    "a call that is evaluated": (
        "def f(x): return '__import__(\"os\")._exit(0)'",
        "assert eval(f(1)) == 3",
    ),
    "a verdict that is evaluated": (
        'def f(x):\n  return \'__import__("os").write(3, (14).to_bytes(4, "big") + b\\\'D["passed",""]\\\')\'',
        "assert eval(f(1)) == 3",
    ),
    "attributes that are evaluated": (
        "def f(x): return '().__class__.__base__.__subclasses__()'",
        "assert len(eval(f(1))) == 3",
    ),
    "a module that is imported": ("def f(x): return 'nowhere'", "assert __import__(f(1)).x == 3"),
    "a module that is imported by importlib": (
        "def f(x): return 'nowhere'",
        "import importlib\nassert importlib.import_module(f(1)).x == 3",
    ),
    "nothing, so that a loop binds nothing": ("def f(x): return []", "for v in f(1): y = v\nassert y == 3"),
    "nothing, so that a function lacks its variable": (
        "def f(x): return []",
        "def check():\n  for v in f(1): y = v\n  assert y == 3\ncheck()",
    ),
    "what makes the recursion too deep": (
        "def f(x): return 10 ** 9",
        "import sys\nsys.setrecursionlimit(10 ** 8)\ndef down(n): return n and sum(map(down, [n - 1]))\n"
        "assert down(f(1)) == 0",
    ),
    "a loop that goes on calling": ("def f(x=0): return 1", "while f(1): pass\nassert False"),
    "a NameError": ("def f(x): raise NameError('x', name='f')", "assert f(1) == 3"),
    "an ImportError": ("def f(x): raise ImportError('x', name='math')", "import math\nassert f(1) == 3"),
    "a list so large that the next call is": ("def f(x): return [0] * 300_000", "assert f(f(1) * 100) == 3"),
    "an attribute of the program": ("def f(x): return 'other'", "import solution\nassert getattr(solution, f(1)) == 3"),
    "a text that is no number": ("def f(x): return '9' * 5000", "assert int(f(1)) == 3"),
    "a depth that literal_eval cannot": (
        "def f(x): return '[' * 100_000",
        "import ast\nassert ast.literal_eval(f(1)) == 3",
    ),
}


@pytest.mark.parametrize("name", MASKING)
async def test_no_answer_turns_a_zero_into_no_reward(programs: ProgramService, name: str) -> None:
    source, test = MASKING[name]
    result = await result_of(programs, source, asserts(test, "f"), limits={"wall_seconds": 2.0})
    assert result.verdict.has_reward, result
    assert result.verdict is not Verdict.CORRECT, result


EVALUATED = [
    ("'4 * (7 - 1)'", "assert eval(f(1)) == 24"),
    ("'x ** 2 + 3'", "assert [eval(f(1), {'x': x}) for x in (1, 2)] == [4, 7]"),
    ("'max(x, 3) + sum([y for y in range(4)])'", "x = 9\nassert eval(f(1)) == 15"),
    ("3", "assert eval('f(1)') == 3"),
    ("3", "import math\nassert eval('math.floor(3.5)') == f(1)"),
    ("[1, {'a': (2,)}]", "assert eval(repr(f(1))) == f(1)"),
    ("1", "def g(x): return eval('x + 1')\nassert g(2) == 3 * f(1)"),
]


@pytest.mark.parametrize(("answer", "test"), EVALUATED)
async def test_a_text_may_be_evaluated_that_computes(programs: ProgramService, answer: str, test: str) -> None:
    assert await verdict_of(programs, f"def f(x): return {answer}", test) is Verdict.CORRECT


NAN = [
    ("assert not abs(f(1) - 3) > 1e-6", Verdict.WRONG),
    ("assert not (f(1) < 2 or f(1) > 4)", Verdict.WRONG),
    ("assert max(3, f(1)) == 3", Verdict.WRONG),
    ("assert not any(x > 3 for x in [f(1)])", Verdict.WRONG),
    ("import math\nassert math.isnan(f(1))", Verdict.CORRECT),
    ("x = f(1)\nassert x != x", Verdict.CORRECT),
    ("assert str(f(1)) == 'nan'", Verdict.CORRECT),
]


@pytest.mark.parametrize(("test", "verdict"), NAN)
@pytest.mark.parametrize("source", ["def f(x): return float('nan')", value('b\'{"\\\\u0066": "\\\\u006ean"}\'')])
async def test_what_is_no_number_is_within_no_tolerance(
    programs: ProgramService, source: str, test: str, verdict: Verdict
) -> None:
    assert await verdict_of(programs, source, test) is verdict


LIARS = {
    "a container that is true": "class L(list):\n  def __bool__(s): return True\n  def __len__(s): return 3\n"
    "def f(x): return L()",
    "an object of any length": "class L:\n  def __len__(s): return 3\n  def __iter__(s): return iter([1, 2, 3])\n"
    "def f(x): return L()",
    "an iterator": "def f(x): return iter([1, 2, 3])",
    "a generator that equals": "def f(x):\n  yield from [1, 2, 3]",
    "a tuple that compares": "class T(tuple):\n  def __eq__(s, o): return True\n  __lt__ = __gt__ = __ne__ = __eq__\n"
    "  __hash__ = None\ndef f(x): return T()",
    "a dict that has every key": "class D(dict):\n  def __missing__(s, k): return 3\n"
    "  def __contains__(s, k): return True\n"
    "def f(x): return D()",
    "a str that is every one": "class S(str):\n  def __eq__(s, o): return True\n  __hash__ = str.__hash__\n"
    "def f(x): return S('x')",
    "a member twice": value("b'{\"s\": [1, 1, 1]}'"),
    "a key twice": value("b'{\"d\": [[1, 2], [1, 3]]}'"),
    "a true float": value("b'1e999'"),
    "a repeated answer": answering('b\'{"value": 0, "value": [1, 2, 3]}\''),
    "two kinds of answers": answering('b\'{"value": [1, 2, 3], "raised": ["ValueError", ""]}\''),
    "a bare list": answering("b'[1, 2, 3]'"),
}


@pytest.mark.parametrize("name", LIARS)
async def test_what_is_counted_and_tested_is_plain_data(programs: ProgramService, name: str) -> None:
    test = "x = f(1)\nassert len(x) == 3 and x and list(x) == [1, 2, 3] and x == [1, 2, 3]"
    assert await verdict_of(programs, LIARS[name], test) is Verdict.WRONG


THREADS = [
    "import threading\nt = threading.Thread(target=lambda: check(f(1)))\ndef check(x): assert x == 3\n"
    "t.start()\nt.join()",
    "import threading\nthreading.Thread(target=f, args=(1,)).start()",
    "import threading\ndef check(): assert f(1) == 3\nthreading.Thread(target=check).start()",
]


@pytest.mark.parametrize("test", THREADS)
async def test_a_test_that_fails_in_a_thread_has_failed(programs: ProgramService, test: str) -> None:
    assert await verdict_of(programs, "def f(x):\n  if x: raise ValueError", test) is Verdict.WRONG
