"""Several people on one machine: what is no secret follows the umask, and what cannot be read is said to be so."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from prorl_api.run_folder import RunFolder
from prorl_api.status import JobStatus
from prorl_cli.data.importing import import_files
from prorl_cli.local.files import write_atomically
from prorl_cli.local.folder import begin
from prorl_cli.main import app
from tests.unit.cli.test_commands import MANIFEST

NOBODY = 65534


def prorl(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@contextmanager
def umask(value: int) -> Iterator[None]:
    before = os.umask(value)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def as_another_user() -> Iterator[None]:
    """Root reads everything: look through another user's eyes, in which a mode of 0 means what it says."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def run() -> Iterator[RunFolder]:
    """A run with one reset that anyone may look at."""
    with tempfile.TemporaryDirectory() as folder, umask(0o022):  # pytest's own folders are their owner's alone
        Path(folder).chmod(0o755)
        made = RunFolder(Path(folder) / "run")
        made.create()
        made.path.chmod(0o755)
        begin(made, MANIFEST, manifest_folder=Path(folder), model=None)
        write_atomically(made.status, JobStatus(step=3, total_steps=9, attempt=2, updated=1.0).model_dump_json())
        # Once by oneself first: the other user may not be allowed to read the modules that commands import.
        for command in (("resets", "request"), ("resets", "list"), ("status",), ("report",)):
            assert prorl(*command, made.path).exit_code == 0
        yield made


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(("mask", "wanted"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_files_without_answers_follow_the_umask(tmp_path: Path, mask: int, wanted: int) -> None:
    run = RunFolder(tmp_path / "run")
    with umask(mask):
        run.create()
        begin(run, MANIFEST, manifest_folder=tmp_path, model=None)
        write_atomically(run.status, "{}")
        write_atomically(run.status, "{ }")
        assert prorl("resets", "request", run.path).exit_code == 0
        source = tmp_path / "set.json"
        source.write_text('[{"problem": "1 + 1?", "answer": "2"}]')
        import_files("deepscaler", [source], tmp_path / "rows.jsonl")
    written = [run.manifest, run.identity, run.status, run.resets / "demo-reset-1.json", tmp_path / "rows.jsonl"]
    assert {path.name: mode(path) for path in written} == {path.name: wanted for path in written}


def test_another_user_sees_where_a_run_stands(run: RunFolder) -> None:
    with as_another_user():
        assert "3/9" in prorl("status", run.path).output
        assert "demo-reset-1  approved" in prorl("resets", "list", run.path).output


@pytest.mark.parametrize(
    ("hidden", "commands"),
    [
        ("", [("status",), ("resets", "list"), ("resets", "request"), ("report",)]),
        ("status.json", [("status",), ("resets", "request")]),
        ("resets", [("status",), ("resets", "list")]),
        ("resets/demo-reset-1.json", [("status",), ("resets", "list")]),
    ],
    ids=["the folder", "the status", "the folder of resets", "a reset"],
)
def test_what_cannot_be_read_is_said_to_be_so(run: RunFolder, hidden: str, commands: list[tuple[str, ...]]) -> None:
    place = run.path / hidden
    before = mode(place)
    place.chmod(0)
    try:
        with as_another_user():
            results = {command: prorl(*command, run.path) for command in commands}
    finally:
        place.chmod(before)
    for command, result in results.items():
        assert result.exit_code == 1, (command, result.output)
        assert isinstance(result.exception, SystemExit), (command, result.exception)
        assert f"cannot read {place}" in result.output, command
        assert f"it belongs to user {place.owner()}, who can show it with `chmod a+rX`" in result.output, command


def test_series_that_cannot_be_read_are_no_empty_series(run: RunFolder) -> None:
    run.metrics.write_text('{"step": 1, "attempt": 1, "kl": 9.0}\n')
    run.metrics.chmod(0)
    with as_another_user():
        result = prorl("resets", "replay", run.path, run.manifest)
    assert result.exit_code == 1
    assert f"cannot read {run.metrics}" in result.output


def test_the_report_notes_what_it_could_not_read(run: RunFolder) -> None:
    from prorl_cli.report.loading import load

    run.status.chmod(0)
    with as_another_user():
        notes = load(run).notes
    assert "status.json could not be read: Permission denied." in notes
    assert not any("samples" in note for note in notes)


def test_the_report_notes_samples_that_are_their_owners_alone(run: RunFolder) -> None:
    from prorl_cli.report.loading import load
    from prorl_cli.watch.source import revision_of

    run.samples.mkdir(mode=0o700)
    with as_another_user():
        notes = load(run).notes
        assert revision_of(run, is_driven=None)
    assert any(note.startswith("samples/ could not be read") for note in notes)


def test_a_damaged_status_is_no_run_that_never_started(run: RunFolder) -> None:
    run.status.write_text("{")
    assert "status.json is damaged" in prorl("status", run.path).output
