"""Turn a source into something that runs: once per source, compiler and flags, however many programs are equal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from prorl_api.wire.sandbox import CompileResult, ExecutionLimits, Verdict
from prorl_reward_sandbox.execution.compiling.bounded_cache import BoundedCache, Made, digest_of
from prorl_reward_sandbox.execution.compiling.languages.base import filled
from prorl_reward_sandbox.execution.compiling.toolchains import Installed, source_files
from prorl_reward_sandbox.execution.isolation import Isolation, RawOutcome, RunSpec, Runtime
from prorl_reward_sandbox.execution.retries import run_twice
from prorl_reward_sandbox.execution.verdicts import find_fault

MAX_CACHED_BYTES = 256 * 2**20
_TAIL_BYTES = 4096
_OVERHEAD_BYTES = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program that can be run.

    Attributes:
        files: What it needs in its folder.
        libraries: Python: what it may import besides the standard library.
    """

    installed: Installed
    source_name: str
    files: Mapping[str, bytes] = field(default_factory=dict)
    libraries: tuple[str, ...] = ()

    def spec(self, stdin: bytes, limits: ExecutionLimits) -> RunSpec:
        """One run of it."""
        language, toolchain = self.installed.language, self.installed.toolchain
        return RunSpec(
            argv=filled(toolchain.run, self.source_name, limits),
            runtime=toolchain.runtime,
            files=self.files,
            executables=frozenset({toolchain.product} - {""}),
            stdin=stdin,
            libraries=self.libraries,
            limits=language.limits_of(limits),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """What became of a source: `program` is None exactly if `result` says that it failed."""

    program: Program | None
    result: CompileResult | None = None


class Compilers:
    """All compilers of one service, and what they have made."""

    def __init__(self, isolation: Isolation, *, max_cached_bytes: int = MAX_CACHED_BYTES) -> None:
        self._isolation = isolation
        self._cache: BoundedCache[Compiled] = BoundedCache(max_cached_bytes)

    async def compile(self, installed: Installed, source: str, libraries: tuple[str, ...] = ()) -> Compiled:
        """Return a program for a source.

        Args:
            installed: Its language.
            source: Its text.
            libraries: What a program in Python gets besides the standard library; others get nothing.

        Raises:
            RewardError: The compiler could not be run.
        """
        files = source_files(installed.language, source)
        if not installed.toolchain.compile:
            name = next(iter(files))
            libraries = libraries if installed.toolchain.runtime is Runtime.PYTHON else ()
            return Compiled(program=Program(installed=installed, source_name=name, files=files, libraries=libraries))
        digest = digest_of(
            installed.language.name,
            installed.version,
            installed.toolchain.compile,
            installed.language.compile_limits.model_dump(),
            source,
        )
        compiled, is_cached = await self._cache.get(digest, lambda: self._compile(installed, files))
        if is_cached and compiled.result is not None:
            return Compiled(program=compiled.program, result=compiled.result.model_copy(update={"is_cached": True}))
        return compiled

    async def _compile(self, installed: Installed, files: dict[str, bytes]) -> Made[Compiled]:
        outcome = await run_twice(self._isolation, installed.compile_spec(files))
        verdict = _verdict(outcome, installed)
        succeeded = verdict is Verdict.CORRECT
        output = b"" if succeeded else (outcome.stderr or outcome.stdout)[-_TAIL_BYTES:]
        result = CompileResult(
            verdict=verdict, output=output.decode("utf-8", "replace"), wall_seconds=outcome.wall_seconds
        )
        program = Program(installed=installed, source_name=next(iter(files)), files=outcome.files)
        return Made(
            value=Compiled(program=program if succeeded else None, result=result),
            num_bytes=_OVERHEAD_BYTES + len(output) + sum(map(len, outcome.files.values())),
            # A compiler that ran into a limit may do better on another day.
            is_lasting=verdict in (Verdict.CORRECT, Verdict.COMPILE_ERROR),
        )


def _verdict(outcome: RawOutcome, installed: Installed) -> Verdict:
    """`correct` if there is a product; a limit's verdict if the compiler ran into one; else `compile_error`."""
    fault = find_fault(outcome, installed.language.compile_limits, installed.language)
    if fault is None and installed.toolchain.product in outcome.files:
        return Verdict.CORRECT
    limits_reached = (Verdict.TIMEOUT_CPU, Verdict.TIMEOUT_WALL, Verdict.MEMORY, Verdict.OUTPUT, Verdict.PIDS)
    return fault if fault in limits_reached else Verdict.COMPILE_ERROR
