"""A program service on real runners, and short ways to ask it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any

from prorl_api.spec.values import LIBRARIES
from prorl_api.wire.sandbox import ExecuteRequest, ExecuteResponse, ExecutionLimits, ProgramTestResult
from prorl_reward_sandbox.execution.isolation import Isolation
from prorl_reward_sandbox.execution.judging.companions import num_jails
from prorl_reward_sandbox.execution.levels.process_isolation import ProcessIsolation
from prorl_reward_sandbox.execution.levels.runner_isolation import RunnerIsolation
from prorl_reward_sandbox.execution.programs import ProgramService
from prorl_reward_sandbox.metrics import SandboxMetrics

SLOTS = 2
LEVEL = os.environ.get("PRORL_TEST_LEVEL", "process")
"""Which level these tests run under: what they say holds at every level."""
LIMITS = ExecutionLimits(wall_seconds=5.0, cpu_seconds=5.0, memory_bytes=256 * 2**20)


@contextlib.asynccontextmanager
async def program_service(
    *, max_queued: int = 64, isolation: Isolation | None = None, slots: int = SLOTS
) -> AsyncIterator[ProgramService]:
    """A running service."""
    service = ProgramService(
        isolation or make_isolation(num_jails(slots)),
        slots=slots,
        max_queued=max_queued,
        metrics=SandboxMetrics("test"),
        libraries=LIBRARIES,
    )
    await service.start()
    try:
        yield service
    finally:
        await service.close()


def make_isolation(jails: int) -> Isolation:
    """The level under test."""
    return ProcessIsolation(jails) if LEVEL == "process" else RunnerIsolation(LEVEL, jails)


def make_request(source: str, *tests: dict[str, Any], **fields: Any) -> ExecuteRequest:
    """A request with generous limits."""
    values = {"total_wall_seconds": 30.0, "limits": LIMITS, **fields}
    return ExecuteRequest.model_validate({"source": source, "tests": list(tests), **values})


async def execute(programs: ProgramService, source: str, *tests: dict[str, Any], **fields: Any) -> ExecuteResponse:
    """Run a program against tests."""
    return await programs.execute(make_request(source, *tests, **fields))


async def result_of(programs: ProgramService, source: str, test: dict[str, Any], **fields: Any) -> ProgramTestResult:
    """What one test did."""
    (result,) = (await execute(programs, source, test, **fields)).tests
    return result


def call(function: str, *arguments: Any, expected: Any) -> dict[str, Any]:
    """A function test."""
    return {"type": "call", "function": function, "arguments": list(arguments), "expected": expected}


def asserts(source: str, *functions: str) -> dict[str, Any]:
    """An assert test."""
    return {"type": "asserts", "source": source, "functions": list(functions)}
