"""Find out which languages can be had under the isolation: by compiling and running a real program."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from prorl_api.errors import RewardError
from prorl_api.wire.sandbox import ExecutionLimits
from prorl_reward_sandbox.execution.compiling.bounded_cache import BoundedCache, Made
from prorl_reward_sandbox.execution.compiling.languages import ALL_LANGUAGES, LANGUAGES
from prorl_reward_sandbox.execution.compiling.languages.base import PREPARE_LIMITS, Language, Toolchain, filled
from prorl_reward_sandbox.execution.isolation import Isolation, RunSpec
from prorl_reward_sandbox.execution.retries import run_twice

_PROBE_LIMITS = ExecutionLimits(wall_seconds=30.0, cpu_seconds=20.0, memory_bytes=256 * 2**20)
_ANSWER = b"42"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """A language that works here.

    Attributes:
        version: Digest of what the toolchain says of itself.
        prepared: Files that its compiler needs besides the source.
    """

    language: Language
    toolchain: Toolchain
    version: str
    prepared: Mapping[str, bytes] = field(default_factory=dict)

    def compile_spec(self, files: Mapping[str, bytes]) -> RunSpec:
        """Return the compiler's run; the first of the files is the source."""
        limits = self.language.compile_limits
        return RunSpec(
            argv=filled(self.toolchain.compile, next(iter(files)), limits),
            files={**files, **self.toolchain.files, **self.prepared},
            kept=(self.toolchain.product,),
            limits=limits,
        )


class Toolchains:
    """What works under one isolation. A language is looked for when it is first asked for."""

    def __init__(self, isolation: Isolation) -> None:
        self._isolation = isolation
        self._found: BoundedCache[Installed | None] = BoundedCache(len(ALL_LANGUAGES))

    async def get(self, name: str) -> Installed | None:
        """Return the language of that name, if there is one that works here."""
        language = LANGUAGES.get(name)
        if language is None:
            return None
        installed, _ = await self._found.get(language.name, lambda: self._find(language))
        return installed

    async def _find(self, language: Language) -> Made[Installed | None]:
        """Return the language with the first of its toolchains that works. That there is none is asked again later."""
        for toolchain in language.toolchains:
            try:
                version = await _version(self._isolation, language, toolchain)
                prepared = await _prepare(self._isolation, toolchain) if version is not None else None
                if version is None or prepared is None:
                    continue
                installed = Installed(language=language, toolchain=toolchain, version=version, prepared=prepared)
                if not await _works(self._isolation, installed):
                    continue
            except RewardError:
                continue  # not there, or not for the programs' user
            _logger.info("language", extra={"language": language.name, "command": toolchain.version[0]})
            return Made(value=installed, num_bytes=1, is_lasting=True)
        return Made(value=None, num_bytes=1, is_lasting=False)


def language_fault(name: str) -> str:
    """Return why a language that was not found cannot be had."""
    if name in LANGUAGES:
        return f"language {name!r} is not available here: none of its toolchains compiles and runs a program"
    return f"there is no language {name!r}; known: {', '.join(sorted(LANGUAGES))}"


async def _version(isolation: Isolation, language: Language, toolchain: Toolchain) -> str | None:
    spec = RunSpec(
        argv=toolchain.version,
        runtime=toolchain.runtime,
        files=toolchain.version_files,
        limits=language.limits_of(language.compile_limits),
    )
    outcome = await run_twice(isolation, spec)
    return hashlib.sha256(outcome.stdout + outcome.stderr).hexdigest() if outcome.exit_code == 0 else None


async def _prepare(isolation: Isolation, toolchain: Toolchain) -> Mapping[str, bytes] | None:
    """Return what the compiler needs besides the source; None if it could not be made."""
    if not toolchain.prepare:
        return {}
    spec = RunSpec(argv=toolchain.prepare, files=toolchain.files, kept=(toolchain.prepared,), limits=PREPARE_LIMITS)
    outcome = await run_twice(isolation, spec)
    return outcome.files if outcome.exit_code == 0 and toolchain.prepared in outcome.files else None


async def _works(isolation: Isolation, installed: Installed) -> bool:
    language, toolchain = installed.language, installed.toolchain
    files: Mapping[str, bytes] = source_files(language, language.probe)
    source_name = next(iter(files))
    if toolchain.compile:
        compiled = await run_twice(isolation, installed.compile_spec(files))
        files = compiled.files
        if compiled.exit_code != 0 or toolchain.product not in files:
            said = compiled.stderr[-300:].decode(errors="replace")
            _logger.info("a compiler does not work here", extra={"command": toolchain.compile[0], "said": said})
            return False
    spec = RunSpec(
        argv=filled(toolchain.run, source_name, _PROBE_LIMITS),
        runtime=toolchain.runtime,
        files=files,
        executables=frozenset({toolchain.product} - {""}),
        limits=language.limits_of(_PROBE_LIMITS),
    )
    outcome = await run_twice(isolation, spec)
    return outcome.exit_code == 0 and outcome.stdout.strip() == _ANSWER


def source_files(language: Language, source: str) -> dict[str, bytes]:
    """Return the source file by its name."""
    return {language.source_name(source): source.encode("utf-8", "surrogatepass")}
