"""One run of a program whose outcome is handed over as it is: for callers who judge by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from prorl_api.wire.sandbox import CompileResult, ExecutionLimits
from prorl_reward_sandbox.execution.compiling.compilation import Compilers
from prorl_reward_sandbox.execution.compiling.toolchains import Installed
from prorl_reward_sandbox.execution.isolation import Isolation, RawOutcome, StopReason
from prorl_reward_sandbox.execution.judging.crowding import has_waited
from prorl_reward_sandbox.execution.retries import run_twice


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleRun:
    """What to run.

    Attributes:
        files: Put beside the program, by name.
        kept: Names of files to give back.
        libraries: Python: what it gets besides the standard library.
    """

    language: str
    source: str
    stdin: bytes
    limits: ExecutionLimits
    files: Mapping[str, bytes] = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What happened; `outcome` is None if the program did not compile."""

    compilation: CompileResult | None
    outcome: RawOutcome | None


def is_crowded_out_once(result: RunResult) -> bool:
    """Tell whether its wall limit came because others had the processors."""
    outcome = result.outcome
    return (
        outcome is not None
        and outcome.stop_reason is StopReason.WALL
        and has_waited(
            wall_seconds=outcome.wall_seconds,
            cpu_seconds=outcome.cpu_seconds,
            cpu_wait_seconds=outcome.cpu_wait_seconds or 0.0,
        )
    )


async def run_single(isolation: Isolation, compilers: Compilers, installed: Installed, run: SingleRun) -> RunResult:
    """Compile and run.

    Raises:
        RewardError: The compiler or the program could not be run.
    """
    compiled = await compilers.compile(installed, run.source, run.libraries)
    if compiled.program is None:
        return RunResult(compilation=compiled.result, outcome=None)
    spec = compiled.program.spec(run.stdin, run.limits)
    spec = replace(spec, files={**run.files, **spec.files}, kept=run.kept)
    return RunResult(compilation=compiled.result, outcome=await run_twice(isolation, spec))
