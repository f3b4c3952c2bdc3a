"""What a language is to the sandbox: data. How programs are found, compiled and run is the same for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from prorl_api.wire.sandbox import ExecutionLimits
from prorl_reward_sandbox.execution.isolation import Runtime

MEBIBYTE = 2**20
COMPILE_LIMITS = ExecutionLimits(
    wall_seconds=20.0,
    cpu_seconds=20.0,
    memory_bytes=2048 * MEBIBYTE,
    processes=64,
    output_bytes=MEBIBYTE,
    file_bytes=256 * MEBIBYTE,
)
"""Of a compiler: it works on hostile text and is contained like a program."""

PREPARE_LIMITS = COMPILE_LIMITS.model_copy(
    update={"wall_seconds": 120.0, "cpu_seconds": 120.0, "memory_bytes": 4096 * MEBIBYTE, "processes": 256}
)
"""Of what is made once per service, from nothing that a model wrote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """One way to run a language, as one machine or another has it.

    In commands, `{source}` is the source file's name, `{stem}` the same without its ending, and `{heap_mebibytes}` the
    program's memory limit.

    Attributes:
        version: Prints which version this is; its output is part of the digest of what is compiled.
        compile: Turns the source file into `product`; empty for interpreted languages.
        product: The file that running needs; empty: the source itself.
        run: The program.
        files: Put beside the source when compiling.
        version_files: Put into the folder for `version`.
        prepare: Makes `prepared`, once per service: a file that compilations need and that takes long to make.
    """

    version: tuple[str, ...]
    run: tuple[str, ...]
    compile: tuple[str, ...] = ()
    product: str = ""
    runtime: Runtime = Runtime.EXEC
    files: Mapping[str, bytes] = field(default_factory=dict)
    version_files: Mapping[str, bytes] = field(default_factory=dict)
    prepare: tuple[str, ...] = ()
    prepared: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """A language.

    Attributes:
        names: What callers may call it, the proper name first.
        fences: What else a fenced block in it may say, besides its names.
        toolchains: Candidates, best first: the first that compiles and runs `probe` under the isolation is used.
        probe: A program that prints 42.
        source_name: Of the source file, which may depend on the source.
        extra_bytes: Address space that its runtime claims beside the program's own memory.
        extra_processes: Threads of its runtime, beside the program's own.
        compile_marks: What standard error says when an interpreter could not read the source.
        memory_marks: What standard error says when memory ran out.
        process_marks: What standard error says when no further process or thread could be had.
    """

    names: tuple[str, ...]
    toolchains: tuple[Toolchain, ...]
    probe: str
    source_name: Callable[[str], str]
    fences: tuple[str, ...] = ()
    extra_bytes: int = 0
    extra_processes: int = 0
    compile_limits: ExecutionLimits = COMPILE_LIMITS
    compile_marks: tuple[bytes, ...] = ()
    memory_marks: tuple[bytes, ...] = ()
    process_marks: tuple[bytes, ...] = ()

    @property
    def name(self) -> str:
        """The proper name."""
        return self.names[0]

    @property
    def all_fences(self) -> frozenset[str]:
        """What a fenced block in this language may say."""
        return frozenset((*self.names, *self.fences))

    def limits_of(self, limits: ExecutionLimits) -> ExecutionLimits:
        """Return the limits of a run: what was asked for, and what the runtime needs for itself."""
        return limits.model_copy(
            update={
                "memory_bytes": limits.memory_bytes + self.extra_bytes,
                "processes": min(limits.processes + self.extra_processes, 1024),
            }
        )


def filled(command: tuple[str, ...], source_name: str, limits: ExecutionLimits) -> tuple[str, ...]:
    """Return a command with its placeholders filled in."""
    values = {
        "source": source_name,
        "stem": source_name.rpartition(".")[0],
        "heap_mebibytes": str(max(16, limits.memory_bytes // MEBIBYTE)),
    }
    return tuple(part.format(**values) for part in command)
