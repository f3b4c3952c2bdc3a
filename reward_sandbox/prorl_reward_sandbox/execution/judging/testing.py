"""Judge one program by its tests: one after the other, each in a fresh process, within a total of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from prorl_api.errors import RewardError
from prorl_api.rows import AssertTest, CallTest, Checker
from prorl_api.wire.sandbox import (
    CompileResult,
    ExecuteRequest,
    ExecutionLimits,
    ProgramTest,
    ProgramTestResult,
    Verdict,
)
from prorl_reward_sandbox.execution.compiling.compilation import Compilers, Program
from prorl_reward_sandbox.execution.compiling.languages.one_command import PYTHON
from prorl_reward_sandbox.execution.compiling.libraries import Libraries, needed_libraries
from prorl_reward_sandbox.execution.compiling.toolchains import Installed, Toolchains
from prorl_reward_sandbox.execution.isolation import Isolation
from prorl_reward_sandbox.execution.judging.asserts import judge_asserts
from prorl_reward_sandbox.execution.judging.calls import judge_call
from prorl_reward_sandbox.execution.judging.checkers import judge_by_checker
from prorl_reward_sandbox.execution.judging.companions import Companions
from prorl_reward_sandbox.execution.judging.crowding import Floor, is_crowded_out
from prorl_reward_sandbox.execution.judging.printed_output import is_expected_output, plain_input
from prorl_reward_sandbox.execution.retries import run_twice
from prorl_reward_sandbox.execution.verdicts import find_fault, result_of

_SHORTEST_SECONDS = 0.001
"""With less left of the total, a test is not begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What became of a program; `was_alone`: when it was tried a second time."""

    tests: tuple[ProgramTestResult, ...]
    compilation: CompileResult | None = None
    was_alone: bool = False


class Tester:
    """Judges programs under one isolation."""

    def __init__(
        self,
        isolation: Isolation,
        compilers: Compilers,
        toolchains: Toolchains,
        companions: Companions,
        floor: Floor,
        libraries: Sequence[str],
    ) -> None:
        self._isolation = isolation
        self._compilers = compilers
        self._toolchains = toolchains
        self._companions = companions
        self._floor = floor
        self._allowed_libraries = libraries
        self._libraries = Libraries(isolation)

    async def judge(self, request: ExecuteRequest, installed: Installed, *, shown_bytes: int) -> Judged:
        """Compile and test a program. Failures of the judge are in the results, and `shown_bytes` of its outputs.

        A program whose neighbours left it too little time is judged a second time, alone.
        """
        async with self._floor.together():
            judged = await self._judge_once(request, installed, shown_bytes)
        if is_crowded_out(judged.tests):
            async with self._floor.alone():
                judged = replace(await self._judge_once(request, installed, shown_bytes), was_alone=True)
        return judged

    async def _judge_once(self, request: ExecuteRequest, installed: Installed, shown_bytes: int) -> Judged:
        libraries = self._needed(request)
        try:
            if fault := await self._libraries.fault(libraries):
                unsupported = ProgramTestResult(verdict=Verdict.UNSUPPORTED, detail=fault)
                return Judged(tests=(unsupported,) * len(request.tests))
            compiled = await self._compilers.compile(installed, request.source, libraries)
        except RewardError as error:
            failed = ProgramTestResult(verdict=Verdict.SANDBOX_ERROR, detail=f"before the tests: {error}")
            return Judged(tests=(failed,) * len(request.tests))
        if compiled.program is None:
            assert compiled.result is not None
            return Judged(
                tests=(ProgramTestResult(verdict=compiled.result.verdict),) * len(request.tests),
                compilation=compiled.result,
            )
        return Judged(tests=await self._test(request, compiled.program, shown_bytes), compilation=compiled.result)

    def _needed(self, request: ExecuteRequest) -> tuple[str, ...]:
        """Return the libraries that the program or one of its test programs names."""
        if request.language != PYTHON.name:
            return ()
        allowed = self._allowed_libraries if request.libraries is None else request.libraries
        test_programs = [test.source for test in request.tests if isinstance(test, AssertTest)]
        return needed_libraries("\n".join((request.source, *test_programs)), allowed)

    async def _test(self, request: ExecuteRequest, program: Program, shown_bytes: int) -> tuple[ProgramTestResult, ...]:
        """Return all tests, or those up to one after which the others cannot matter."""
        results: list[ProgramTestResult] = []
        seconds_left = request.total_wall_seconds
        for test in request.tests:
            if seconds_left <= _SHORTEST_SECONDS:
                break
            wall_seconds = min(request.limits.wall_seconds, seconds_left)
            limits = request.limits.model_copy(update={"wall_seconds": wall_seconds})
            try:
                result = await self._judge_test(program, test, limits, request.checker)
            except RewardError as error:
                result = ProgramTestResult(verdict=Verdict.SANDBOX_ERROR, detail=str(error)[:500])
            results.append(_shown(result, shown_bytes))
            shown_bytes -= len(results[-1].stdout) + len(results[-1].stderr)
            seconds_left -= result.wall_seconds
            if result.verdict is Verdict.COMPILE_ERROR:  # of an interpreted language: no test would read it
                others = ProgramTestResult(verdict=Verdict.COMPILE_ERROR)
                return (results[0], *[others] * (len(request.tests) - 1))
            if request.reward == "all" and result.verdict is not Verdict.CORRECT:
                break
        rest = Verdict.TIMEOUT_WALL if seconds_left <= _SHORTEST_SECONDS else Verdict.SKIPPED
        return (*results, *[ProgramTestResult(verdict=rest)] * (len(request.tests) - len(results)))

    async def _judge_test(
        self, program: Program, test: ProgramTest | CallTest | AssertTest, limits: ExecutionLimits, checker: Checker
    ) -> ProgramTestResult:
        if isinstance(test, ProgramTest):
            return await self._judge_output(program, test, limits, checker)
        if program.installed.language.name != "python":
            detail = f"tests of type {test.type} need language 'python', got {program.installed.language.name!r}"
            return ProgramTestResult(verdict=Verdict.UNSUPPORTED, detail=detail)
        if isinstance(test, CallTest):
            return await judge_call(self._isolation, program, test, limits, checker)
        if not self._companions.can_be_had:
            detail = (
                "assert tests need two jails at once, and this sandbox runs one program at a time (docs/sandbox.md)"
            )
            return ProgramTestResult(verdict=Verdict.UNSUPPORTED, detail=detail)
        async with self._companions.one_more():
            return await judge_asserts(self._isolation, program, test, limits)

    async def _judge_output(
        self, program: Program, test: ProgramTest, limits: ExecutionLimits, checker: Checker
    ) -> ProgramTestResult:
        given = test.stdin if test.expected_stdout is None else plain_input(test.stdin, checker)
        stdin = given.encode("utf-8", "surrogatepass")
        outcome = await run_twice(self._isolation, program.spec(stdin, limits))
        fault = find_fault(outcome, limits, program.installed.language)
        if fault is not None or test.expected_stdout is None:
            return result_of(outcome, fault or Verdict.CORRECT)
        if checker.kind != "program":
            is_expected = is_expected_output(outcome.stdout, test.expected_stdout, checker)
            return result_of(outcome, Verdict.CORRECT if is_expected else Verdict.WRONG)
        verdict, detail = await judge_by_checker(
            self._isolation,
            self._compilers,
            self._toolchains,
            checker,
            stdin=given,
            expected_stdout=test.expected_stdout,
            stdout=outcome.stdout,
        )
        return result_of(outcome, verdict, detail)


def _shown(result: ProgramTestResult, shown_bytes: int) -> ProgramTestResult:
    """Return the result with its outputs, or without where they are too much."""
    if len(result.stdout) + len(result.stderr) <= shown_bytes:
        return result
    return result.model_copy(update={"stdout": "", "stderr": "", "is_output_shown": False})
