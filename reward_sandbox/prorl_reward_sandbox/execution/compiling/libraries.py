"""Which libraries a program in Python gets, and whether they can be had under the isolation. Selection is pure.

A program gets none unless its text names one that is allowed: copies of an interpreter that holds a library cost more
than those of a bare one. There are at most two further interpreters for a set of allowed libraries: one with all of
them, and one without the large ones.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Sequence

from prorl_api.wire.sandbox import ExecutionLimits
from prorl_reward_sandbox.execution.compiling.bounded_cache import BoundedCache, Made
from prorl_reward_sandbox.execution.isolation import Isolation, RunSpec, Runtime
from prorl_reward_sandbox.execution.retries import run_twice
from prorl_reward_sandbox.hygiene import helper_environment

_LARGE = frozenset(("sympy", "networkx"))
_PROBE_LIMITS = ExecutionLimits(wall_seconds=60.0, cpu_seconds=60.0)
_ANSWER = b"42"


def needed_libraries(source: str, allowed: Sequence[str]) -> tuple[str, ...]:
    """Return the libraries to run a program with: none, all that are allowed, or these without the large ones."""
    named = {library for library in allowed if re.search(rf"\b{library}\b", source)}
    if not named:
        return ()
    return tuple(sorted(allowed if named & _LARGE else set(allowed) - _LARGE))


class Libraries:
    """What works under one isolation. A set of libraries is tried when it is first asked for."""

    def __init__(self, isolation: Isolation) -> None:
        self._isolation = isolation
        self._faults: BoundedCache[str] = BoundedCache(64)

    async def fault(self, libraries: Sequence[str]) -> str:
        """Return why a program cannot have these libraries here; empty if it can.

        Raises:
            RewardError: It could not be tried.
        """
        if not libraries:
            return ""
        fault, _ = await self._faults.get(",".join(libraries), lambda: self._try(tuple(libraries)))
        return fault

    async def _try(self, libraries: tuple[str, ...]) -> Made[str]:
        await _compile(libraries)
        source = "".join(f"import {library}\n" for library in libraries) + "print(6 * 7)"
        spec = RunSpec(
            argv=("main.py",),
            runtime=Runtime.PYTHON,
            files={"main.py": source.encode()},
            libraries=libraries,
            limits=_PROBE_LIMITS,
        )
        outcome = await run_twice(self._isolation, spec)
        if outcome.stdout.strip() == _ANSWER:
            return Made(value="", num_bytes=1, is_lasting=True)
        said = outcome.stderr.decode(errors="replace").strip().rpartition("\n")[2][:200]
        return Made(value=f"{', '.join(libraries)} cannot be imported here: {said}", num_bytes=1, is_lasting=False)


async def _compile(libraries: tuple[str, ...]) -> None:
    """Import them once where Python may keep what it compiled: interpreters of programs may write nothing.

    Whether they can be had is not decided here.
    """
    nowhere = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", f"import {', '.join(libraries)}"),
        stdin=nowhere,
        stdout=nowhere,
        stderr=nowhere,
        env=helper_environment(),
    )
    await process.wait()
