"""Custom checkers: a program of the row's author decides, in a jail of its own, after the tested program has ended.

A checker that crashes on an output, or runs into a limit, has not said anything yet. It is asked about the expected
output: if it can judge that one, the output is at fault, and else the checker. A program must not be able to trade its
zero for a missing reward by printing what its checker cannot read.
"""

from __future__ import annotations

import json

from prorl_api.errors import RewardError
from prorl_api.rows import Checker
from prorl_api.wire.sandbox import ExecutionLimits, Verdict
from prorl_reward_sandbox.execution.compiling.compilation import Compilers
from prorl_reward_sandbox.execution.compiling.toolchains import Toolchains, language_fault
from prorl_reward_sandbox.execution.isolation import Isolation, RawOutcome, StopReason
from prorl_reward_sandbox.execution.retries import run_twice
from prorl_reward_sandbox.frames import MAX_BLOB_BYTES

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
    """Tell whether a checker accepts an output, and why there is no answer if there is none.

    Raises:
        RewardError: It could not be run, or can judge no output.
    """
    installed = await toolchains.get(checker.language)
    if installed is None:
        return Verdict.UNSUPPORTED, f"the checker: {language_fault(checker.language)}"
    compiled = await compilers.compile(installed, checker.source)
    if compiled.program is None:
        return Verdict.UNSUPPORTED, "the checker does not compile"
    program = compiled.program

    async def ask(printed: str) -> RawOutcome | None:
        """Return what the checker did; None if the question is too large to be asked."""
        question = json.dumps({"stdin": stdin, "expected_stdout": expected_stdout, "stdout": printed}).encode("ascii")
        return await run_twice(isolation, program.spec(question, LIMITS)) if len(question) <= MAX_BLOB_BYTES else None

    outcome = await ask(stdout.decode("utf-8", "replace"))
    if (accepts := _answer(outcome)) is not None:
        return (Verdict.CORRECT, "") if accepts else (Verdict.WRONG, "the checker rejects the output")
    control = await ask(expected_stdout)
    if _answer(control) is not None:
        return Verdict.WRONG, f"the checker, which can judge the expected output, {_end(outcome)} on this one"
    raise RewardError(
        f"the checker {_end(control)} on the expected output; it must exit with 0 to accept or 1 to reject"
    )


def _answer(outcome: RawOutcome | None) -> bool | None:
    """Tell whether a checker accepts; None if it gave no answer."""
    if outcome is None or outcome.stop_reason is not StopReason.EXITED:
        return None
    return {_ACCEPTS: True, _REJECTS: False}.get(outcome.exit_code if outcome.exit_code is not None else -1)


def _end(outcome: RawOutcome | None) -> str:
    if outcome is None:
        return f"would have to read more than {MAX_BLOB_BYTES} bytes"
    return f"ended by {outcome.stop_reason} with exit code {outcome.exit_code}, signal {outcome.signal}"
