"""Checkpoints, `CURRENT`, the fence: what a kill, a full disk or an older attempt can and cannot do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from prorl_api.errors import CheckpointError, StaleAttemptError
from prorl_api.run_folder import RunFolder
from prorl_trainer.storage.checkpoints import BestPolicy, CheckpointStore, Current
from prorl_trainer.storage.durable import write_file
from prorl_trainer.storage.fence import Fence
from tests.unit.trainer.trainer_builders import begin_attempt, make_state


def save_engine(folder: Path) -> None:
    (folder / "weights").write_text("weights")


def store_of(folder: Path, attempt: int = 1) -> CheckpointStore:
    return CheckpointStore(begin_attempt(folder, attempt))


def test_a_checkpoint_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    assert store.current() is None
    best = BestPolicy(step=2, accuracy=1 / 3, digest="d" * 64)
    state = make_state(best=best, applied_resets=("a", "b"), unrecorded={"kl": 0.1 + 0.2})
    written = store.write(state, save_engine)
    assert store.current() == written == Current(attempt=1, step=4)
    assert store.read_state(written) == state
    assert (store.engine_folder(written) / "weights").read_text() == "weights"


def test_current_never_moves_back(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    store.write(make_state(step=6), save_engine)
    with pytest.raises(StaleAttemptError, match="not moving back"):
        store.write(make_state(step=5), save_engine)
    assert store.current() == Current(attempt=1, step=6)


def test_a_later_attempt_moves_current_even_to_an_earlier_step(tmp_path: Path) -> None:
    store_of(tmp_path, 1).write(make_state(step=6), save_engine)
    second = store_of(tmp_path, 2)
    second.write(make_state(step=5, attempt=2), save_engine)
    assert second.current() == Current(attempt=2, step=5)


def test_an_overtaken_attempt_writes_nothing(tmp_path: Path) -> None:
    first = store_of(tmp_path, 1)
    kept = first.write(make_state(step=2), save_engine)
    begin_attempt(tmp_path, 2)
    with pytest.raises(StaleAttemptError, match="attempt 2 has begun"):
        first.write(make_state(step=4), save_engine)
    with pytest.raises(StaleAttemptError):
        first.prune(1, kept)
    assert [path.name for path in RunFolder(tmp_path).attempt(1).glob("checkpoints/*")] == ["step-2"]


def test_an_attempt_that_is_overtaken_while_it_writes_does_not_move_current(tmp_path: Path) -> None:
    first = store_of(tmp_path, 1)
    kept = first.write(make_state(step=2), save_engine)

    def overtaken(folder: Path) -> None:
        save_engine(folder)
        begin_attempt(tmp_path, 2)

    with pytest.raises(StaleAttemptError):
        first.write(make_state(step=4), overtaken)
    assert first.current() == kept


def test_an_attempt_begins_once(tmp_path: Path) -> None:
    begin_attempt(tmp_path, 2)
    with pytest.raises(StaleAttemptError, match="has begun before"):
        begin_attempt(tmp_path, 2)
    with pytest.raises(StaleAttemptError, match="is over"):
        begin_attempt(tmp_path, 1)
    Fence(RunFolder(tmp_path), 2).check()


def test_a_torn_checkpoint_is_never_loaded_and_is_removed_later(tmp_path: Path) -> None:
    first = store_of(tmp_path, 1)
    whole = first.write(make_state(step=2), save_engine)
    torn = RunFolder(tmp_path).attempt(1) / "checkpoints" / "step-4.partial"
    torn.mkdir()
    second = store_of(tmp_path, 2)
    assert second.current() == whole
    second.prune(3, second.write(make_state(step=4, attempt=2), save_engine))
    assert not torn.exists()


def test_a_kill_while_the_same_step_is_written_again_loses_nothing(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    current = store.write(make_state(), save_engine)
    folder = store.folder(current)
    folder.rename(folder.with_name("step-4.replaced"))  # the kill falls between the two renames
    assert store.read_state(current) == make_state()
    assert (store.engine_folder(current) / "weights").is_file()


def test_the_same_step_can_be_written_again(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    store.write(make_state(), save_engine)
    current = store.write(make_state(applied_resets=("uid",)), save_engine)
    assert store.read_state(current).applied_resets == ("uid",)
    assert [path.name for path in store.folder(current).parent.iterdir()] == ["step-4"]


def test_pruning_keeps_the_newest_and_the_current_one(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    written = [store.write(make_state(step=step), save_engine) for step in (1, 2, 10, 11)]
    kept = store.prune(2, written[0])
    assert sorted(state.step for state in kept) == [1, 10, 11]
    names = {path.name for path in RunFolder(tmp_path).attempt(1).glob("checkpoints/*")}
    assert names == {"step-1", "step-10", "step-11"}


def test_pruning_counts_over_all_attempts(tmp_path: Path) -> None:
    store_of(tmp_path, 1).write(make_state(step=8), save_engine)
    second = store_of(tmp_path, 2)
    current = second.write(make_state(step=3, attempt=2), save_engine)
    assert [state.step for state in second.prune(1, current)] == [3]
    assert not RunFolder(tmp_path).checkpoint(1, 8).exists()


def test_a_checkpoint_needs_its_reference_and_its_best_policy() -> None:
    assert make_state().digests == {"b" * 64}
    best = BestPolicy(step=2, accuracy=0.5, digest="d" * 64)
    assert make_state(best=best).digests == {"b" * 64, "d" * 64}


def test_a_damaged_current_says_so(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    RunFolder(tmp_path).current.write_text('{"attempt": 1')
    with pytest.raises(CheckpointError, match=r"CURRENT is damaged \(no JSON.*name the newest folder"):
        store.current()


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    with pytest.raises(CheckpointError, match=r"checkpoints/step-9 cannot be read"):
        store.read_state(Current(attempt=1, step=9))


def test_an_engine_that_cannot_save_leaves_the_previous_checkpoint_and_no_rubbish(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    kept = store.write(make_state(step=2), save_engine)

    def broken(folder: Path) -> None:
        (folder / "half").write_bytes(b"x" * 100)
        raise RuntimeError("PytorchStreamWriter failed")

    with pytest.raises(
        CheckpointError, match=r"step-4.*PytorchStreamWriter failed \(after 100 bytes\).*bytes are free"
    ):
        store.write(make_state(step=4), broken)
    assert store.current() == kept
    assert [path.name for path in store.folder(kept).parent.iterdir()] == ["step-2"]


FULL_DISK = """
import resource, sys
from dataclasses import replace
from pathlib import Path
import torch
from prorl_api.errors import CheckpointError
from prorl_api.run_folder import RunFolder
from prorl_trainer.storage.checkpoints import CheckpointStore
from prorl_trainer.storage.fence import Fence
from prorl_trainer.storage.references import ReferenceStore

run = RunFolder(Path(sys.argv[1]))
store = CheckpointStore(Fence(run, 1))
state = replace(store.read_state(store.current()), step=6)
weights = {"w": torch.zeros(100_000)}
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
for attempt in (
    lambda: store.write(state, lambda folder: torch.save(weights, folder / "plain.pt")),
    lambda: ReferenceStore(run).add(weights.items(), attempt=1),
):
    try:
        attempt()
    except CheckpointError as error:
        print(error)
"""


def test_a_full_disk_names_path_and_bytes_and_keeps_the_previous_checkpoint(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    kept = store.write(make_state(), save_engine)
    RunFolder(tmp_path).references.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, timeout=240, check=True
    )
    checkpoint, reference = done.stdout.splitlines()
    assert f"cannot write {RunFolder(tmp_path).checkpoint(1, 6)}" in checkpoint
    assert f"cannot write {RunFolder(tmp_path).references}" in reference
    for line in (checkpoint, reference):
        assert "bytes are free" in line
        assert "the previous checkpoint is intact" in line
    assert store.current() == kept
    assert store.read_state(kept) == make_state()
    assert [path.name for path in store.folder(kept).parent.iterdir()] == ["step-4"]
    assert list(RunFolder(tmp_path).references.iterdir()) == []


def test_a_refused_write_names_path_bytes_and_remedy_and_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "CURRENT"
    write_file(path, "old")
    (tmp_path / "CURRENT.partial").mkdir()  # the file system refuses
    with pytest.raises(CheckpointError, match=r"cannot write .*CURRENT \(3 bytes\).*Make room or fix the permissions"):
        write_file(path, "new")
    assert path.read_text() == "old"


def test_a_checkpoint_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    """It says nothing of the ZeRO stage, and something that nobody asks for any more."""
    store = store_of(tmp_path)
    written = store.write(make_state(), save_engine)
    path = store.folder(written) / "checkpoint.json"
    values = json.loads(path.read_text())
    del values["zero_stage"], values["not_finite_in_a_row"]
    path.write_text(json.dumps({**values, "last_validation": 0.5}))
    assert store.read_state(written) == make_state()


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    written = store.write(make_state(), save_engine)
    (store.folder(written) / "checkpoint.json").write_text('{"step": "many"}')
    with pytest.raises(CheckpointError, match=r"checkpoints/step-4 cannot be read"):
        store.read_state(written)
