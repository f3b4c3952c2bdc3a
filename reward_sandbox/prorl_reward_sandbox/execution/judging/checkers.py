"""Custom checkers: a program of the row's author decides, in a jail of its own, after the tested program has ended."""

from __future__ import annotations

import json

from prorl_api.errors import RewardError
from prorl_api.rows import Checker
from prorl_api.wire.sandbox import ExecutionLimits, Verdict
from prorl_reward_sandbox.execution.compiling.compilation import Compilers
from prorl_reward_sandbox.execution.compiling.toolchains import Toolchains, language_fault
from prorl_reward_sandbox.execution.isolation import Isolation, StopReason
from prorl_reward_sandbox.execution.retries import run_twice

LIMITS = ExecutionLimits(wall_seconds=10.0, cpu_seconds=10.0, memory_bytes=1024 * 2**20)
"""Of one checker's run; its time is not the tested program's."""
_ACCEPTS, _REJECTS = 0, 1


async def judge_by_checker(
    isolation: Isolation,
    compilers: Compilers,
    toolchains: Toolchains,
    checker: Checker,
    *,
    stdin: str,
    expected_stdout: str,
    stdout: bytes,
) -> tuple[Verdict, str]:
    """Whether a checker accepts an output, and why there is no answer if there is none.

    Raises:
        RewardError: It could not be run, or did neither accept nor reject.
    """
    installed = await toolchains.get(checker.language)
    if installed is None:
        return Verdict.UNSUPPORTED, f"the checker: {language_fault(checker.language)}"
    compiled = await compilers.compile(installed, checker.source)
    if compiled.program is None:
        return Verdict.UNSUPPORTED, "the checker does not compile"
    question = {"stdin": stdin, "expected_stdout": expected_stdout, "stdout": stdout.decode("utf-8", "replace")}
    outcome = await run_twice(isolation, compiled.program.spec(json.dumps(question).encode("ascii"), LIMITS))
    if outcome.stop_reason is StopReason.EXITED and outcome.exit_code == _ACCEPTS:
        return Verdict.CORRECT, ""
    if outcome.stop_reason is StopReason.EXITED and outcome.exit_code == _REJECTS:
        return Verdict.WRONG, "the checker rejects the output"
    raise RewardError(
        f"the checker ended by {outcome.stop_reason} with exit code {outcome.exit_code}, signal {outcome.signal}; "
        "it must exit with 0 to accept or 1 to reject"
    )
