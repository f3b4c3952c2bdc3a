"""Judge completions of domain `code`: find the program, run the row's tests, form the reward.

The row's tests are hidden: a detail tells which test failed and how, never what was expected or printed.
"""

from __future__ import annotations

from collections.abc import Sequence

from prorl_api.rows import CodeRow, StdioTest
from prorl_api.spec.values import AnswerFormat
from prorl_api.wire.sandbox import ExecuteRequest, ExecuteResponse, ExecutionLimits, ProgramTest, ScoreItem, Verdict
from prorl_reward_sandbox.execution.compiling.languages import LANGUAGES
from prorl_reward_sandbox.execution.compiling.toolchains import language_fault
from prorl_reward_sandbox.execution.judging.rewards import is_silent, verdict_of
from prorl_reward_sandbox.execution.programs import ProgramService
from prorl_reward_sandbox.service.preamble import with_preamble
from prorl_reward_sandbox.workers.pool import JudgedItem
from prorl_verifiers.code_blocks import find_program
from prorl_verifiers.extraction import extract
from prorl_verifiers.judgement import Judgement, shorten

_FORMATS = (AnswerFormat.TEXT, AnswerFormat.ANSWER_TAG)
_LONGEST_SOURCE = 2**20
_LARGEST_OUTPUT = 4 * 2**20
_LONGEST_CPU_SECONDS = 120.0


class CodeJudge:
    """Judges programs in completions."""

    def __init__(self, programs: ProgramService) -> None:
        self._programs = programs

    async def judge(
        self, items: Sequence[tuple[ScoreItem, CodeRow]], *, timeout_seconds: float, ignore_limit: bool = False
    ) -> list[JudgedItem]:
        """Judge items; the results are in their order.

        Raises:
            QueueFullError: They do not fit into the queue.
        """
        prepared = [_prepare(item, row, timeout_seconds) for item, row in items]
        requests = tuple(each for each in prepared if isinstance(each, ExecuteRequest))
        if requests:
            responses = iter(await self._programs.execute_all(requests, shown_bytes=0, ignore_limit=ignore_limit))
        return [
            JudgedItem(judgement=each, judge_seconds=0.0, queue_seconds=0.0)
            if isinstance(each, Judgement)
            else _judged(each, next(responses))
            for each in prepared
        ]


def _prepare(item: ScoreItem, row: CodeRow, timeout_seconds: float) -> ExecuteRequest | Judgement:
    """Return what to run, or the judgement where there is nothing to run."""
    if item.answer_format not in _FORMATS:
        return Judgement.unsupported(
            f"answerFormat {item.answer_format.value!r} finds no program; use `text`, or `answer-tag` for code blocks "
            "inside of <answer>"
        )
    if row.language not in LANGUAGES:
        return Judgement.unsupported(language_fault(row.language))
    if all(isinstance(test, StdioTest) and is_silent(test.expected_stdout, row.checker) for test in row.tests):
        return Judgement.unsupported("no test expects any output: a program that does nothing would pass them all")
    source = _find_source(item, row)
    if source is None:
        return Judgement.failed(Verdict.FORMAT_ERROR, f"no closed code block in {row.language} in the answer")
    if len(source) > _LONGEST_SOURCE:
        return Judgement.failed(Verdict.FORMAT_ERROR, f"a program of more than {_LONGEST_SOURCE} characters")
    return request_of(row, with_preamble(source) if row.preamble else source, timeout_seconds)


def request_of(row: CodeRow, source: str, timeout_seconds: float) -> ExecuteRequest:
    """Return the run of a program that a row asks for."""
    longest = max((len(test.expected_stdout) for test in row.tests if isinstance(test, StdioTest)), default=0)
    limits = ExecutionLimits(
        wall_seconds=row.test_wall_seconds,
        # Wall time decides; a runtime with helper threads may use more CPU than that.
        cpu_seconds=min(2 * row.test_wall_seconds, _LONGEST_CPU_SECONDS),
        memory_bytes=row.memory_bytes,
        # Four bytes a character, and room to be wrong in.
        output_bytes=max(2**20, min(4 * longest + 2**16, 4 * _LARGEST_OUTPUT)),
    )
    tests = tuple(
        ProgramTest(stdin=test.stdin, expected_stdout=test.expected_stdout) if isinstance(test, StdioTest) else test
        for test in row.tests
    )
    return ExecuteRequest(
        language=row.language,
        source=source,
        tests=tests,
        checker=row.checker,
        reward=row.reward,
        limits=limits,
        total_wall_seconds=min(row.total_wall_seconds, timeout_seconds),
        deterministic=row.deterministic,
        libraries=row.libraries,
    )


def _find_source(item: ScoreItem, row: CodeRow) -> str | None:
    """Return the program in a completion, which with `answer-tag` must be inside of the last <answer>."""
    if item.answer_format is AnswerFormat.ANSWER_TAG:
        text = extract(item.completion, AnswerFormat.ANSWER_TAG) or ""
    else:
        text = item.completion
    return find_program(text, LANGUAGES[row.language].all_fences)


def _judged(request: ExecuteRequest, response: ExecuteResponse) -> JudgedItem:
    verdict, reward = verdict_of(request, response.tests)
    judgement = Judgement(verdict=verdict, reward=reward, detail=shorten(_detail(response)))
    return JudgedItem(judgement=judgement, judge_seconds=response.judge_seconds, queue_seconds=response.queue_seconds)


def _detail(response: ExecuteResponse) -> str:
    if response.compilation is not None and response.compilation.verdict is not Verdict.CORRECT:
        return f"{response.compilation.verdict}: {response.compilation.output[-200:]}"
    failed = [(number, test) for number, test in enumerate(response.tests, 1) if test.verdict is not Verdict.CORRECT]
    passed = f"{len(response.tests) - len(failed)} of {len(response.tests)} tests passed"
    if not failed:
        return passed
    number, first = failed[0]
    reason = f" ({first.detail})" if first.detail else ""
    return f"{passed}; test {number}: {first.verdict}{reason}"
