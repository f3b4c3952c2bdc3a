"""The runner without root: no user of its own for programs, everything else as promised."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import prorl_reward_sandbox
from prorl_reward_sandbox import frames
from prorl_reward_sandbox.execution.process.run_request import FAILURE

INTERPRETER = "/usr/bin/python3"
NOBODY_ELSE = 65010
"""A user id that nothing else on the machine runs as."""
pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not Path(INTERPRETER).exists(), reason="needs root to become nobody, and a system interpreter"
)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[socket.socket]:
    package = Path(prorl_reward_sandbox.__file__).parent
    code = tmp_path / "code"
    shutil.copytree(package, code / package.name)
    # Also what pytest puts between the temporary directory and this folder, which with several workers is one more.
    own = [folder for folder in tmp_path.parents if Path(tempfile.gettempdir()) in folder.parents]
    for folder in (*own, tmp_path, code):
        folder.chmod(0o755)
    near, far = socket.socketpair()
    near.settimeout(20)
    our_descriptors, descriptors = socket.socketpair()
    with near, far, our_descriptors, descriptors:
        command = [INTERPRETER, "-m", "prorl_reward_sandbox.execution.levels.runner"]
        command += ["--level=process", f"--fd={far.fileno()}", f"--descriptors-fd={descriptors.fileno()}"]
        environment = {"PYTHONPATH": str(code)}
        runner = subprocess.Popen(
            command,
            env=environment,
            cwd="/",
            pass_fds=[far.fileno(), descriptors.fileno()],
            user=NOBODY_ELSE,
            group=NOBODY_ELSE,
            extra_groups=[],
        )
        far.close()
        hello = frames.receive(near)
        assert hello is not None
        assert hello.header["user_id"] is None
        yield near
        near.close()
        assert runner.wait(timeout=10) == 0


def ask(connection: socket.socket, source: str, *, interpreter: str = INTERPRETER, **limits: Any) -> None:
    standard = {"wall_seconds": 1.0, "cpu_seconds": 5.0, "memory_bytes": 2**29, "processes": 8}
    header = {
        "argv": [interpreter, "-I", "-S", "main.py"],
        "runtime": "exec",
        "files": ["main.py"],
        "executables": [],
        "kept": [],
        "libraries": [],
        "has_conversation": False,
        "limits": {**standard, "output_bytes": 1000, "file_bytes": 1000, **limits},
    }
    connection.sendall(frames.encode(header, [b"", source.encode()]))


def run(connection: socket.socket, source: str, **more: Any) -> frames.Frame:
    ask(connection, source, **more)
    reply = frames.receive(connection)
    assert reply is not None
    return reply


def test_a_program_runs_and_says_how_it_ended(connection: socket.socket) -> None:
    reply = run(connection, "import os; print(os.getuid()); raise SystemExit(3)")
    assert reply.blobs[0] == f"{NOBODY_ELSE}\n".encode()
    assert (reply.header["stop_reason"], reply.header["exit_code"], reply.header["signal"]) == ("exited", 3, None)


def test_forks_are_bounded_and_ended(connection: socket.socket) -> None:
    source = "import os, time\nfor _ in range(100):\n  if not os.fork(): os.setsid(); time.sleep(99)"
    reply = run(connection, source)
    assert b"BlockingIOError" in reply.blobs[1]
    assert reply.header["wall_seconds"] < 1.0
    left = [name for name in os.listdir("/proc") if name.isdigit() and _user_of(name) == NOBODY_ELSE]
    assert len(left) == 1, "the runner alone"


def test_a_program_that_cannot_be_started_is_our_failure(connection: socket.socket) -> None:
    assert "FileNotFoundError" in run(connection, "", interpreter="/nowhere/python").header[FAILURE]
    assert run(connection, "print(1)").blobs[0] == b"1\n"


def test_a_service_that_is_gone_without_reading_the_answer_is_an_end_like_any_other(connection: socket.socket) -> None:
    ask(connection, "print(1)")
    assert connection.recv(1, socket.MSG_PEEK), "the answer is there, and the fixture closes on it"


def _user_of(pid: str) -> int:
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return -1
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("Uid:")))
