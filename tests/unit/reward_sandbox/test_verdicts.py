"""Verdicts of programs follow from what the run did and nothing the program says."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from prorl_api.wire.sandbox import ExecutionLimits, Verdict
from prorl_reward_sandbox.execution.compiling.languages import LANGUAGES
from prorl_reward_sandbox.execution.isolation import RawOutcome, StopReason
from prorl_reward_sandbox.execution.verdicts import find_fault, result_of

SYNTAX = b"  File \"main.py\", line 1\n    print(42\n         ^\nSyntaxError: '(' was never closed\n"


def make_outcome(**changes: Any) -> RawOutcome:
    fields: dict[str, Any] = {
        "stop_reason": StopReason.EXITED,
        "exit_code": 0,
        "signal": None,
        "stdout": b"",
        "stderr": b"",
        "wall_seconds": 0.1,
        "cpu_seconds": 0.1,
    }
    return RawOutcome(**{**fields, **changes})


def killed(number: int, **changes: Any) -> RawOutcome:
    return make_outcome(exit_code=None, signal=number, **changes)


@pytest.mark.parametrize(
    ("outcome", "fault"),
    [
        (make_outcome(), None),
        (make_outcome(exit_code=1), Verdict.RUNTIME_ERROR),
        (make_outcome(exit_code=1, stderr=b"...\nMemoryError\n"), Verdict.MEMORY),
        (make_outcome(stderr=b"MemoryError\n"), None),
        (make_outcome(exit_code=1, stderr=b"BlockingIOError: [Errno 11] no"), Verdict.PIDS),
        (make_outcome(exit_code=1, stderr=SYNTAX), Verdict.COMPILE_ERROR),
        (make_outcome(exit_code=0, stderr=SYNTAX), None),
        (make_outcome(exit_code=1, stderr=b"Traceback (most recent call last)\n" + SYNTAX), Verdict.RUNTIME_ERROR),
        (make_outcome(exit_code=1, stderr=SYNTAX, stdout=b"it ran\n"), Verdict.RUNTIME_ERROR),
        (killed(signal.SIGSEGV), Verdict.RUNTIME_ERROR),
        (killed(signal.SIGXCPU), Verdict.TIMEOUT_CPU),
        (make_outcome(cpu_seconds=5.1), Verdict.TIMEOUT_CPU),
        (killed(signal.SIGKILL, stop_reason=StopReason.WALL), Verdict.TIMEOUT_WALL),
        (killed(signal.SIGKILL, stop_reason=StopReason.OUTPUT), Verdict.OUTPUT),
        (killed(signal.SIGKILL, stop_reason=StopReason.MEMORY), Verdict.MEMORY),
    ],
)
def test_fault_table(outcome: RawOutcome, fault: Verdict | None) -> None:
    assert find_fault(outcome, ExecutionLimits(), LANGUAGES["python"]) is fault


def test_output_that_is_no_text_is_shown_with_replacements() -> None:
    assert result_of(make_outcome(stdout=b"\xff1"), Verdict.WRONG).stdout == "\ufffd1"
