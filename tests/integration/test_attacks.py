"""The table of attacks, at every level of isolation that can be had here, each held to the same invariants.

A typed verdict in time; no reward unless the output is right; nothing left behind; neighbours unharmed. The lesser
level is run as in a restricted pod: another user, no capabilities, no namespaces.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from prorl_api.process.tokens import ACCEPTED_VARIABLE
from prorl_api.wire.sandbox import ExecuteRequest, ExecuteResponse, ExecutionLimits, ProgramTest, Verdict
from prorl_reward_sandbox.execution.judging.companions import num_jails
from prorl_reward_sandbox.execution.programs import ProgramService
from tests.integration.attacks import confinement, resources
from tests.integration.attacks.attack import CONTAINED, Attack
from tests.integration.attacks.traces import RESTRICTED_USER, Traces, look, remove_abandoned
from tests.unit.reward_sandbox.isolation_levels import make_level
from tests.unit.reward_sandbox.program_kit import program_service

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

ATTACKS = (*resources.ATTACKS, *confinement.ATTACKS)
LEVELS = {"namespaces": "namespaces", "landlock in a restricted pod": "landlock", "process": "process"}
"""As the tests of isolation call them, and the level that each is."""
_OVERHEAD_SECONDS = 3.0
"""Beyond the wall limit, on a busy machine: killing, reaping, cleaning up."""
_COMPILE_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """A program service at one level."""

    level: str
    programs: ProgramService
    users: frozenset[int]

    async def run(self, attack: Attack) -> ExecuteResponse:
        """Run an attack as a test whose right output is `contained`."""
        limits = ExecutionLimits(**attack.limits)
        test = ProgramTest(stdin=attack.stdin, expected_stdout=CONTAINED)
        request = ExecuteRequest(
            language=attack.language,
            source=attack.source,
            tests=(test,),
            limits=limits,
            total_wall_seconds=limits.wall_seconds,
        )
        return await self.programs.execute(request)

    def look(self) -> Traces:
        """What is there now."""
        return look(self.users)

    async def left_since(self, before: Traces) -> str:
        """What is there now and was not before; runners that are replaced take a moment."""
        for _ in range(100):
            now = self.look()
            found = [
                f"{name}: {getattr(now, name)} after {getattr(before, name)}"
                for name in ("num_processes", "num_descriptors")
                if getattr(now, name) > getattr(before, name)
            ]
            found += [f"file {path}" for path in sorted(now.files - before.files)]
            found += ["mounts"] if now.mounts != before.mounts else []
            if not found and len(now.groups) <= len(before.groups):
                return ""
            await asyncio.sleep(0.05)
        return "; ".join(found) or "control groups"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def judge(request: pytest.FixtureRequest) -> AsyncIterator[Judge]:
    os.environ[ACCEPTED_VARIABLE] = "a secret of the service's"
    remove_abandoned()
    isolation = make_level(request.param, slots=num_jails(2))
    async with program_service(isolation=isolation) as programs:
        for language in ("python", "c", "cpp"):  # compilers are looked for before, not during an attack
            await programs.execute(_clean(language))
        await programs.execute_all((_clean(),) * 8, shown_bytes=0)  # a runner keeps files open from its first run on
        users = frozenset(int(runner.hello["user_id"] or RESTRICTED_USER) for runner in isolation._idle)
        yield Judge(level=LEVELS[request.param], programs=programs, users=users)
    del os.environ[ACCEPTED_VARIABLE]


def _clean(language: str = "python") -> ExecuteRequest:
    source = {
        "python": "print(sum(range(1000)))",
        "c": '#include <stdio.h>\nint main(void) { puts("499500"); return 0; }',
        "cpp": '#include <cstdio>\nint main() { puts("499500"); }',
    }
    test = ProgramTest(expected_stdout="499500")
    return ExecuteRequest(language=language, source=source[language], tests=(test,), total_wall_seconds=60.0)


at_every_level = pytest.mark.parametrize("judge", LEVELS, indirect=True)


@pytest.mark.parametrize(
    ("judge", "attack"),
    [
        pytest.param(name, attack, id=f"{name}-{attack.name}", marks=[pytest.mark.thorough] * (level == "process"))
        for name, level in LEVELS.items()
        for attack in ATTACKS
        if attack.is_held_by(level)  # the others are in docs/sandbox.md
    ],
    indirect=["judge"],
)
async def test_it_gets_a_verdict_and_nothing_else(judge: Judge, attack: Attack) -> None:
    before, began = judge.look(), time.monotonic()
    response = await judge.run(attack)
    seconds = time.monotonic() - began

    (result,) = response.tests
    said = (result.verdict, result.stdout[:300], result.stderr[-300:], result.detail)
    assert result.verdict in attack.verdicts, said
    assert (response.reward == 1.0) == (result.verdict is Verdict.CORRECT), said
    assert response.isolation_level == judge.level
    limits = ExecutionLimits(**attack.limits)
    assert len(result.stdout) <= limits.output_bytes
    is_compiled = response.compilation is not None
    assert seconds < limits.wall_seconds + _OVERHEAD_SECONDS + (_COMPILE_SECONDS if is_compiled else 0)
    assert await judge.left_since(before) == ""


@at_every_level
async def test_long_output_is_whole(judge: Judge) -> None:
    text = "x" * 300_000
    test = ProgramTest(expected_stdout=text)
    request = ExecuteRequest(source="print('x' * 300_000)", tests=(test,))
    (result,) = (await judge.programs.execute(request)).tests
    assert (result.verdict, len(result.stdout)) == (Verdict.CORRECT, 300_001)


@at_every_level
async def test_what_was_said_before_the_time_was_up_is_kept(judge: Judge) -> None:
    limits = ExecutionLimits(wall_seconds=2.0)
    source = "import time\nprint('half', flush=True)\ntime.sleep(1e6)"
    request = ExecuteRequest(source=source, tests=(ProgramTest(expected_stdout="half"),), limits=limits)
    (result,) = (await judge.programs.execute(request)).tests
    assert (result.verdict, result.stdout) == (Verdict.TIMEOUT_WALL, "half\n")


@at_every_level
@pytest.mark.parametrize(
    "name",
    [
        "fork bomb that goes on when it is refused",
        "memory touched page by page",
        "a crowd of busy processes, each in a session of its own",
    ],
)
async def test_neighbours_keep_their_verdicts(judge: Judge, name: str) -> None:
    attack = next(attack for attack in ATTACKS if attack.name == name)
    before = judge.look()
    hostile = asyncio.create_task(judge.run(attack))
    clean = await judge.programs.execute_all((_clean(),) * 20, shown_bytes=0)
    assert [response.reward for response in clean] == [1.0] * 20
    assert (await hostile).tests[0].verdict in attack.verdicts
    assert await judge.left_since(before) == ""
