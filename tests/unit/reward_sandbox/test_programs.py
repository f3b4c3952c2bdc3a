"""Programs that misbehave get a typed verdict in time, and nothing of them is left."""

from __future__ import annotations

import asyncio
import contextlib
import glob
import os
import tempfile
import time
from collections.abc import AsyncIterator

import psutil
import pytest

from prorl_api.process.api_error import ApiError
from prorl_api.wire.sandbox import ExecuteRequest, ExecutionLimits, ProgramTest, ProgramTestResult, Verdict
from prorl_reward_sandbox.execution.process.user import FIRST_USER_ID, NUM_USER_IDS
from prorl_reward_sandbox.execution.programs import ProgramService
from prorl_reward_sandbox.workers.fair_queue import QueueFullError
from tests.unit.reward_sandbox.program_kit import program_service

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give programs a user of their own")
DAEMON = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
        while True:
            time.sleep(0.01)
    os._exit(0)
os.wait()
print("42", flush=True)
"""
IGNORES_SIGNALS = """
import signal
for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
    try: signal.signal(number, signal.SIG_IGN)
    except OSError: pass
while True: pass
"""
HOSTILE = [
    ("infinite loop", "while True: pass", {Verdict.TIMEOUT_WALL, Verdict.TIMEOUT_CPU}),
    ("ignores signals", IGNORES_SIGNALS, {Verdict.TIMEOUT_WALL, Verdict.TIMEOUT_CPU}),
    ("sleep", "import time; time.sleep(1e6)", {Verdict.TIMEOUT_WALL}),
    ("fork bomb", "import os\nwhile True:\n  os.fork()", {Verdict.PIDS, Verdict.TIMEOUT_WALL, Verdict.TIMEOUT_CPU}),
    (
        "stubborn fork bomb",
        "import os\nwhile True:\n  try: os.fork(); os.setsid()\n  except OSError: pass",
        {Verdict.TIMEOUT_WALL, Verdict.TIMEOUT_CPU},
    ),
    ("thread bomb", "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(9,)).start()", None),
    ("infinite output", "while True: print('x' * 1000)", {Verdict.OUTPUT}),
    ("infinite errors", "import sys\nwhile True: print('x' * 1000, file=sys.stderr)", {Verdict.OUTPUT}),
    ("memory hog", "x = bytearray(64 << 30)", {Verdict.MEMORY}),
    ("slow memory hog", "x = []\nwhile True: x.append(bytearray(1 << 20))", {Verdict.MEMORY}),
    ("big file", "f = open('f', 'wb')\nwhile True: f.write(bytes(1 << 20))", {Verdict.RUNTIME_ERROR}),
    ("recursion", "import sys; sys.setrecursionlimit(10**9)\ndef f(): f()\nf()", None),
    ("exit early", "import os; os._exit(0)\nprint(42)", {Verdict.WRONG}),
    ("system exit", "raise SystemExit(0)", {Verdict.WRONG}),
    ("error", "print(42); raise ValueError", {Verdict.RUNTIME_ERROR}),
    ("syntax", "print(42", {Verdict.COMPILE_ERROR}),
    ("nothing", "", {Verdict.WRONG}),
    ("kill all", "import os; os.kill(-1, 9); print('missed'); ", None),
    ("kill parent", "import os; os.kill(os.getppid(), 9); print(43)", {Verdict.RUNTIME_ERROR, Verdict.WRONG}),
    ("closed streams", "import os\nfor fd in range(3): os.close(fd)\nwhile True: pass", None),
    ("binary", "import sys; sys.stdout.buffer.write(bytes(range(256)))", {Verdict.WRONG}),
]


@pytest.fixture
async def programs() -> AsyncIterator[ProgramService]:
    async with program_service(max_queued=4) as service:
        yield service


async def run(
    programs: ProgramService, source: str, *, stdin: str = "", expected: str = "42", wall_seconds: float = 1.0
) -> ProgramTestResult:
    request = ExecuteRequest(
        source=source,
        tests=(ProgramTest(stdin=stdin, expected_stdout=expected),),
        limits=ExecutionLimits(wall_seconds=wall_seconds, cpu_seconds=5, memory_bytes=256 * 2**20),
    )
    return (await programs.execute(request)).tests[0]


def leftovers() -> list[psutil.Process]:
    """Processes of programs that do not go away. Other services' programs on the machine come and go."""
    found = processes_of_programs()
    deadline = time.monotonic() + 6
    while found and time.monotonic() < deadline:
        time.sleep(0.05)
        found = [process for process in found if process.is_running()]
    return found


def processes_of_programs() -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess):
            if FIRST_USER_ID <= process.uids().real < FIRST_USER_ID + NUM_USER_IDS:
                found.append(process)
    return found


@needs_root
@pytest.mark.parametrize(("source", "verdicts"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
async def test_a_hostile_program_is_over_in_time(
    programs: ProgramService, source: str, verdicts: set[Verdict] | None
) -> None:
    started = time.monotonic()
    result = await run(programs, source)
    assert time.monotonic() - started < 3.0
    assert result.verdict not in (Verdict.CORRECT, Verdict.SANDBOX_ERROR), result
    assert verdicts is None or result.verdict in verdicts, result
    assert len(result.stdout) <= 2**20
    assert not leftovers()
    assert (await run(programs, "print(42)")).verdict is Verdict.CORRECT


@needs_root
async def test_a_daemon_does_not_outlive_its_program(programs: ProgramService) -> None:
    result = await run(programs, DAEMON)
    assert result.verdict is Verdict.CORRECT
    assert result.wall_seconds < 0.9, "the result waits for the program, not for the daemon that holds its output"
    assert not leftovers()


async def test_legal_output_is_complete(programs: ProgramService) -> None:
    expected = "x" * 300_000
    result = await run(programs, "print('x' * 300_000)", expected=expected)
    assert result.verdict is Verdict.CORRECT
    assert result.stdout == expected + "\n"


async def test_output_before_a_timeout_is_kept(programs: ProgramService) -> None:
    result = await run(programs, "print('so far', flush=True)\nimport time; time.sleep(9)", wall_seconds=0.5)
    assert result.verdict is Verdict.TIMEOUT_WALL
    assert result.stdout == "so far\n"


async def test_large_input_is_delivered_and_unread_input_is_no_error(programs: ProgramService) -> None:
    counts = await run(programs, "print(len(input()))", stdin="y" * 1_000_000, expected="1000000")
    ignores = await run(programs, "print(42)", stdin="y" * 1_000_000)
    assert counts.verdict is ignores.verdict is Verdict.CORRECT


async def test_a_program_sees_a_clean_environment(programs: ProgramService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRORL_TOKEN_LEARNER", "planted-secret")
    source = "import os; print(sorted(os.environ)); print(os.listdir('/proc/self/fd'), os.listdir('.'), os.getcwd())"
    result = await run(programs, source, expected="")
    names, rest = result.stdout.splitlines()
    folder = rest.split()[-1]
    assert set(names.strip("[]").replace("'", "").split(", ")) <= {"HOME", "LANG", "LC_CTYPE", "PATH", "TMPDIR"}
    # The fourth descriptor is the listing itself.
    assert rest.startswith("['0', '1', '2', '3'] ['main.py']")
    assert os.path.basename(folder) not in os.listdir(tempfile.gettempdir())


@needs_root
async def test_a_program_cannot_read_the_services_environment_or_memory(programs: ProgramService) -> None:
    source = """
import os
def attempt(path):
    try: open(path, 'rb').read(1); return 'read'
    except OSError as error: return type(error).__name__
names = [f'/proc/{pid}/{name}' for pid in (os.getppid(), SERVICE) for name in ('environ', 'mem', 'maps')]
print('read' in map(attempt, names))
print(os.getuid() > 0, os.getgroups())
""".replace("SERVICE", str(os.getpid()))
    assert (await run(programs, source, expected="False\nTrue []")).verdict is Verdict.CORRECT


async def test_nothing_is_left_in_the_temporary_folder(programs: ProgramService) -> None:
    source = """
import os
for depth in range(1500):
    os.mkdir('deep'); os.chdir('deep')
open('f', 'w').close(); os.chmod('.', 0)
"""
    working_folders = os.path.join(tempfile.gettempdir(), "prorl-run-*", "*")
    before = set(glob.glob(working_folders))
    result = await run(programs, source, expected="", wall_seconds=5.0)
    assert result.verdict is Verdict.CORRECT
    for _ in range(1000):
        if set(glob.glob(working_folders)) - before:
            await asyncio.sleep(0.02)  # the answer comes first
    assert not set(glob.glob(working_folders)) - before


async def test_tests_beyond_the_total_time_are_timeouts(programs: ProgramService) -> None:
    request = ExecuteRequest(source="import time; time.sleep(0.4)", tests=(ProgramTest(),) * 4, total_wall_seconds=0.7)
    verdicts = [result.verdict for result in (await programs.execute(request)).tests]
    assert verdicts == [Verdict.CORRECT, *[Verdict.TIMEOUT_WALL] * 3]


@needs_root
async def test_a_cancelled_request_ends_its_program(programs: ProgramService) -> None:
    others = processes_of_programs()
    task = asyncio.create_task(run(programs, "import time; time.sleep(60)", wall_seconds=60))
    await asyncio.sleep(0.5)
    started = [process for process in processes_of_programs() if process not in others]
    assert started
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    _, alive = await asyncio.to_thread(psutil.wait_procs, started, timeout=5)
    assert not alive
    assert (await run(programs, "print(42)")).verdict is Verdict.CORRECT


def _is_runner(process: psutil.Process) -> bool:
    try:
        return "runner" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # it is just ending
        return False


async def test_a_killed_runner_costs_one_retry(programs: ProgramService) -> None:
    runners = [child for child in psutil.Process().children() if _is_runner(child)]
    for runner in runners:
        runner.kill()
    assert (await run(programs, "print(42)")).verdict in (Verdict.CORRECT, Verdict.SANDBOX_ERROR)
    assert (await run(programs, "print(42)")).verdict is Verdict.CORRECT


async def test_other_languages_are_unsupported_by_name(programs: ProgramService) -> None:
    with pytest.raises(ApiError, match=r"there is no language 'cobol'; known: .*python") as caught:
        await programs.execute(ExecuteRequest(language="cobol", source="", tests=(ProgramTest(),)))
    assert caught.value.info.kind == "unsupported"


async def test_a_program_that_cannot_be_read_is_run_once(programs: ProgramService) -> None:
    request = ExecuteRequest(source="print(42", tests=(ProgramTest(),) * 500, total_wall_seconds=5)
    response = await programs.execute(request)
    assert {test.verdict for test in response.tests} == {Verdict.COMPILE_ERROR}
    assert (len(response.tests), response.reward) == (500, 0.0)


async def test_all_or_nothing_stops_at_the_first_failure(programs: ProgramService) -> None:
    tests = [ProgramTest(stdin=text, expected_stdout="1") for text in ("1", "2", "1")]
    request = ExecuteRequest(source="print(input())", tests=tuple(tests), reward="all")
    response = await programs.execute(request)
    assert [test.verdict for test in response.tests] == [Verdict.CORRECT, Verdict.WRONG, Verdict.SKIPPED]
    assert response.reward == 0.0
    whole = await programs.execute(request.model_copy(update={"reward": "fraction"}))
    assert whole.reward == pytest.approx(2 / 3)


async def test_equal_deterministic_requests_are_run_once(programs: ProgramService) -> None:
    # Random, so that a second run would be seen.
    source = "import random; print(random.random())"
    request = ExecuteRequest(source=source, tests=(ProgramTest(),), deterministic=True)
    first, second = [await programs.execute(request) for _ in range(2)]
    assert (first.is_cached, second.is_cached) == (False, True)
    assert first.tests == second.tests
    other = await programs.execute(request.model_copy(update={"total_wall_seconds": 4.0}))
    assert (other.is_cached, other.tests != first.tests) == (False, True)


async def test_what_is_not_declared_deterministic_is_run_again(programs: ProgramService) -> None:
    request = ExecuteRequest(source="import random; print(random.random())", tests=(ProgramTest(),))
    first, second = [await programs.execute(request) for _ in range(2)]
    assert first.tests[0].stdout != second.tests[0].stdout


async def test_results_that_hang_on_time_are_not_kept(programs: ProgramService) -> None:
    request = ExecuteRequest(
        source="import time; time.sleep(9)", tests=(ProgramTest(),), total_wall_seconds=0.2, deterministic=True
    )
    responses = [await programs.execute(request) for _ in range(2)]
    assert [response.is_cached for response in responses] == [False, False]


async def test_a_batch_gives_one_response_a_program_in_order(programs: ProgramService) -> None:
    requests = tuple(
        ExecuteRequest(language=language, source=f"print({number})", tests=(ProgramTest(expected_stdout=str(number)),))
        for number, language in enumerate(["python", "python", "cobol", "python"])
    )
    responses = await programs.execute_all(requests, shown_bytes=10_000)
    assert [response.tests[0].verdict for response in responses] == [
        Verdict.CORRECT,
        Verdict.CORRECT,
        Verdict.UNSUPPORTED,
        Verdict.CORRECT,
    ]
    assert [response.reward for response in responses] == [1.0, 1.0, None, 1.0]


async def test_a_program_sees_one_input_only(programs: ProgramService) -> None:
    source = """
import os, sys
print(sorted(os.listdir('.')), len(sys.stdin.read()), os.path.exists('note'))
open('note', 'w').write('for the next one')
"""
    tests = tuple(ProgramTest(stdin="x" * 7, expected_stdout="['main.py'] 7 False") for _ in range(3))
    response = await programs.execute(ExecuteRequest(source=source, tests=tests))
    assert response.reward == 1.0


async def test_a_full_queue_refuses(programs: ProgramService) -> None:
    slow = [asyncio.create_task(run(programs, "import time; time.sleep(0.5)", expected="")) for _ in range(6)]
    await asyncio.sleep(0)
    with pytest.raises(QueueFullError):
        await run(programs, "print(42)")
    assert {result.verdict for result in await asyncio.gather(*slow)} == {Verdict.CORRECT}


async def test_outputs_are_judged_whole_and_shown_as_far_as_they_fit(programs: ProgramService) -> None:
    tests = (ProgramTest(expected_stdout="x" * 600),) * 3
    request = ExecuteRequest(source="print('x' * 600)", tests=tests)
    (response,) = await programs.execute_all((request,), shown_bytes=1500)
    assert response.reward == 1.0
    assert [len(test.stdout) for test in response.tests] == [601, 601, 0]
    assert [test.is_output_shown for test in response.tests] == [True, True, False]
