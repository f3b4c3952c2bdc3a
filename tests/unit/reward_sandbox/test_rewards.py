"""Rewards follow from the verdicts of the tests by the caller's policy."""

from __future__ import annotations

from typing import Any

import pytest

from prorl_api.wire.sandbox import ProgramTestResult, Verdict
from prorl_reward_sandbox.execution.judging.rewards import program_verdict

OK, NO, RUN, WALL = Verdict.CORRECT, Verdict.WRONG, Verdict.RUNTIME_ERROR, Verdict.TIMEOUT_WALL
COMPILE, SKIP = Verdict.COMPILE_ERROR, Verdict.SKIPPED


def results(*verdicts: Verdict, seconds: float = 0.1) -> list[ProgramTestResult]:
    return [ProgramTestResult(verdict=verdict, wall_seconds=seconds) for verdict in verdicts]


@pytest.mark.parametrize(
    ("policy", "verdicts", "expected"),
    [
        ("fraction", [OK, OK], (OK, 1.0)),
        ("fraction", [OK, NO, OK, RUN], (Verdict.PARTIAL, 0.5)),
        ("fraction", [NO, RUN], (NO, 0.0)),
        ("fraction", [RUN, NO], (RUN, 0.0)),
        ("fraction", [COMPILE, COMPILE], (COMPILE, 0.0)),
        ("fraction", [OK, WALL], (Verdict.PARTIAL, 0.5)),
        ("all", [OK, OK], (OK, 1.0)),
        ("all", [OK, NO, SKIP], (NO, 0.0)),
    ],
)
def test_reward_table(policy: Any, verdicts: list[Verdict], expected: tuple[Verdict, float]) -> None:
    assert program_verdict(results(*verdicts), policy=policy, total_wall_seconds=5.0) == expected


@pytest.mark.parametrize("policy", ["fraction", "all"])
@pytest.mark.parametrize("unjudged", [Verdict.SANDBOX_ERROR, Verdict.UNSUPPORTED])
def test_a_test_that_was_not_judged_leaves_no_reward(policy: Any, unjudged: Verdict) -> None:
    tests = results(OK, unjudged, NO)
    assert program_verdict(tests, policy=policy, total_wall_seconds=5.0) == (unjudged, None)


def test_a_program_that_needs_more_than_the_total_has_no_reward_for_what_it_passed() -> None:
    tests = [*results(OK, OK, seconds=2.0), *results(WALL, seconds=1.0), *results(WALL, seconds=0.0)]
    assert program_verdict(tests, policy="fraction", total_wall_seconds=5.0) == (WALL, 0.0)


def test_a_slow_program_that_is_done_in_time_keeps_its_reward() -> None:
    assert program_verdict(results(OK, OK, seconds=2.5), policy="fraction", total_wall_seconds=5.0) == (OK, 1.0)
