"""What a program can do to one that runs beside it: neither read it, nor speak for it, nor cost it its verdict."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from prorl_api.wire.sandbox import ExecuteRequest, ProgramTestResult, Verdict
from prorl_reward_sandbox.execution.judging.companions import num_jails
from prorl_reward_sandbox.execution.programs import ProgramService
from tests.unit.reward_sandbox.isolation_levels import LEVELS, make_level
from tests.unit.reward_sandbox.program_kit import asserts, make_request, program_service

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = "the-test-of-a-neighbour"
# Looks into every folder that a run may have, takes every descriptor of every process, and reads what can be read.
SPY = f"""
import ctypes, glob, os, time
libc = ctypes.CDLL(None)
def service_of(pid):  # others on this machine may test as the same user
    try:
        for _ in range(2): pid = int(open(f"/proc/{{pid}}/stat").read().rpartition(")")[2].split()[1])
    except (OSError, ValueError): return None
    return pid
needle, found = {SECRET[:8]!r} + {SECRET[8:]!r}, []
def look(text, where):
    if needle in text: found.append(where)
end = time.monotonic() + 1.5
while time.monotonic() < end and not found:
    for path in glob.glob("/tmp/prorl-run-*/*") + glob.glob("/proc/[0-9]*/cwd/tests.py"):
        if not os.path.realpath(path).startswith(os.getcwd()):
            try: look(open(path, errors="replace").read(1 << 20), path)
            except OSError: pass
    try: pids = [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]
    except OSError: pids = [*range(2, 100)]
    for pid in pids:
        if service_of(pid) == service_of(os.getpid()) and (handle := libc.syscall(434, pid, 0)) >= 0:
            for number in range(8):
                if (taken := libc.syscall(438, handle, number, 0)) >= 0:
                    found.append(f"descriptor {{number}} of {{pid}}")
                    os.close(taken)
            os.close(handle)
print(found[:3] or "nothing")
"""
SLOW_TEST = asserts(f"# {SECRET}\nimport time\nfor _ in range(20):\n  assert f() == 3\n  time.sleep(0.05)", "f")
FLOOD = """
import os
for _ in range(30):
    try:
        if os.fork() == 0:
            os.setsid()  # kernels that share processors by session give each its own share
            break
    except OSError: break
while True: pass
"""
HALF_A_SECOND = """
import time
end = time.process_time() + 0.5
while time.process_time() < end: pass
print("done")
"""


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=[name for name in LEVELS if "namespaces in a r" not in name]
)
async def programs(request: pytest.FixtureRequest) -> AsyncIterator[ProgramService]:
    async with program_service(isolation=make_level(request.param, slots=num_jails(2))) as service:
        yield service


async def result_of(programs: ProgramService, request: ExecuteRequest) -> ProgramTestResult:
    (result,) = (await programs.execute(request)).tests
    return result


async def test_nothing_of_a_test_program_can_be_had_next_door(programs: ProgramService) -> None:
    spy = asyncio.create_task(result_of(programs, make_request(SPY, {})))
    victim = await result_of(programs, make_request("def f(): return 3", SLOW_TEST))
    assert (await spy).stdout == "nothing\n"
    assert victim.verdict in (Verdict.CORRECT, Verdict.UNSUPPORTED), victim


async def test_where_programs_share_a_user_there_is_no_program_next_door(programs: ProgramService) -> None:
    result = await result_of(programs, make_request("def f(): return 3", SLOW_TEST))
    is_apart = programs._isolation.max_runs > 1
    assert result.verdict is (Verdict.CORRECT if is_apart else Verdict.UNSUPPORTED), result
    assert is_apart or "one program at a time" in result.detail


async def test_a_crowd_next_door_costs_no_verdict(programs: ProgramService) -> None:
    crowd = make_request(FLOOD, {}, limits={"wall_seconds": 6.0, "cpu_seconds": 60.0, "processes": 32})
    honest = make_request(HALF_A_SECOND, {"expected_stdout": "done"}, limits={"wall_seconds": 4.0, "cpu_seconds": 5.0})
    hostile = asyncio.create_task(result_of(programs, crowd))
    await asyncio.sleep(0.2)
    assert (await result_of(programs, honest)).verdict is Verdict.CORRECT
    assert (await hostile).verdict in (Verdict.TIMEOUT_WALL, Verdict.TIMEOUT_CPU)


async def test_nor_where_the_total_of_several_tests_counts(programs: ProgramService) -> None:
    crowd = make_request(FLOOD, {}, limits={"wall_seconds": 6.0, "cpu_seconds": 60.0, "processes": 32})
    tests = [asserts("assert f() == 3", "f")] if programs._isolation.max_runs > 2 else [{"expected_stdout": "done"}]
    source = f"{HALF_A_SECOND}\ndef f(): return 3".replace("0.5", "0.25")
    honest = make_request(source, *tests, *tests, total_wall_seconds=4.0)
    hostile = asyncio.create_task(result_of(programs, crowd))
    await asyncio.sleep(0.2)
    response = await programs.execute(honest)
    assert response.reward == 1.0, response.tests
    await hostile


async def test_who_sleeps_or_crowds_itself_out_is_not_tried_again(programs: ProgramService) -> None:
    before = num_reruns(programs)
    sleeper = make_request("import time; time.sleep(60)", {}, limits={"wall_seconds": 1.0})
    crowd = make_request(FLOOD, {}, limits={"wall_seconds": 1.0, "cpu_seconds": 60.0, "processes": 32})
    for request in (sleeper, crowd):
        assert (await result_of(programs, request)).verdict is Verdict.TIMEOUT_WALL
    assert num_reruns(programs) == before


def num_reruns(programs: ProgramService) -> float:
    return programs._metrics.registry.get_sample_value("prorl_sandbox_programs_rerun_total", {"prorl_job": "test"}) or 0
