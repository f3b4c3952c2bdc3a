"""Programs in a jail: limits hold for all processes together, runs leave nothing, and nothing passes between them."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from prorl_api.errors import RewardError
from prorl_api.wire.sandbox import ExecutionLimits
from prorl_reward_sandbox.execution.isolation import Isolation, RawOutcome, RunSpec, StopReason
from prorl_reward_sandbox.execution.jail.cgroups import NoControlGroupError, SlotGroup
from prorl_reward_sandbox.execution.levels.runner_isolation import RunnerIsolation
from tests.unit.reward_sandbox.isolation_levels import make_level, python

LIMITS = ExecutionLimits(wall_seconds=3.0, cpu_seconds=2.0, memory_bytes=64 * 2**20, processes=8, file_bytes=2**20)
FORK_BOMB = "import os\nwhile True:\n  try: os.fork(); os.setsid()\n  except OSError: pass"
STUBBORN = """
import signal, time
for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
    try: signal.signal(number, signal.SIG_IGN)
    except OSError: pass
print('so far', flush=True)
while True: time.sleep(1)
"""
DAEMON = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0: time.sleep(3600)
    os._exit(0)
os.wait()
print(42)
"""
SYSTEM_CALLS = """
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
def attempt(number, *arguments):
    ctypes.set_errno(0)
    libc.syscall(number, *arguments)
    return errno.errorcode.get(ctypes.get_errno(), 'allowed')
calls = dict(
    io_uring_setup=(425, 1, None), bpf=(321, 0, None, 0), userfaultfd=(323, 0), keyctl=(250, 0, 0, 0),
    perf_event_open=(298, None, 0, 0, 0, 0), open_by_handle_at=(304, 0, None, 0), setns=(308, 0, 0),
    chroot=(161, b'/'), mount=(165, 0, 0, 0, 0, 0), clone_new_user=(56, 0x10000011, 0, 0, 0, 0),
    socket=(41, 2, 1, 0), netlink=(41, 16, 3, 0), vsock=(41, 40, 1, 0), inet_pair=(53, 2, 1, 0, None),
    steal_descriptor=(438, 0, 0, 0), personality=(135, 0x0400000), sysctl=(156, None), ptrace=(101, 0, 0, 0, 0),
    tiocsti=(16, 0, 0x5412, b'x'), keep_after_parent=(157, 1, 0), affinity=(203, 0, 8, b'12345678'),
)
for name, call in calls.items(): print(name, attempt(*call))
print('clone3', attempt(435, None, 0), attempt(9999))
"""
IN_A_JAIL = ["namespaces", "namespaces in a user namespace", "landlock", "landlock in a restricted pod"]
BOUNDED_MEMORY = ["namespaces", "landlock"]


@pytest.fixture(params=IN_A_JAIL)
async def jail(request: pytest.FixtureRequest) -> AsyncIterator[Isolation]:
    async for level in started(request.param):
        yield level


@pytest.fixture(params=BOUNDED_MEMORY)
async def bounded(request: pytest.FixtureRequest) -> AsyncIterator[Isolation]:
    async for level in started(request.param):
        if not level.facts["memory_bounded"]:
            pytest.skip(f"no control groups: {level.facts['no_control_group']}")
        yield level


@pytest.fixture
async def namespaces() -> AsyncIterator[RunnerIsolation]:
    async for level in started("namespaces"):
        yield level


async def started(name: str) -> AsyncIterator[RunnerIsolation]:
    level = make_level(name)
    await level.start()
    yield level
    await level.close()


async def run(isolation: Isolation, source: str, **limits: object) -> RawOutcome:
    return await isolation.run(python(source, limits=LIMITS.model_copy(update=limits)))


async def test_a_program_that_will_not_end_is_ended_with_all_its_processes(jail: Isolation) -> None:
    for source in (STUBBORN, FORK_BOMB, "while True: pass"):
        started_at = time.monotonic()
        outcome = await run(jail, source, wall_seconds=1.0, cpu_seconds=60.0, memory_bytes=256 * 2**20)
        assert outcome.stop_reason is StopReason.WALL
        assert time.monotonic() - started_at < 2.5
        assert (await run(jail, "print(1)")).stdout == b"1\n", "the slot is free and its processes are counted anew"


async def test_output_before_the_end_of_time_is_kept(jail: Isolation) -> None:
    assert (await run(jail, STUBBORN, wall_seconds=1.0)).stdout == b"so far\n"


async def test_a_program_that_uses_up_its_cpu_time_is_ended(jail: Isolation) -> None:
    outcome = await run(jail, "while True: pass", wall_seconds=30.0, cpu_seconds=1.0)
    assert outcome.signal in (signal.SIGXCPU, signal.SIGKILL)
    assert outcome.stop_reason is StopReason.EXITED
    assert 0.7 < outcome.cpu_seconds < 3.0, "the kernel samples it for the limit and counts it for the result"


async def test_the_cpu_time_of_all_processes_is_counted(bounded: Isolation) -> None:
    source = """
import os, time
for _ in range(2):
    if os.fork() == 0:
        while time.process_time() < 0.3: pass
        time.sleep(60)
while time.process_time() < 0.1: pass
time.sleep(1.2)
"""
    outcome = await run(bounded, source, wall_seconds=20.0)
    assert outcome.cpu_seconds > 0.5, "also of those that were still running at the end"


async def test_a_daemon_is_ended_and_not_waited_for(jail: Isolation) -> None:
    outcome = await run(jail, DAEMON, wall_seconds=10.0)
    assert (outcome.exit_code, outcome.stdout) == (0, b"42\n")
    assert outcome.wall_seconds < 5.0


async def test_endless_output_is_cut_at_the_cap(jail: Isolation) -> None:
    outcome = await run(jail, "while True: print('x' * 1000)", output_bytes=10_000)
    assert outcome.stop_reason is StopReason.OUTPUT
    assert len(outcome.stdout) == 10_000


async def test_memory_of_several_processes_together_is_bounded(bounded: Isolation) -> None:
    source = """
import os, time
for _ in range(4):
    if os.fork() == 0:
        kept = b'x' * (30 << 20)
        time.sleep(60)
time.sleep(60)
"""
    outcome = await run(bounded, source, wall_seconds=2.0)
    assert outcome.stop_reason is StopReason.MEMORY
    assert outcome.peak_bytes is not None
    assert 50 * 2**20 < outcome.peak_bytes <= LIMITS.memory_bytes
    assert (await run(bounded, "print(1)")).stop_reason is StopReason.EXITED, "the next run starts afresh"


async def test_an_executable_may_reserve_more_than_it_uses(bounded: Isolation) -> None:
    """As the runtimes of Go and Java do: only memory that is used counts."""
    code = "import mmap; mmap.mmap(-1, 1 << 30); print('reserved')"
    spec = RunSpec(argv=("/usr/bin/python3", "-I", "-S", "-c", code), limits=LIMITS)
    assert (await bounded.run(spec)).stdout == b"reserved\n"


async def test_the_disk_of_a_run_is_bounded(namespaces: Isolation) -> None:
    source = """
import os
def fill(write):
    try:
        for number in range(10**6): write(number)
    except OSError as error: print(error.errno)
os.mkdir('many')
fill(lambda number: open(f'many/{number}', 'x').close())
for name in os.listdir('many'): os.unlink('many/' + name)
fill(lambda number: open(f'{number}', 'wb').write(bytes(2**20)))
fill(lambda _: open('/dev/shm/large', 'ab').write(bytes(2**20)))
"""
    outcome = await run(namespaces, source, wall_seconds=30.0, cpu_seconds=30.0, memory_bytes=256 * 2**20)
    assert outcome.stdout == b"28\n28\n28\n", outcome


async def test_the_system_is_read_only(jail: Isolation) -> None:
    source = """
for path in ('/usr/x', '/x', '/etc/x', '/dev/x', '/proc/self/oom_score_adj', '/proc/sys/kernel/hostname'):
    try: open(path, 'w'); print('wrote', path)
    except OSError: pass
"""
    outcome = await run(jail, source)
    assert (outcome.stdout, outcome.exit_code) == (b"", 0)


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of x86-64")
async def test_system_calls_that_a_program_has_no_need_of_are_refused(jail: Isolation) -> None:
    lines = (await run(jail, SYSTEM_CALLS)).stdout.decode().splitlines()
    assert lines[-1] == "clone3 ENOSYS ENOSYS"
    assert {line for line in lines[:-1] if not line.endswith(" EPERM")} == set()
    assert len(lines) == 22


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="another instruction set's calls exist on x86-64 only")
@pytest.mark.parametrize("code", [b"\xb8\x14\x00\x00\x00\xcd\x80\xc3", b"\xb8\x27\x00\x00\x40\x0f\x05\xc3"])
async def test_calls_of_another_instruction_set_kill(jail: Isolation, code: bytes) -> None:
    """getpid by `int 0x80`, whose numbers are those of i386, and by x32's numbers."""
    source = f"""
import ctypes, mmap
page = mmap.mmap(-1, 4096, prot=7)
page.write({code!r})
print(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))())
"""
    outcome = await run(jail, source)
    assert (outcome.signal, outcome.stdout) == (signal.SIGSYS, b"")


async def test_an_abort_is_seen_as_one(jail: Isolation) -> None:
    outcome = await jail.run(RunSpec(argv=("/bin/sh", "-c", "kill -ABRT $$"), limits=LIMITS))
    assert (outcome.exit_code, outcome.signal) == (None, signal.SIGABRT)


async def test_nothing_of_a_run_is_in_the_memory_of_the_next(jail: Isolation) -> None:
    secret = "s3cr3t" + os.urandom(8).hex()
    first = await jail.run(python(f"x = '{secret}'; print(input())", stdin=secret.encode(), limits=LIMITS))
    assert first.stdout.decode().strip() == secret
    scan = f"""
wanted = '{secret[:11]}' + '{secret[11:]}'
hits = 0
with open('/proc/self/maps') as maps, open('/proc/self/mem', 'rb', 0) as memory:
    for line in maps:
        area, rights = line.split()[:2]
        low, high = (int(part, 16) for part in area.split('-'))
        if 'r' not in rights or '[v' in line: continue
        try:
            memory.seek(low)
            hits += memory.read(high - low).count(wanted.encode())
        except (OSError, ValueError): pass
print(hits)
"""
    outcome = await run(jail, scan, memory_bytes=512 * 2**20)
    # Its own copies of the name that it looks for, and of nobody else's: none is joined to another text.
    assert 0 < int(outcome.stdout) < 8
    planted = await run(jail, scan.replace("hits = 0", f"hits = 0; others = ['{secret}' + str(n) for n in range(50)]"))
    assert int(planted.stdout) >= 50, "the scan finds what is there"


async def test_files_of_a_run_are_gone_in_the_next(jail: Isolation) -> None:
    await run(jail, "open('note', 'w').write('x'); import os; open(os.environ['TMPDIR'] + '/note', 'w').write('x')")
    outcome = await run(jail, "import os; print(os.listdir('.'), os.path.exists(os.environ['TMPDIR'] + '/note'))")
    assert outcome.stdout == b"['main.py'] False\n"


async def test_every_run_draws_its_own_random_numbers(jail: Isolation) -> None:
    drawn = {(await run(jail, "import random; print(random.random())")).stdout for _ in range(3)}
    assert len(drawn) == 3


async def test_hashes_are_the_same_in_every_run_and_slot(namespaces: Isolation) -> None:
    other = make_level("namespaces")
    await other.start()
    hashes = {(await run(level, "print(hash('a'))")).stdout for level in (namespaces, other)}
    await other.close()
    assert len(hashes) == 1


async def test_runs_leak_nothing_into_the_runner_and_the_zygote(namespaces: RunnerIsolation) -> None:
    await run(namespaces, "print(1)")
    before = footprint()
    for _ in range(30):
        await run(namespaces, DAEMON)
        await run(namespaces, "1 / 0")
    assert footprint() == before


def footprint() -> list[tuple[int, int, int]]:
    """(descriptors, children, mounts) of this process's helpers."""
    found = []
    for process in psutil.Process().children(recursive=True):
        mounts = Path(f"/proc/{process.pid}/mounts").read_text(encoding="utf-8").count("\n")
        found.append((process.num_fds(), len(process.children()), mounts))
    return sorted(found)


async def test_a_killed_runner_takes_the_program_and_the_zygote_with_it(jail: Isolation) -> None:
    task = asyncio.create_task(run(jail, "import time; print('up', flush=True); time.sleep(60)", wall_seconds=60.0))
    helpers = psutil.Process().children(recursive=True)
    while len(helpers) < 3:
        await asyncio.sleep(0.01)
        helpers = psutil.Process().children(recursive=True)
    runner = next(process for process in helpers if process.ppid() == os.getpid())
    runner.kill()
    with pytest.raises(RewardError, match="runner failed"):
        await task
    _, alive = await asyncio.to_thread(psutil.wait_procs, helpers, timeout=5)
    assert not alive
    assert (await run(jail, "print(1)")).stdout == b"1\n", "another runner takes its place"


async def test_a_start_and_a_run_leave_no_folder_behind() -> None:
    before = set(os.listdir("/tmp"))
    level = make_level("namespaces")
    await level.start()
    await run(level, "print(1)")
    await level.close()
    assert not [name for name in set(os.listdir("/tmp")) - before if name.startswith("prorl-root")]


async def test_closing_leaves_no_control_group(namespaces: RunnerIsolation) -> None:
    ours = groups_of([child.pid for child in psutil.Process().children()])
    if not ours:
        pytest.skip("no control groups")
    await namespaces.close()
    assert not [group for group in ours if group.exists()]


def test_a_group_left_by_a_killed_runner_with_our_process_id_does_not_bound_our_runs() -> None:
    """Process ids come again: its limits would be below ours, or in version 2 its folder in the way."""
    try:
        left = SlotGroup(str(os.getpid()))
    except NoControlGroupError as error:
        pytest.skip(str(error))
    left.prepare(memory_bytes=32 * 2**20, processes=2)
    group = SlotGroup(str(os.getpid()))
    try:
        group.prepare(memory_bytes=64 * 2**20, processes=8)
    finally:
        group.remove()
        left.remove()


def groups_of(pids: list[int]) -> list[Path]:
    return [group for pid in pids for group in Path("/sys/fs/cgroup").rglob(f"prorl-sandbox-{pid}")]


async def test_a_clone_that_was_kept_ready_and_died_costs_the_next_program_nothing(namespaces: RunnerIsolation) -> None:
    """It has become no program yet, so nothing is lost with it."""
    assert (await run(namespaces, "print(1)")).stdout == b"1\n"
    runner = psutil.Process(namespaces.facts["pid"])
    zygote, *clones = sorted(runner.children(), key=lambda process: process.pid)
    assert len(clones) == 1, "made while the program ran"
    descriptor = os.pidfd_open(clones[0].pid)
    clones[0].kill()
    assert select.select([descriptor], [], [], 5.0)[0], "it has ended"
    os.close(descriptor)
    outcome = await run(namespaces, "print(2)")
    assert (outcome.stdout, outcome.exit_code) == (b"2\n", 0)
    assert zygote.is_running()


async def test_what_waits_for_the_next_program_takes_no_process_from_this_one(namespaces: RunnerIsolation) -> None:
    source = """
import os, time
count = 1
while True:
    try: pid = os.fork()
    except OSError: break
    if pid == 0: time.sleep(60)
    count += 1
print(count)
"""
    for _ in range(2):
        assert (await run(namespaces, source, processes=5)).stdout == b"5\n"
