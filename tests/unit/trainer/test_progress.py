"""Signs of life come of work alone, and the watchdog ends a learner that gives none."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest

from prorl_api.errors import ExitCode
from prorl_trainer.progress import beats_while_writing, with_beats

LOOK_SECONDS = 0.02


def test_every_item_comes_with_a_beat() -> None:
    beats: list[int] = []
    items = with_beats(iter("abc"), lambda: beats.append(1))
    assert ["".join(item) + str(len(beats)) for item in items] == ["a0", "b1", "c2"]
    assert len(beats) == 3


def test_a_file_that_grows_gives_beats(tmp_path: Path) -> None:
    beaten = threading.Event()
    with beats_while_writing(tmp_path, beaten.set, LOOK_SECONDS):
        (tmp_path / "deep").mkdir()
        with (tmp_path / "deep" / "file").open("wb") as file:
            for _ in range(3):
                beaten.clear()
                file.write(b"more")
                file.flush()
                assert beaten.wait(10)


def test_a_folder_in_which_nothing_happens_gives_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"as it was")
    looks = threading.Semaphore(0)
    beats: list[int] = []

    class Folder(type(tmp_path)):  # type: ignore[misc]  # counts the looks, so that the test needs no pause
        def __fspath__(self) -> str:
            looks.release()
            return str(tmp_path)

    with beats_while_writing(Folder(tmp_path), lambda: beats.append(1), LOOK_SECONDS):
        for _ in range(5):
            assert looks.acquire(timeout=10)
    assert beats == []


def test_a_folder_that_is_gone_when_its_turn_comes_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint's is renamed once it is whole, and old ones are removed: at any moment of a look."""
    real, looked = os.scandir, threading.Event()
    (tmp_path / "partial").mkdir()

    def scandir(folder: Any) -> Any:
        if os.path.basename(folder) == "partial":
            os.rename(folder, tmp_path / "whole")
            looked.set()
        return real(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    with beats_while_writing(tmp_path, lambda: None, LOOK_SECONDS):
        assert looked.is_set()


LEARNER = """
import sys, time
from pathlib import Path
from prorl_api.run_folder import RunFolder
from prorl_trainer.progress import beats_while_writing
from prorl_trainer.service.shared_status import SharedStatus
from prorl_trainer.storage.fence import Fence
from prorl_trainer.storage.lines import LineFile
from prorl_trainer.watchdog import watch_progress

run = RunFolder(Path(sys.argv[1]))
fence = Fence(run, 1)
fence.enter()
shared_status = SharedStatus(1, 10, LineFile(run.metrics))
watch_progress(shared_status, fence, lambda: 1.0)
with beats_while_writing(run.attempt(1), shared_status.beat, 0.1), (run.attempt(1) / "big").open("wb") as file:
    for number in range(40):
        if sys.argv[2] == "writes":
            file.write(b"block")
            file.flush()
        time.sleep(0.1)
"""


@pytest.mark.parametrize(("does", "code"), [("writes", ExitCode.OK), ("hangs", ExitCode.FAILED)])
def test_a_checkpoint_may_take_longer_than_the_limit_and_a_disk_that_hangs_may_not(
    tmp_path: Path, does: str, code: ExitCode
) -> None:
    """In a process of its own, which the watchdog ends: four seconds in one call, with a limit of one."""
    command = [sys.executable, "-c", textwrap.dedent(LEARNER), str(tmp_path), does]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == code, ended.stderr
    if code is ExitCode.FAILED:
        assert "no progress for" in ended.stderr
        assert "in <module>" in ended.stderr, "the stack that hangs is in the log"
