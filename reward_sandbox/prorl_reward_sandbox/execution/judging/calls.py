"""Function tests: the program is called in its own process and answers with a value, which is compared here.

Neither the expected value nor another test's arguments ever enter that process. What a program writes into the
conversation by itself is its answer like any other: writing the right value is as hard as returning it.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field, replace

from prorl_api.rows import CallTest, Checker
from prorl_api.wire.sandbox import ExecutionLimits, ProgramTestResult, Verdict
from prorl_reward_sandbox.execution.compiling.compilation import Program
from prorl_reward_sandbox.execution.harness.canonical import RefusedError, encode, loads
from prorl_reward_sandbox.execution.harness.scripts import script_files
from prorl_reward_sandbox.execution.isolation import Isolation, RunSpec
from prorl_reward_sandbox.execution.judging.conversation import (
    BreachError,
    longest_answer,
    read_frame,
    readable,
    write_frame,
)
from prorl_reward_sandbox.execution.judging.values import is_expected_value
from prorl_reward_sandbox.execution.retries import run_twice
from prorl_reward_sandbox.execution.verdicts import find_fault, result_of


def candidate_spec(program: Program, limits: ExecutionLimits) -> RunSpec:
    """Return a run of a Python program in which its functions are called; it lacks the conversation."""
    (source,) = program.files.values()
    files = {**script_files("candidate"), "solution.py": source}
    return replace(program.spec(b"", limits), files=files)


async def judge_call(
    isolation: Isolation, program: Program, test: CallTest, limits: ExecutionLimits, checker: Checker
) -> ProgramTestResult:
    """Return the result of one function test.

    Raises:
        RewardError: The program could not be run.
    """
    try:
        request = json.dumps(
            {"function": test.function, "arguments": [encode(value) for value in test.arguments], "keywords": {}}
        )
    except RefusedError as error:
        return ProgramTestResult(verdict=Verdict.UNSUPPORTED, detail=f"an argument holds {error}")
    call = SingleCall(request=request.encode("ascii"), max_bytes=longest_answer(limits))
    try:
        outcome = await run_twice(isolation, replace(candidate_spec(program, limits), conversation=call.converse))
    except BreachError as breach:
        return ProgramTestResult(verdict=breach.verdict, detail=breach.detail)
    fault = find_fault(outcome, limits, program.installed.language)
    verdict, detail = (fault, "") if fault is not None else _judge_answer(call.answer, test, checker)
    return result_of(outcome, verdict, detail)


@dataclass(slots=True, kw_only=True)
class SingleCall:
    """One request and its answer, None while there is none."""

    request: bytes
    max_bytes: int
    answer: bytes | None = field(default=None)

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Ask once. Only the first answer counts, so that a program cannot offer several."""
        self.answer = None
        await write_frame(writer, self.request)
        self.answer = await read_frame(reader, max_bytes=self.max_bytes)
        writer.close()  # the program may end now


def _judge_answer(answer: bytes | None, test: CallTest, checker: Checker) -> tuple[Verdict, str]:
    if answer is None:
        return Verdict.RUNTIME_ERROR, f"the program ended before {test.function} returned"
    try:
        reply = loads(answer)
    except RefusedError as error:
        return Verdict.WRONG, str(error)
    kind, content = next(iter(reply.items())) if isinstance(reply, dict) and len(reply) == 1 else ("", None)
    if kind == "raised":
        name = readable(content[0]) if isinstance(content, list) and content else "something"
        return Verdict.RUNTIME_ERROR, f"{test.function} raised {name}"
    if kind == "refused":
        return Verdict.WRONG, f"{test.function} returned {readable(content)}"
    if kind == "value" and is_expected_value(content, test.expected, checker, is_unordered=test.unordered):
        return Verdict.CORRECT, ""
    return Verdict.WRONG, ""
