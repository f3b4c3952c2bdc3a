"""A level counts when the attacks that it claims to stop fail, and only then."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

import pytest

from prorl_api.errors import RewardError
from prorl_reward_sandbox.execution.isolation import Isolation, RawOutcome, StopReason
from prorl_reward_sandbox.execution.levels.attacks import ATTACKS, LIMITS, Attack, Threat, laid_bait, took_place
from prorl_reward_sandbox.execution.levels.runner_isolation import RunnerIsolation
from prorl_reward_sandbox.execution.levels.strongest import CLAIMS, StrongestIsolation, attack
from tests.unit.reward_sandbox.isolation_levels import make_level

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has every level")


@pytest.mark.parametrize("each", ATTACKS, ids=[each.threat.name for each in ATTACKS])
@needs_root
def test_every_attack_gets_through_where_nothing_stops_it(each: Attack) -> None:
    extra = os.open(os.devnull, os.O_RDONLY)
    with laid_bait() as bait:
        stdout = b""
        groups = []
        for source in each.sources(bait):
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", source],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=[extra],
            )
            groups.append(process.pid)
            assert process.stdout is not None
            # Not to the end of the stream: what the attack leaves behind holds it open.
            process.wait(timeout=30)
            os.set_blocking(process.stdout.fileno(), False)
            stdout = process.stdout.read() or b""
            process.stdout.close()
        how = each.sight(bait, stdout)
        for group in groups:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        if each.threat is Threat.LEFTOVER_PROCESS:
            os.kill(int(how.split()[1]), signal.SIGKILL)
    os.close(extra)
    assert how


async def test_a_level_withstands_what_it_claims(isolation: Isolation) -> None:
    open_threats = await attack(isolation)
    claimed = CLAIMS[isolation.name]
    if isolation.name == "process":
        # In this test the service is not as in production: it can be dumped, so its own user may look into it.
        claimed = claimed - {Threat.SERVICE_MEMORY, Threat.TRACE}
    assert not claimed & set(open_threats), open_threats


@needs_root
async def test_the_strongest_level_is_taken() -> None:
    strongest = StrongestIsolation(1)
    await strongest.start()
    try:
        assert (strongest.name, strongest.max_runs) == ("namespaces", 1)
        assert [finding.level for finding in strongest.findings] == ["namespaces"]
        assert not strongest.findings[0].open_threats
    finally:
        await strongest.close()


async def test_a_restricted_pod_gets_landlock_and_one_program_at_once() -> None:
    strongest = StrongestIsolation(2, make=make_restricted)
    await strongest.start()
    try:
        assert (strongest.name, strongest.max_runs) == ("landlock", 1)
        refused, used = strongest.findings
        assert "unshare" in refused.fault
        assert set(used.open_threats) == {Threat.MEMORY}
    finally:
        await strongest.close()


async def test_below_the_minimum_it_does_not_start_and_says_why_and_what_to_do() -> None:
    strongest = StrongestIsolation(1, minimum="namespaces", make=make_restricted)
    with pytest.raises(RewardError, match=r"namespaces at least.*unshare.*docs/sandbox\.md.*minimum"):
        await strongest.start()
    assert strongest.name == ""


async def test_a_level_that_breaks_a_promise_does_not_count() -> None:
    """A plain process in the place of the strongest."""
    strongest = StrongestIsolation(1, minimum="namespaces", make=lambda _, slots: make_level("process", slots=slots))
    with pytest.raises(RewardError, match=r"connect to a port \(a connection arrived\).*read files outside"):
        await strongest.start()


@pytest.mark.parametrize(
    ("exit_code", "stderr", "counts"),
    [
        (0, b"", True),
        (1, b"Traceback\nPermissionError: [Errno 13] no", True),
        (1, b"Traceback\nMemoryError", True),
        (1, b"Traceback\nNameError: name 'x' is not defined", False),
        (1, b"Traceback\nImportError: no ctypes", False),
        (126, b"", False),
    ],
)
def test_an_attack_that_failed_by_its_own_mistake_proves_nothing(exit_code: int, stderr: bytes, counts: bool) -> None:
    outcome = RawOutcome(
        stop_reason=StopReason.EXITED,
        exit_code=exit_code,
        signal=None,
        stdout=b"",
        stderr=stderr,
        wall_seconds=0.0,
        cpu_seconds=0.0,
    )
    assert took_place(outcome) is counts


def test_attacks_have_limits_that_they_exceed() -> None:
    assert LIMITS.processes == 12
    assert LIMITS.memory_bytes < 6 * 24 * 2**20, "the sum that the attack on memory holds"


def make_restricted(level: str, slots: int) -> RunnerIsolation:
    return make_level(f"{level} in a restricted pod", slots=slots)
