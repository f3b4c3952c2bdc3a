"""Custom checkers decide in a jail of their own; what is wrong with them is never the program's failure."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from prorl_api.wire.sandbox import Verdict
from prorl_reward_sandbox.execution.judging import checkers
from prorl_reward_sandbox.execution.programs import ProgramService
from tests.unit.reward_sandbox.program_kit import execute, program_service, result_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Any two numbers with the right sum; the expected output is one of many answers.
SUM = """
import json, sys
case = json.load(sys.stdin)
a, b = case["stdout"].split()
assert case["expected_stdout"] == "1 9"
sys.exit(0 if int(a) + int(b) == int(case["stdin"]) else 1)
"""
C_CHECKER = """
#include <stdio.h>
#include <string.h>
int main(void) {
    static char text[4096];
    fread(text, 1, sizeof text - 1, stdin);
    return strstr(text, "\\"stdout\\": \\"4 6") == NULL;
}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def programs() -> AsyncIterator[ProgramService]:
    async with program_service() as service:
        yield service


def checker(source: str, language: str = "python") -> dict[str, Any]:
    return {"kind": "program", "source": source, "language": language}


@pytest.mark.parametrize(
    ("source", "checker_source", "language", "verdict"),
    [
        ("print(4, 6)", SUM, "python", Verdict.CORRECT),
        ("print(1, 9)", SUM, "python", Verdict.CORRECT),
        ("print(4, 7)", SUM, "python", Verdict.WRONG),
        ("print('nonsense')", SUM, "python", Verdict.WRONG),
        ("import sys; sys.stdout.buffer.write(b'\\xff\\x00')", SUM, "python", Verdict.WRONG),
        ("print(4, 6); raise ValueError", SUM, "python", Verdict.RUNTIME_ERROR),
        ("print(4, 6)", C_CHECKER, "c", Verdict.CORRECT),
        ("print(5, 5)", C_CHECKER, "c", Verdict.WRONG),
        ("print(4, 6)", "int main(", "c", Verdict.UNSUPPORTED),
        ("print(4, 6)", "x", "cobol", Verdict.UNSUPPORTED),
        ("print(4, 6)", "raise SystemExit(7)", "python", Verdict.SANDBOX_ERROR),
        ("print(4, 6)", "import os; os._exit(9)", "python", Verdict.SANDBOX_ERROR),
    ],
)
async def test_checker_table(
    programs: ProgramService, source: str, checker_source: str, language: str, verdict: Verdict
) -> None:
    test = {"stdin": "10", "expected_stdout": "1 9"}
    result = await result_of(programs, source, test, checker=checker(checker_source, language))
    assert result.verdict is verdict, result


async def test_a_program_cannot_leave_anything_for_the_checker(programs: ProgramService) -> None:
    source = """
for name in ('main.py', 'json.py', 'sitecustomize.py', 'checker.py'):
    open(name, 'w').write('raise SystemExit(0)')
print('nonsense')
"""
    result = await result_of(programs, source, {"stdin": "10", "expected_stdout": "1 9"}, checker=checker(SUM))
    assert result.verdict is Verdict.WRONG


async def test_the_checkers_time_is_not_the_programs(programs: ProgramService) -> None:
    slow = "import time; time.sleep(0.5); raise SystemExit(0)"
    tests = [{"stdin": "10", "expected_stdout": "1 9"}] * 2
    response = await execute(programs, "print(4, 6)", *tests, checker=checker(slow), total_wall_seconds=0.6)
    assert response.reward == 1.0


READS_NUMBERS = """
import json, sys
case = json.load(sys.stdin)
try:
    values = [int(word) for word in case["stdout"].split()]
except ValueError:
    sys.exit(7)
if values == [9, 9]:
    while True: pass
if values == [8, 8]:
    held = [bytearray(1 << 26) for _ in range(100)]
if values == [7, 7]:
    import os; os.abort()
if values == [6, 6]:
    print("x" * (64 << 20))
sys.exit(0 if sum(values) == int(case["stdin"]) else 2)
"""
UNREADABLE = {
    "words": "print('nonsense')",
    "more than its number of digits": "print('9' * 5000)",
    "what makes it run for ever": "print(9, 9)",
    "what fills its memory": "print(8, 8)",
    "what ends it by a signal": "print(7, 7)",
    "what makes it flood": "print(6, 6)",
    "an exit code of its own": "print(4, 7)",
}


@pytest.mark.parametrize("name", UNREADABLE)
async def test_an_output_that_the_checker_cannot_judge_is_wrong(
    programs: ProgramService, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = checkers.LIMITS.model_copy(update={"wall_seconds": 2.0, "cpu_seconds": 1.0})
    monkeypatch.setattr(checkers, "LIMITS", limits)
    test = {"stdin": "10", "expected_stdout": "1 9"}
    result = await result_of(programs, UNREADABLE[name], test, checker=checker(READS_NUMBERS))
    assert result.verdict is Verdict.WRONG, result
    assert "1 9" not in result.detail


async def test_a_checker_that_cannot_judge_the_expected_output_is_at_fault(programs: ProgramService) -> None:
    test = {"stdin": "10", "expected_stdout": "ten"}
    result = await result_of(programs, "print('nonsense')", test, checker=checker(READS_NUMBERS))
    assert result.verdict is Verdict.SANDBOX_ERROR
    assert "on the expected output" in result.detail


async def test_an_output_too_large_for_the_question_is_wrong(programs: ProgramService) -> None:
    # Each of its characters takes six in the question.
    source = "import sys\nfor _ in range(23): sys.stdout.write('\\0' * (1 << 20))"
    limits = {"output_bytes": 64 * 2**20, "wall_seconds": 20.0}
    test = {"stdin": "10", "expected_stdout": "1 9"}
    result = await result_of(programs, source, test, checker=checker(SUM), limits=limits)
    assert result.verdict is Verdict.WRONG, result
