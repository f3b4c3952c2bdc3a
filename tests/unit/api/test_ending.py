"""How a component ends: the code says whether another start can help, the last words what to do."""

from __future__ import annotations

import errno
import logging
from pathlib import Path

import pytest

from prorl_api.errors import CheckpointError, ExitCode, Fault, RewardError, SpecError
from prorl_api.process.ending import generic_code, in_words, say_end

SPEC = SpecError([Fault(path="spec.model.path", got="nothing", want="a folder")])
FULL = OSError(errno.ENOSPC, "No space left on device", "/dev/shm/weights")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SPEC, ExitCode.BAD_SPEC),
        (ModuleNotFoundError("No module named 'vllm'", name="vllm"), ExitCode.BAD_SPEC),
        (CheckpointError("cannot write"), ExitCode.STORAGE),
        (FULL, ExitCode.STORAGE),
        (OSError(errno.EROFS, "Read-only file system"), ExitCode.STORAGE),
        (OSError(errno.EIO, "Input/output error"), ExitCode.FAILED),
        (ImportError("libnuma.so.1: cannot open shared object file"), ExitCode.FAILED),
        (RewardError("the judge failed"), ExitCode.FAILED),
        (RuntimeError("anything"), ExitCode.FAILED),
        (ExceptionGroup("a step", [RuntimeError("x"), ExceptionGroup("inside", [FULL])]), ExitCode.STORAGE),
    ],
)
def test_the_code_says_whether_another_start_can_help(error: Exception, code: ExitCode) -> None:
    assert generic_code(error) is code


def test_no_room_says_where() -> None:
    assert "cannot write /dev/shm/weights: No space left on device; make room" in in_words(FULL, "prorl_trainer")


@pytest.fixture
def last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "termination-log"
    file.touch()
    monkeypatch.setenv("PRORL_TERMINATION_LOG", str(file))
    return file


def test_the_platform_is_told_what_is_wrong_and_what_to_do(last: Path, caplog: pytest.LogCaptureFixture) -> None:
    say_end(SPEC, "prorl_trainer")
    assert "spec.model.path: got nothing; a folder" in last.read_text()
    assert "spec.model.path: got nothing; a folder" in caplog.text
    assert "Traceback" not in caplog.text


def test_what_nobody_foresaw_keeps_its_traceback_and_the_log_speaks(
    last: Path, caplog: pytest.LogCaptureFixture
) -> None:
    try:
        raise RuntimeError("out of the blue")
    except RuntimeError as error:
        say_end(error, "prorl_trainer", logging.getLogger("test"))
    assert last.read_text() == ""
    assert "Traceback" in caplog.text
    assert "out of the blue" in caplog.text
