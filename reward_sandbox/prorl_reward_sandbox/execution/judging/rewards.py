"""From the verdicts of a program's tests to its reward, by the caller's policy. Pure.

`fraction` is ProRL's: the share of tests passed, and 0 for a program that does not compile or needs more than the total
of time (arXiv 2505.24864, appendix D). `all`: 1 if all pass. A test that could not be judged leaves no reward at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from prorl_api.wire.sandbox import ProgramTestResult, Verdict

_CLOCK_SECONDS = 0.01
"""How far the clocks that stopped a program and that measured it may be apart."""


def program_verdict(
    tests: Sequence[ProgramTestResult], *, policy: Literal["fraction", "all"], total_wall_seconds: float
) -> tuple[Verdict, float | None]:
    """Return the verdict on a program, and its reward: None exactly if the verdict says nothing about the program.

    Without full reward the verdict is `partial`, or that of the first test that failed.
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
    if policy == "fraction" and num_passed:
        return Verdict.PARTIAL, num_passed / len(tests)
    return first_failure, 0.0


def is_out_of_time(tests: Sequence[ProgramTestResult], total_wall_seconds: float) -> bool:
    """Tell whether the tests ran into the total: the last one that ran was stopped by it, or one was never begun."""
    spent = sum(test.wall_seconds for test in tests)
    return spent >= total_wall_seconds - _CLOCK_SECONDS and any(test.verdict is Verdict.TIMEOUT_WALL for test in tests)
