"""From the verdicts of a program's tests to its reward, by the caller's policy. Pure.

`fraction` is ProRL's: the share of tests passed, and 0 for a program that does not compile or needs more than the total
of time (arXiv 2505.24864, appendix D). `all`: 1 if all pass. A test that could not be judged leaves no reward at all.
Silence earns nothing: tests that expect no output, which doing nothing passes, count beside one that expects some.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from prorl_api.rows import Checker
from prorl_api.wire.sandbox import ExecuteRequest, ProgramTest, ProgramTestResult, Verdict

_CLOCK_SECONDS = 0.01
"""How far the clocks that stopped a program and that measured it may be apart."""


def is_silent(expected_stdout: str | None, checker: Checker) -> bool:
    """Tell whether a test expects no output, so that doing nothing passes it."""
    return expected_stdout is not None and not expected_stdout.strip() and checker.kind != "program"


def verdict_of(request: ExecuteRequest, tests: Sequence[ProgramTestResult]) -> tuple[Verdict, float | None]:
    """Return `program_verdict` of a request's results."""
    silent = [
        isinstance(test, ProgramTest) and is_silent(test.expected_stdout, request.checker) for test in request.tests
    ]
    return program_verdict(tests, policy=request.reward, total_wall_seconds=request.total_wall_seconds, silent=silent)


def program_verdict(
    tests: Sequence[ProgramTestResult],
    *,
    policy: Literal["fraction", "all"],
    total_wall_seconds: float,
    silent: Sequence[bool] = (),
) -> tuple[Verdict, float | None]:
    """Return the verdict on a program, and its reward: None exactly if the verdict says nothing about the program.

    Without full reward the verdict is `partial`, or that of the first test that failed.

    Args:
        tests: What became of them.
        policy: See above.
        total_wall_seconds: The limit of all of them.
        silent: Which of them expect no output; left out: none.
    """
    verdicts = [test.verdict for test in tests]
    for unjudged in (Verdict.SANDBOX_ERROR, Verdict.UNSUPPORTED):
        if unjudged in verdicts:
            return unjudged, None
    num_passed = verdicts.count(Verdict.CORRECT)
    if num_passed == len(tests):
        return Verdict.CORRECT, 1.0
    first_failure = next(verdict for verdict in verdicts if verdict is not Verdict.CORRECT)
    if is_out_of_time(tests, total_wall_seconds):
        return Verdict.TIMEOUT_WALL, 0.0
    earned = [verdict is Verdict.CORRECT for verdict in verdicts]
    if silent:
        earned = [passed and not each for passed, each in zip(earned, silent, strict=True)]
    if policy == "fraction" and any(earned):
        return Verdict.PARTIAL, num_passed / len(tests)
    return first_failure, 0.0


def is_out_of_time(tests: Sequence[ProgramTestResult], total_wall_seconds: float) -> bool:
    """Tell whether the tests ran into the total: the last one that ran was stopped by it, or one was never begun."""
    spent = sum(test.wall_seconds for test in tests)
    return spent >= total_wall_seconds - _CLOCK_SECONDS and any(test.verdict is Verdict.TIMEOUT_WALL for test in tests)
