"""`POST /run_code` as SandboxFusion defines it, so that clients written for it can point here.

Same names, same meaning, two differences: output is never cut silently (too much of it is an error), and everything
runs contained. A file may have a plain name only. What this service could not do is `SandboxError`, never a failure of
the program.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from prorl_api.errors import RewardError
from prorl_api.process.api_error import ApiError
from prorl_api.wire.base import ErrorKind
from prorl_api.wire.sandbox import CompileResult, ExecutionLimits, Verdict
from prorl_reward_sandbox.execution.isolation import RawOutcome, StopReason
from prorl_reward_sandbox.execution.judging.single_runs import RunResult, SingleRun
from prorl_reward_sandbox.execution.programs import ProgramService

_DEFAULT_MEMORY_BYTES = 2 * 2**30
_LONGEST_SECONDS = 120.0
_OUTPUT_BYTES = 16 * 2**20


def _plain_name(name: str) -> str:
    if name in (".", "..") or "/" in name or "\0" in name or not name.isprintable() or len(name.encode()) > 255:
        raise ValueError(f"a file needs a plain name without folders, got {name[:60]!r}")
    return name


FileName = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_plain_name)]


class _Body(BaseModel):
    """Base: unknown members are ignored, as SandboxFusion does."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class RunCodeRequest(_Body):
    """`POST /run_code`."""

    code: Annotated[str, Field(max_length=2**20)]
    """The program."""
    language: Annotated[str, Field(pattern=r"^[A-Za-z0-9_+#-]{1,32}$")]
    """One of this service's languages, such as `python`, `cpp`, `nodejs`, `go`, `java`, `rust`."""
    stdin: Annotated[str, Field(max_length=16 * 2**20)] | None = ""
    """Standard input."""
    compile_timeout: Annotated[float, Field(gt=0, le=600)] = 10.0
    """Accepted; compilers have a limit of their own here."""
    run_timeout: Annotated[float, Field(gt=0, le=600)] = 10.0
    """Wall time of the run in seconds; at most 120 are given."""
    memory_limit_MB: Annotated[int, Field(ge=-1, le=65536)] = -1
    """-1: 2 GiB."""
    files: Annotated[dict[FileName, str | None], Field(max_length=32)] = {}
    """Put beside the program, in base64."""
    fetch_files: Annotated[list[FileName], Field(max_length=32)] = []
    """Given back, in base64."""


class RunStatus(StrEnum):
    """The whole answer."""

    SUCCESS = "Success"
    FAILED = "Failed"
    SANDBOX_ERROR = "SandboxError"


class CommandStatus(StrEnum):
    """One command."""

    FINISHED = "Finished"
    ERROR = "Error"
    TIME_LIMIT_EXCEEDED = "TimeLimitExceeded"


class CommandResult(_Body):
    """What one command did."""

    status: CommandStatus
    execution_time: float | None = None
    """Seconds."""
    return_code: int | None = None
    """Negative: the signal that ended it."""
    stdout: str | None = None
    stderr: str | None = None


class RunCodeResponse(_Body):
    """The answer."""

    status: RunStatus
    message: str = ""
    compile_result: CommandResult | None = None
    run_result: CommandResult | None = None
    executor_pod_name: str | None = None
    files: dict[str, str] = {}
    """Those asked for that exist, in base64."""


async def run_code(programs: ProgramService, request: RunCodeRequest) -> RunCodeResponse:
    """Run a program.

    Raises:
        ApiError: `bad_request` for files that are no base64.
        QueueFullError: Too many programs are waiting.
    """
    files = _decoded(request.files)
    memory_bytes = _DEFAULT_MEMORY_BYTES if request.memory_limit_MB <= 0 else request.memory_limit_MB * 2**20
    wall_seconds = min(request.run_timeout, _LONGEST_SECONDS)
    run = SingleRun(
        language=request.language.lower(),
        source=request.code,
        stdin=(request.stdin or "").encode("utf-8", "surrogatepass"),
        limits=ExecutionLimits(
            wall_seconds=wall_seconds,
            cpu_seconds=min(2 * wall_seconds, _LONGEST_SECONDS),
            memory_bytes=max(memory_bytes, 16 * 2**20),
            output_bytes=_OUTPUT_BYTES,
        ),
        files=files,
        kept=tuple(request.fetch_files),
    )
    try:
        return _response(await programs.run_once(run))
    except RewardError as error:
        return RunCodeResponse(status=RunStatus.SANDBOX_ERROR, message=str(error))
    except ApiError as error:
        if error.info.kind is not ErrorKind.UNSUPPORTED:
            raise
        return RunCodeResponse(status=RunStatus.SANDBOX_ERROR, message=str(error))


def _decoded(files: Mapping[str, str | None]) -> dict[str, bytes]:
    try:
        return {name: base64.b64decode(content or "", validate=True) for name, content in files.items()}
    except (binascii.Error, ValueError) as error:
        raise ApiError(ErrorKind.BAD_REQUEST, f"files: every content must be base64: {error}") from error


def _response(result: RunResult) -> RunCodeResponse:
    compiled = _compile_result(result.compilation)
    if result.outcome is None:
        return RunCodeResponse(status=RunStatus.FAILED, compile_result=compiled)
    ran = _run_result(result.outcome)
    succeeded = ran.status is CommandStatus.FINISHED and ran.return_code == 0
    files = {name: base64.b64encode(content).decode("ascii") for name, content in result.outcome.files.items()}
    return RunCodeResponse(
        status=RunStatus.SUCCESS if succeeded else RunStatus.FAILED,
        message="" if ran.status is not CommandStatus.ERROR else f"stopped: too much {result.outcome.stop_reason}",
        compile_result=compiled,
        run_result=ran,
        files=files,
    )


def _compile_result(result: CompileResult | None) -> CommandResult | None:
    if result is None:
        return None
    timed_out = result.verdict in (Verdict.TIMEOUT_CPU, Verdict.TIMEOUT_WALL)
    return CommandResult(
        status=CommandStatus.TIME_LIMIT_EXCEEDED if timed_out else CommandStatus.FINISHED,
        execution_time=result.wall_seconds,
        return_code=None if timed_out else int(result.verdict is not Verdict.CORRECT),
        stdout="",
        stderr=result.output,
    )


def _run_result(outcome: RawOutcome) -> CommandResult:
    status = {
        StopReason.EXITED: CommandStatus.FINISHED,
        StopReason.WALL: CommandStatus.TIME_LIMIT_EXCEEDED,
    }.get(outcome.stop_reason, CommandStatus.ERROR)
    code = outcome.exit_code if outcome.exit_code is not None else -(outcome.signal or 0)
    return CommandResult(
        status=status,
        execution_time=outcome.wall_seconds,
        return_code=code if status is CommandStatus.FINISHED else None,
        stdout=outcome.stdout.decode("utf-8", "replace"),
        stderr=outcome.stderr.decode("utf-8", "replace"),
    )
