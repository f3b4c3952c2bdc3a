"""Files that survive crashes and concurrent writers: reset records, locks, shared memory, series."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import psutil
import pytest

from prorl_api.errors import ExitCode
from prorl_api.resets import Evidence, ResetCondition, ResetRecord
from prorl_api.run_folder import RunFolder
from prorl_api.spec.values import OptimizerAction, ResetSource
from prorl_api.wire.learner import LearnerPhase, LearnerStatus, MetricsSeries
from prorl_cli.errors import RunFolderError, StorageError, exit_code_of, storage_error
from prorl_cli.local.files import METRICS_KEYS, read_lines, tail, write_atomically
from prorl_cli.local.folder import begin, existing, is_driven, locked
from prorl_cli.local.leftovers import ProcessRecord, end_leftovers, write_records
from prorl_cli.local.reset_files import ResetFiles
from prorl_cli.local.shared_memory import held
from prorl_control.resets.series import Series


def make_record(number: int = 1) -> ResetRecord:
    evidence = Evidence(trigger="t", metric="kl", rule="r", steps=(1,), values=(1.0,), reason="why")
    return ResetRecord(
        name=f"demo-reset-{number}",
        number=number,
        uid=f"u{number}",
        created=0.0,
        attempt=1,
        evidence_step=1,
        evidence=evidence,
        source=ResetSource.CURRENT,
        optimizer=OptimizerAction.CLEAR,
        condition=ResetCondition.PENDING,
    )


def test_reset_numbers_never_decrease_and_records_are_read_back(tmp_path: Path) -> None:
    files = ResetFiles(RunFolder(tmp_path))
    assert files.read() == ()
    assert files.create(make_record).number == 1
    assert files.create(make_record).number == 2
    changed = files.update("demo-reset-1", lambda record: record.model_copy(update={"message": "seen"}))
    assert files.read() == (changed, make_record(2))


def test_an_unknown_reset_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    files = ResetFiles(RunFolder(tmp_path))
    files.create(make_record)
    with pytest.raises(RunFolderError, match="this run has demo-reset-1"):
        files.get("demo-reset-7")


def test_a_damaged_record_is_an_error_that_names_it(tmp_path: Path) -> None:
    files = ResetFiles(RunFolder(tmp_path))
    files.create(make_record)
    (tmp_path / "resets" / "demo-reset-1.json").write_text("{")
    with pytest.raises(RunFolderError, match=r"demo-reset-1\.json is damaged"):
        files.read()


def test_an_exclusive_write_never_replaces(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, "one")
    with pytest.raises(FileExistsError):
        write_atomically(path, "two", exclusive=True)
    assert path.read_text() == "one"
    assert os.listdir(tmp_path) == ["file"]


def test_a_run_folder_is_driven_by_one_process_at_a_time(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    with locked(run):
        assert is_driven(run)
        with pytest.raises(RunFolderError, match=f"process {os.getpid()}"), locked(run):
            pass
    assert not is_driven(run)


def test_a_folder_with_other_things_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(RunFolderError, match="holds no run"), locked(RunFolder(tmp_path)):
        pass
    with pytest.raises(RunFolderError, match="is no run folder"):
        existing(tmp_path)


def test_a_first_start_that_was_killed_half_way_can_be_repeated(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    (tmp_path / "job.yaml").touch()
    (tmp_path / ".run.json.x1").touch()
    with locked(run):
        identity = begin(run, "text", manifest_folder=tmp_path, model=None)
    assert existing(tmp_path) == run
    assert json.loads(run.identity.read_text())["uid"] == identity.uid


def test_a_folder_that_cannot_be_made_is_a_storage_error_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(StorageError, match="choose another place with --run-dir") as caught,
        locked(RunFolder(tmp_path / "file" / "run")),
    ):
        pass
    assert exit_code_of(caught.value) == ExitCode.STORAGE


@pytest.mark.parametrize(
    ("number", "remedy"), [(errno.ENOSPC, "make room"), (errno.EROFS, "--run-dir"), (errno.EACCES, "permissions")]
)
def test_a_failed_write_names_place_and_remedy(number: int, remedy: str) -> None:
    error = storage_error(OSError(number, os.strerror(number), "/runs/demo/status.json"), Path("/runs/demo"))
    assert "/runs/demo/status.json" in str(error)
    assert remedy in str(error)


def test_shared_memory_is_private_freed_and_cleaned_of_abandoned_folders(tmp_path: Path) -> None:
    (tmp_path / "prorl-dead").mkdir()
    (tmp_path / "prorl-dead.lock").touch()
    with held("one", tmp_path) as one, held("two", tmp_path) as two:
        assert one.stat().st_mode & 0o777 == 0o700
        assert sorted(os.listdir(tmp_path)) == ["prorl-one", "prorl-one.lock", "prorl-two", "prorl-two.lock"]
        assert two.is_dir()
    assert os.listdir(tmp_path) == []


def test_leftovers_are_told_from_strangers_by_their_start_time(tmp_path: Path) -> None:
    me = psutil.Process()
    path = tmp_path / "processes.json"
    write_records(path, [ProcessRecord(name="rollout-0", pid=me.pid, create_time=me.create_time() - 3600)])
    assert end_leftovers(path) == []
    assert end_leftovers(tmp_path / "missing.json") == []


def test_torn_lines_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert read_lines(path, *METRICS_KEYS) == []
    path.write_text('{"step": 1, "attempt": 1}\n[]\n{"step": 2, "att')
    assert read_lines(path, *METRICS_KEYS) == [{"step": 1, "attempt": 1}]
    assert tail(path, 1) == ['{"step": 2, "att']


def test_a_new_attempt_forgets_what_was_done_after_its_checkpoint() -> None:
    series = Series()
    first = LearnerStatus(attempt=1, phase=LearnerPhase.SAMPLING, phase_since=0, heartbeat=0, step=3, total_steps=9)
    series.begin_attempt(first)
    steps = tuple({"step": step, "attempt": 1} for step in (0, 1, 2, 3))
    series.take((1, -1), MetricsSeries(steps=steps), 1.0)
    assert series.next_question == (1, 3)
    series.begin_attempt(first.model_copy(update={"attempt": 2, "resumed_from_step": 2}))
    assert series.next_question == (2, 2)
    series.take((1, 3), MetricsSeries(steps=({"step": 4, "attempt": 1},)), 2.0)
    assert series.last_step == 2
