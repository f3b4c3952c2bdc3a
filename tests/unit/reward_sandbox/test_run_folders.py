"""Folders of runs: removed by descriptor whatever is in them, after the answer, and also after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from prorl_reward_sandbox.execution.process.folders import RunFolders
from prorl_reward_sandbox.execution.process.removal import UnfinishedError, empty_folder, remove_entry
from prorl_reward_sandbox.execution.process.run_request import PYTHON, Limits, Request

LIMITS = Limits(wall_seconds=1, cpu_seconds=1, memory_bytes=1, processes=1, output_bytes=1, file_bytes=1)
REQUEST = Request(
    argv=("main.py",), runtime=PYTHON, files={"main.py": b"print()"}, executables=frozenset(), kept=(), stdin=b"",
    limits=LIMITS, has_conversation=False,
)  # fmt: skip


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def folders(temporary: Path) -> Iterator[RunFolders]:
    made = RunFolders()
    yield made
    made.close()
    assert list(temporary.glob("prorl-run-*")) == []


def opened(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY)


def deep(path: str, levels: int) -> None:
    here = os.open(path, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)


def test_a_link_is_removed_and_what_it_points_to_is_not(folders: RunFolders, temporary: Path) -> None:
    kept = temporary / "kept"
    kept.mkdir()
    (kept / "file").write_text("precious")
    folder = folders.make(REQUEST, None)
    os.symlink(kept, os.path.join(folder.path, "link"))
    os.mkdir(os.path.join(folder.path, "inner"))
    os.symlink(kept / "file", os.path.join(folder.path, "inner", "link"))
    folders.discard(folder)
    folders.tidy()
    assert not os.path.lexists(folder.path)
    assert (kept / "file").read_text() == "precious"


def test_a_folder_that_was_exchanged_for_a_link_takes_nothing_with_it(folders: RunFolders, temporary: Path) -> None:
    kept = temporary / "kept"
    kept.mkdir()
    (kept / "file").write_text("precious")
    folder = folders.make(REQUEST, None)
    moved = folder.path + "-moved"
    os.rename(folder.path, moved)
    os.symlink(kept, folder.path)
    folders.discard(folder)
    folders.tidy()
    assert not os.path.lexists(folder.path)
    assert (kept / "file").read_text() == "precious"
    assert os.listdir(moved) == []
    os.rmdir(moved)


def test_a_home_that_was_exchanged_is_left_alone_and_made_anew(temporary: Path) -> None:
    folders = RunFolders()
    first = folders.make(REQUEST, None)
    folders.discard(first)
    folders.tidy()
    home = os.path.dirname(first.path)
    os.rename(home, home + "-moved")
    os.symlink("/etc", home)
    second = folders.make(REQUEST, None)
    assert os.path.realpath(second.path).startswith(str(temporary))
    assert os.listdir(second.path) == ["main.py"]
    folders.discard(second)
    folders.close()


def test_what_takes_long_is_left_to_a_child(folders: RunFolders) -> None:
    folder = folders.make(REQUEST, None)
    deep(folder.path, 4000)
    folders.discard(folder)
    began = time.monotonic()
    folders.tidy()
    assert time.monotonic() - began < 2.0
    assert len(folders.helpers) == 1
    next_one = folders.make(REQUEST, None)
    assert os.listdir(next_one.path) == ["main.py"]
    folders.discard(next_one)
    give_up = time.monotonic() + 240
    while folders.helpers and time.monotonic() < give_up:
        folders.tidy()
        time.sleep(0.05)
    folders.tidy()
    assert os.listdir(os.path.dirname(folder.path)) == []


def test_a_deadline_interrupts_and_the_rest_can_be_removed_later(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    deep(str(top), 300)
    for number in range(3000):
        (top / str(number)).touch()
    for number in range(1500):
        (top / f"folder-{number}" / "inner").mkdir(parents=True)
    descriptor = opened(top)
    with pytest.raises(UnfinishedError):
        empty_folder(descriptor, deadline=time.monotonic() - 1)
    empty_folder(descriptor)
    os.close(descriptor)
    assert os.listdir(top) == []


@pytest.mark.parametrize("exists", ["folder", "link", "file", ""])
def test_whatever_stands_under_the_name_is_removed(tmp_path: Path, exists: str) -> None:
    match exists:
        case "folder":
            (tmp_path / "1").mkdir()
        case "link":
            (tmp_path / "1").symlink_to("/etc")
        case "file":
            (tmp_path / "1").touch()
    descriptor = opened(tmp_path)
    remove_entry("1", descriptor)
    os.close(descriptor)
    assert not os.path.lexists(tmp_path / "1")
    assert os.path.isdir("/etc")


def test_trouble_is_told_and_ends_nothing(folders: RunFolders, capsys: pytest.CaptureFixture[str]) -> None:
    folder = folders.make(REQUEST, None)
    os.rename(folder.path, folder.path + "-moved")
    os.mkdir(folder.path)
    Path(folder.path, "not-empty").touch()
    folders.discard(folder)
    folders.tidy()
    assert "could not be removed" in capsys.readouterr().err
    for name in ("not-empty",):
        Path(folder.path, name).unlink()
    os.rmdir(folder.path)
    os.rmdir(folder.path + "-moved")


def test_what_a_killed_runner_left_is_removed_by_the_next(temporary: Path) -> None:
    source = f"""
import os, tempfile, time
tempfile.tempdir = {str(temporary)!r}
from tests.unit.reward_sandbox.test_run_folders import REQUEST, RunFolders, deep
folders = RunFolders()
folder = folders.make(REQUEST, None)
os.makedirs(folder.path + "/a/b")
print(folder.path, flush=True)
time.sleep(60)
"""
    repository = str(Path(__file__).parents[3])
    with subprocess.Popen([sys.executable, "-c", source], cwd=repository, stdout=subprocess.PIPE, text=True) as runner:
        assert runner.stdout is not None
        left = runner.stdout.readline().strip()
        living = RunFolders()  # while the other lives, its folder is its own
        assert os.path.isdir(left)
        living.close()
        runner.send_signal(signal.SIGKILL)
        runner.wait()
    RunFolders().close()
    assert not os.path.exists(os.path.dirname(left))
