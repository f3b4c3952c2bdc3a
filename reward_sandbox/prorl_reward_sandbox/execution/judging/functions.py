"""One call of a function in a file, in a fresh jail, whose answer is handed over: for a user's own reward functions.

The file is executed where programs of a model are, by the same script (`harness/candidate`), and its answer is read
with the same care: whatever the function was given may have taken its process over.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pydantic import JsonValue

from prorl_api.wire.sandbox import ExecutionLimits
from prorl_reward_sandbox.execution.compiling.compilation import Compilers
from prorl_reward_sandbox.execution.compiling.toolchains import Installed
from prorl_reward_sandbox.execution.harness.canonical import RefusedError, encode, loads
from prorl_reward_sandbox.execution.isolation import Isolation, RawOutcome, StopReason
from prorl_reward_sandbox.execution.judging.calls import SingleCall, candidate_spec
from prorl_reward_sandbox.execution.judging.conversation import BreachError, longest_answer, readable
from prorl_reward_sandbox.execution.retries import run_twice

_TAIL_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionCall:
    """What to call, in Python; `libraries`: what it gets besides the standard library."""

    source: str
    function: str
    arguments: Sequence[JsonValue]
    limits: ExecutionLimits
    libraries: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionAnswer:
    """What came of a call: a value of `harness.canonical`'s form if `fault` is empty."""

    value: object = None
    fault: str = ""
    """Why there is no value."""
    is_final: bool = True
    """The same call would fail again; else it ran into a limit that others may have brought near."""
    outcome: RawOutcome | None = None


async def call_function(
    isolation: Isolation, compilers: Compilers, installed: Installed, call: FunctionCall
) -> FunctionAnswer:
    """Call a function once.

    Raises:
        RewardError: The jail could not be had.
    """
    try:
        arguments = [encode(value) for value in call.arguments]
    except RefusedError as error:
        return FunctionAnswer(fault=f"an argument holds {error}")
    request = json.dumps({"function": call.function, "arguments": arguments, "keywords": {}}).encode("ascii")
    compiled = await compilers.compile(installed, call.source, call.libraries)
    assert compiled.program is not None, "Python is not compiled"
    single = SingleCall(request=request, max_bytes=longest_answer(call.limits))
    spec = replace(candidate_spec(compiled.program, call.limits), conversation=single.converse)
    try:
        outcome = await run_twice(isolation, spec)
    except BreachError as breach:
        return FunctionAnswer(fault=breach.detail)
    if outcome.stop_reason is not StopReason.EXITED or outcome.signal is not None:
        return FunctionAnswer(fault=f"{call.function} {_limit(outcome, call.limits)}", is_final=False, outcome=outcome)
    return replace(_read(single.answer, call.function, outcome), outcome=outcome)


def _limit(outcome: RawOutcome, limits: ExecutionLimits) -> str:
    """Return which limit a call ran into, and what sets it."""
    if outcome.stop_reason is StopReason.WALL:
        return f"took longer than {limits.wall_seconds:g} s (spec.sandbox.scoreTimeoutSeconds)"
    if outcome.stop_reason is StopReason.MEMORY:
        return f"took more than {limits.memory_bytes // 2**20} MiB of memory"
    if outcome.stop_reason is StopReason.OUTPUT:
        return "wrote more than its output may be"
    return f"was ended by signal {outcome.signal}, as by its limit of processor time"


def _read(answer: bytes | None, function: str, outcome: RawOutcome) -> FunctionAnswer:
    if answer is None:
        return FunctionAnswer(fault=f"the file ended before {function} returned: {_last_line(outcome.stderr)}")
    try:
        reply = loads(answer)
    except RefusedError as error:
        return FunctionAnswer(fault=str(error))
    kind, content = next(iter(reply.items())) if isinstance(reply, dict) and len(reply) == 1 else ("", None)
    if kind == "value":
        return FunctionAnswer(value=content)
    if kind == "raised":
        return FunctionAnswer(fault=f"{function} raised {_last_line(outcome.stderr) or readable(content)}")
    if kind == "refused":
        return FunctionAnswer(fault=f"{function} returned {readable(content)}")
    return FunctionAnswer(fault=f"{function} gave no answer that can be read")


def _last_line(stderr: bytes) -> str:
    """Return the end of a traceback: which error."""
    lines = stderr[-_TAIL_BYTES:].decode("utf-8", "replace").strip().splitlines()
    return readable(lines[-1]) if lines else ""
