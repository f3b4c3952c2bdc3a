"""From what a run did to a verdict. Pure; it never looks at what was expected."""

from __future__ import annotations

import signal

from prorl_api.wire.sandbox import ExecutionLimits, ProgramTestResult, Verdict
from prorl_reward_sandbox.execution.compiling.languages.base import Language
from prorl_reward_sandbox.execution.isolation import RawOutcome, StopReason

_STDERR_TAIL = 4096
_TRACEBACK = b"Traceback (most recent call last)"


def find_fault(outcome: RawOutcome, limits: ExecutionLimits, language: Language) -> Verdict | None:
    """Return what went wrong in a run, the most telling first; None if it ended well by itself."""
    tail = outcome.stderr[-_STDERR_TAIL:]
    failed = outcome.exit_code != 0
    too_much_cpu = outcome.signal == signal.SIGXCPU or outcome.cpu_seconds > limits.cpu_seconds
    # Only the interpreter itself complains of the source without a traceback: a program's own error has one.
    is_unreadable = failed and _TRACEBACK not in tail and _has_mark(tail, language.compile_marks)
    findings = (
        (outcome.stop_reason is StopReason.OUTPUT, Verdict.OUTPUT),
        (outcome.stop_reason is StopReason.MEMORY, Verdict.MEMORY),
        (too_much_cpu, Verdict.TIMEOUT_CPU),
        (outcome.stop_reason is StopReason.WALL, Verdict.TIMEOUT_WALL),
        (failed and _has_mark(tail, language.memory_marks), Verdict.MEMORY),
        (failed and _has_mark(tail, language.process_marks), Verdict.PIDS),
        (is_unreadable and not outcome.stdout, Verdict.COMPILE_ERROR),
        (failed, Verdict.RUNTIME_ERROR),
    )
    return next((verdict for holds, verdict in findings if holds), None)


def result_of(outcome: RawOutcome, verdict: Verdict, detail: str = "") -> ProgramTestResult:
    """Return the result of a test with a verdict."""
    return ProgramTestResult(
        verdict=verdict,
        detail=detail,
        exit_code=outcome.exit_code,
        signal=outcome.signal,
        stdout=outcome.stdout.decode("utf-8", "replace"),
        stderr=outcome.stderr.decode("utf-8", "replace"),
        wall_seconds=outcome.wall_seconds,
        cpu_seconds=outcome.cpu_seconds,
        cpu_wait_seconds=outcome.cpu_wait_seconds,
        peak_bytes=outcome.peak_bytes,
    )


def _has_mark(text: bytes, marks: tuple[bytes, ...]) -> bool:
    return any(mark in text for mark in marks)
