"""Assert-style tests by two jails: the test program runs in one, the tested program in the other.

Calls cross as values through a stub. The verdict comes from the test program's jail alone, where no line of the tested
program ever runs. Everything that the tested program can do is to answer calls:
- by stalling: both end at the test's wall limit, `timeout_wall`;
- by flooding: an answer has a largest size, and one is read for each call;
- by ending: the test is over, whatever the test program would have made of it;
- by changing its arguments: they are copies.
A test that needs more than values is `unsupported`; the test program's jail finds that out, in the text or before the
first answer. After one nothing is: what happens then may be the answer's doing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

from prorl_api.errors import RewardError
from prorl_api.rows import AssertTest
from prorl_api.wire.sandbox import ExecutionLimits, ProgramTestResult, Verdict
from prorl_reward_sandbox.execution.compiling.compilation import Program
from prorl_reward_sandbox.execution.harness.canonical import RefusedError, loads
from prorl_reward_sandbox.execution.harness.scripts import script_files
from prorl_reward_sandbox.execution.isolation import Isolation, RawOutcome, RunSpec
from prorl_reward_sandbox.execution.judging.calls import candidate_spec
from prorl_reward_sandbox.execution.judging.conversation import (
    BreachError,
    longest_answer,
    read_frame,
    readable,
    write_frame,
)
from prorl_reward_sandbox.execution.verdicts import find_fault, result_of

_MAX_REQUEST_BYTES = 16 * 2**20
_TRIES = 2
_FAREWELL_SECONDS = 0.2
_SHORT_SECONDS = 0.1
_VERDICTS = {"passed": Verdict.CORRECT, "failed": Verdict.WRONG, "unsupported": Verdict.UNSUPPORTED}


async def judge_asserts(
    isolation: Isolation, program: Program, test: AssertTest, limits: ExecutionLimits
) -> ProgramTestResult:
    """Return the result of one test program. Takes two of the isolation's slots.

    Raises:
        RewardError: A jail failed, twice.
    """
    for attempt in range(_TRIES):
        bridge = _Bridge(max_bytes=longest_answer(limits))
        try:
            return await _judge_once(isolation, program, test, limits, bridge)
        except RewardError:
            if attempt + 1 == _TRIES:
                raise
    raise AssertionError("unreachable")


async def _judge_once(
    isolation: Isolation, program: Program, test: AssertTest, limits: ExecutionLimits, bridge: _Bridge
) -> ProgramTestResult:
    candidate = asyncio.create_task(
        isolation.run(replace(candidate_spec(program, limits), conversation=bridge.converse_with_candidate))
    )
    tests = asyncio.create_task(
        isolation.run(replace(_tests_spec(program, test, limits), conversation=bridge.converse_with_tests))
    )
    try:
        await asyncio.wait({candidate, tests}, return_when=asyncio.FIRST_COMPLETED)
        if candidate.done() and bridge.verdict is None:
            # Nobody answers any more: the test is over.
            result = _candidate_ended(candidate, bridge, limits, program)
        else:
            result = _tests_ended(await tests, bridge, limits, program)
        bridge.is_over.set()
        return await _with_both_times(result, candidate, tests) if result.wall_seconds > _SHORT_SECONDS else result
    except BreachError as breach:
        return ProgramTestResult(verdict=breach.verdict, detail=breach.detail)
    finally:
        # The other one is told, and usually ends by itself: killing it would cost its runner, too.
        bridge.is_over.set()
        await asyncio.wait({candidate, tests}, timeout=_FAREWELL_SECONDS)
        for task in (candidate, tests):
            task.cancel()
        await asyncio.gather(candidate, tests, return_exceptions=True)


async def _with_both_times(result: ProgramTestResult, *tasks: asyncio.Task[RawOutcome]) -> ProgramTestResult:
    """Return the result with the times of both: which of them was crowded out does not matter."""
    await asyncio.wait(tasks, timeout=_FAREWELL_SECONDS)
    outcomes = [task.result() for task in tasks if task.done() and not task.cancelled() and task.exception() is None]
    times = {
        "cpu_seconds": sum(outcome.cpu_seconds for outcome in outcomes),
        "cpu_wait_seconds": max((outcome.cpu_wait_seconds or 0.0 for outcome in outcomes), default=None),
    }
    return result.model_copy(update=times)


def _tests_spec(program: Program, test: AssertTest, limits: ExecutionLimits) -> RunSpec:
    files = {
        **script_files("tests"),
        "tests.py": test.source.encode("utf-8", "surrogatepass"),
        "functions.json": json.dumps(test.functions).encode("ascii"),
    }
    return replace(program.spec(b"", limits), files=files)


def _candidate_ended(
    candidate: asyncio.Task[RawOutcome], bridge: _Bridge, limits: ExecutionLimits, program: Program
) -> ProgramTestResult:
    """Return the result where the program ended while the test program was still running."""
    outcome = candidate.result()
    if not bridge.has_tests:  # the program is not even read before the first call
        raise RewardError("the two jails of an assert test did not run at the same time; give the level more slots")
    fault = find_fault(outcome, limits, program.installed.language)
    return result_of(outcome, fault or Verdict.RUNTIME_ERROR, "the program ended before the test program did")


def _tests_ended(outcome: RawOutcome, bridge: _Bridge, limits: ExecutionLimits, program: Program) -> ProgramTestResult:
    """Return the result by the test program's own word, or by how it ended.

    Its output stays here: it may tell of the test.
    """
    if bridge.verdict is None:
        fault = find_fault(outcome, limits, program.installed.language)
        limit_reached = fault not in (None, Verdict.RUNTIME_ERROR, Verdict.COMPILE_ERROR)
        unfinished = Verdict.WRONG if bridge.num_answers else Verdict.UNSUPPORTED
        verdict = fault if limit_reached and fault is not None else unfinished
        return ProgramTestResult(
            verdict=verdict, detail="the test program ended without a verdict", wall_seconds=outcome.wall_seconds
        )
    return ProgramTestResult(
        verdict=bridge.verdict,
        detail=bridge.reason,
        wall_seconds=outcome.wall_seconds,
        cpu_seconds=outcome.cpu_seconds,
    )


@dataclass(slots=True, kw_only=True)
class _Bridge:
    """Carries calls and answers between the two conversations, unread."""

    max_bytes: int
    has_tests: bool = False
    num_answers: int = 0
    is_over: asyncio.Event = field(default_factory=asyncio.Event)
    verdict: Verdict | None = None
    reason: str = ""
    _requests: asyncio.Queue[bytes] = field(default_factory=lambda: asyncio.Queue(1))
    _answers: asyncio.Queue[bytes] = field(default_factory=lambda: asyncio.Queue(1))

    async def converse_with_candidate(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hand over requests one by one. An answer is read when one was asked for."""
        await self._until_over(self._answer_requests(reader, writer), writer)

    async def converse_with_tests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on calls until there is a verdict."""
        self.has_tests = True
        await self._until_over(self._pass_on_calls(reader, writer), writer)

    async def _until_over(self, work: Coroutine[Any, Any, None], writer: asyncio.StreamWriter) -> None:
        """Work until the test is over, and close the conversation then."""
        working = asyncio.ensure_future(work)
        over = asyncio.ensure_future(self.is_over.wait())
        try:
            await asyncio.wait({working, over}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
        finally:
            over.cancel()
            working.cancel()
            await asyncio.gather(working, over, return_exceptions=True)
        writer.close()

    async def _answer_requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await write_frame(writer, await self._requests.get())
            answer = await read_frame(reader, max_bytes=self.max_bytes)
            if answer is None:
                return
            await self._answers.put(answer)

    async def _pass_on_calls(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (body := await read_frame(reader, max_bytes=_MAX_REQUEST_BYTES)) is not None:
            if body[:1] == b"D":
                self.verdict, self.reason = _read_verdict(body[1:])
                return
            await self._requests.put(body[1:])
            answer = await self._answers.get()
            self.num_answers += 1
            await write_frame(writer, answer)


def _read_verdict(body: bytes) -> tuple[Verdict, str]:
    with contextlib.suppress(RefusedError):
        reply = loads(body)
        if isinstance(reply, list) and len(reply) == 2 and reply[0] in _VERDICTS:
            return _VERDICTS[str(reply[0])], readable(reply[1], length=300)
    return Verdict.UNSUPPORTED, "the test program tampered with its verdict"
