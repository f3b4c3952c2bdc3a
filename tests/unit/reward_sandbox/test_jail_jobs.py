"""What a clone of the zygote is told: worked out once, and read back whole."""

from __future__ import annotations

import os
import resource
import threading

import pytest

from prorl_reward_sandbox.execution.jail.jobs import encode_job, plan_job, read_job
from prorl_reward_sandbox.execution.process.run_request import Limits, Request

LIMITS = Limits(
    wall_seconds=5.0,
    cpu_seconds=1.5,
    memory_bytes=100 * 2**20,
    processes=7,
    output_bytes=1000,
    file_bytes=30 * 2**20,
)


def request(runtime: str = "python", **fields: object) -> Request:
    given: dict[str, object] = {
        "argv": ("main.py", "x"),
        "runtime": runtime,
        "files": {"main.py": b"print(1)", "tool": bytes(2**20)},
        "executables": frozenset({"tool"}),
        "kept": (),
        "stdin": b"",
        "limits": LIMITS,
        "has_conversation": False,
    }
    return Request(**{**given, **fields})  # type: ignore[arg-type]


def limit(kind: int, **fields: object) -> tuple[int, int]:
    given: dict[str, object] = {"request": request(), "folder": "", "memory_is_bounded": True, "other_tasks": 0}
    job = plan_job(**{**given, **fields})  # type: ignore[arg-type]
    return next((soft, hard) for each, soft, hard in job.limits if each == kind)


def test_a_job_is_read_back_whole_however_the_pipe_cuts_it() -> None:
    job = plan_job(request(), "", memory_is_bounded=True, other_tasks=0)
    read_end, write_end = os.pipe()
    data = encode_job(job)
    writer = threading.Thread(
        target=lambda: [os.write(write_end, data[at : at + 9999]) for at in range(0, len(data), 9999)]
    )
    writer.start()
    assert read_job(read_end) == job
    writer.join()
    os.close(write_end)
    assert read_job(read_end) is None, "nobody is there any more"
    os.close(read_end)


def test_a_job_that_is_cut_off_is_none() -> None:
    read_end, write_end = os.pipe()
    os.write(
        write_end, encode_job(plan_job(request(files={"main.py": b""}), "", memory_is_bounded=True, other_tasks=0))[:-1]
    )
    os.close(write_end)
    assert read_job(read_end) is None
    os.close(read_end)


def test_a_run_gets_its_own_file_system_unless_its_folder_is_there() -> None:
    inside = plan_job(request(kept=("tool",)), "", memory_is_bounded=True, other_tasks=0)
    # Room for four files of the largest size but not for more than memory, and twice what it is given.
    assert inside.box == b"size=%d,nr_inodes=16384,mode=755" % (100 * 2**20 + 2 * (2**20 + 8))
    assert [(name, len(content), oct(mode)) for name, content, mode in inside.files] == [
        ("main.py", 8, "0o600"),
        ("tool", 2**20, "0o700"),
    ]
    assert (inside.folder, inside.hands_over) == ("/sandbox/work", True)
    outside = plan_job(request(kept=("tool",)), "/tmp/x", memory_is_bounded=True, other_tasks=0)
    assert (outside.folder, outside.box, outside.files, outside.hands_over) == ("/tmp/x", b"", (), False)


def test_only_a_python_program_has_a_source() -> None:
    assert plan_job(request(), "", memory_is_bounded=True, other_tasks=0).source == b"print(1)"
    assert plan_job(request("native"), "", memory_is_bounded=True, other_tasks=0).source is None


@pytest.mark.parametrize(
    ("fields", "processes"),
    [
        ({}, 7),
        ({"request": request("native")}, 8),  # the first process of the namespace waits for the program
        ({"request": request("native"), "folder": "/tmp/x"}, 7),
        ({"other_tasks": 5}, 12),
    ],
)
def test_processes_are_counted_as_the_kernel_counts_them(fields: dict[str, object], processes: int) -> None:
    assert limit(resource.RLIMIT_NPROC, **fields) == (processes, processes)


def test_cpu_time_is_rounded_up_and_ends_by_force_a_second_later() -> None:
    assert limit(resource.RLIMIT_CPU) == (2, 3)


def test_executables_may_reserve_memory_where_use_is_bounded() -> None:
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    bounded = (LIMITS.memory_bytes, LIMITS.memory_bytes)
    assert limit(resource.RLIMIT_AS) == bounded, "a Python's interpreter reserves little"
    assert limit(resource.RLIMIT_AS, request=request("native")) == unlimited
    assert limit(resource.RLIMIT_AS, request=request("native"), memory_is_bounded=False) == bounded
