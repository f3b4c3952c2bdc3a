"""Completions of domain `code`: the program that is found is what is judged, by the row's policy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from prorl_api.rows import CodeRow
from prorl_api.spec.values import AnswerFormat, Domain
from prorl_api.wire.sandbox import ScoreItem, Verdict
from prorl_reward_sandbox.execution.programs import ProgramService
from prorl_reward_sandbox.service.code_rewards import CodeJudge, request_of
from prorl_reward_sandbox.workers.pool import JudgedItem
from tests.unit.reward_sandbox.program_kit import program_service

in_one_loop = pytest.mark.asyncio(loop_scope="module")
DOUBLE: dict[str, Any] = {
    "tests": [{"stdin": str(n), "expected_stdout": str(2 * n)} for n in (1, 2, 21, 100)],
    "total_wall_seconds": 20,
}
RIGHT = "```python\nprint(2 * int(input()))\n```"
MEMORISED = "```python\nprint({'1': 2, '2': 4}[input()])\n```"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def programs() -> AsyncIterator[ProgramService]:
    async with program_service() as service:
        yield service


async def judge(programs: ProgramService, completion: str, row: dict[str, Any], **fields: Any) -> JudgedItem:
    item = ScoreItem(item_id="1", domain=Domain.CODE, row=row, completion=completion, **fields)
    (judged,) = await CodeJudge(programs).judge([(item, CodeRow.model_validate(row))], timeout_seconds=60)
    return judged


@pytest.mark.parametrize(
    ("completion", "changes", "verdict", "reward"),
    [
        (f"So:\n{RIGHT}", {}, Verdict.CORRECT, 1.0),
        (MEMORISED, {}, Verdict.PARTIAL, 0.5),
        (MEMORISED, {"reward": "all"}, Verdict.RUNTIME_ERROR, 0.0),
        ("```python\nprint(3)\n```", {}, Verdict.WRONG, 0.0),
        ("```python\nprint(\n```", {}, Verdict.COMPILE_ERROR, 0.0),
        ("print(2 * int(input()))", {}, Verdict.FORMAT_ERROR, 0.0),
        (f"<think>{RIGHT}", {}, Verdict.FORMAT_ERROR, 0.0),
        (f"<think>{RIGHT}</think>```python\nprint(0)\n```", {}, Verdict.WRONG, 0.0),
        ("```python\n" + "#" * 2**20 + "\nprint(0)\n```", {}, Verdict.FORMAT_ERROR, 0.0),
        ("```python\nimport sys; sys.exit(0)\n```", {}, Verdict.WRONG, 0.0),
        ("```python\nwhile True: pass\n```", {"total_wall_seconds": 0.5}, Verdict.TIMEOUT_WALL, 0.0),
        ("```python\nprint(2 * int(input()), flush=True)\nif 1: import time; time.sleep(0.4)\n```",
         {"total_wall_seconds": 1.0}, Verdict.TIMEOUT_WALL, 0.0),
        ("```python\nprint('2\\n4\\n42\\n200')\n```", {}, Verdict.WRONG, 0.0),
        (RIGHT, {"language": "cobol"}, Verdict.UNSUPPORTED, None),
        ("```python\nprint(chr(0xd800))\n```", {}, Verdict.RUNTIME_ERROR, 0.0),
    ],
)  # fmt: skip
@in_one_loop
async def test_completion_table(
    programs: ProgramService, completion: str, changes: dict[str, Any], verdict: Verdict, reward: float | None
) -> None:
    judged = await judge(programs, completion, {**DOUBLE, **changes})
    assert (judged.judgement.verdict, judged.judgement.reward) == (verdict, reward), judged
    assert "200" not in judged.judgement.detail, "an expected output"


@pytest.mark.parametrize(
    ("answer_format", "completion", "verdict"),
    [
        (AnswerFormat.ANSWER_TAG, f"```python\n0\n```<answer>\n{RIGHT}\n</answer>", Verdict.CORRECT),
        (AnswerFormat.ANSWER_TAG, RIGHT, Verdict.FORMAT_ERROR),
        (AnswerFormat.BOXED, RIGHT, Verdict.UNSUPPORTED),
        (AnswerFormat.LAST_INTEGER, RIGHT, Verdict.UNSUPPORTED),
    ],
)
@in_one_loop
async def test_answer_formats_that_make_no_program_are_unsupported(
    programs: ProgramService, answer_format: AnswerFormat, completion: str, verdict: Verdict
) -> None:
    judged = await judge(programs, completion, DOUBLE, answer_format=answer_format)
    assert judged.judgement.verdict is verdict


@in_one_loop
async def test_the_failing_test_is_named(programs: ProgramService) -> None:
    judged = await judge(programs, MEMORISED, DOUBLE)
    assert judged.judgement.detail == "2 of 4 tests passed; test 3: runtime_error"


@in_one_loop
async def test_lookups_of_public_inputs_fail_hidden_tests(programs: ProgramService) -> None:
    row = {"tests": [{"type": "call", "function": "f", "arguments": [n], "expected": n * n} for n in (2, 3, 17)]}
    judged = await judge(programs, "```python\nf = {2: 4, 3: 9}.get\n```", {**row, "reward": "all"})
    assert judged.judgement.reward == 0.0


def test_the_total_is_bounded_by_the_request() -> None:
    assert request_of(CodeRow.model_validate(DOUBLE), "", 3.0).total_wall_seconds == 3.0


def test_expected_outputs_fit_into_the_output_limit() -> None:
    row = CodeRow.model_validate({"tests": [{"expected_stdout": "x" * 3_000_000}]})
    assert request_of(row, "", 9.0).limits.output_bytes >= 4 * 3_000_000
