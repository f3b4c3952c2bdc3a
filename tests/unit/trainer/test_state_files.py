"""An engine's part of a checkpoint: written by some ranks, read by any other number of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from prorl_api.errors import CheckpointError
from prorl_trainer.engines.state_files import MASTER, MOMENTS, Run, Snapshot, StoredState, restore, shared_out

SHAPES = {"head": (3, 4), "bias": (5,), "scale": ()}


def whole(seed: int) -> dict[str, dict[str, Tensor]]:
    """Master and moments of each parameter."""
    dice = torch.Generator().manual_seed(seed)
    return {
        name: {part: torch.randn(shape, generator=dice) for part in (MASTER, *MOMENTS)}
        for name, shape in SHAPES.items()
    }


def runs_of(state: dict[str, dict[str, Tensor]], rank: int, num_ranks: int, step: int = 7) -> Iterator[Run]:
    """Cut all parameters, laid one after another, into equal parts, as ZeRO does: some fall into two of them."""
    total = sum(parts[MASTER].numel() for parts in state.values())
    size, before = -(-total // num_ranks), 0
    for name, parts in state.items():
        length = parts[MASTER].numel()
        low, high = max(rank * size - before, 0), min((rank + 1) * size - before, length)
        if low < high:
            values = {part: value.view(-1)[low:high] for part, value in parts.items()}
            yield Run(name=name, shape=SHAPES[name], start=low, values=values, step=step)
        before += length


def write(folder: Path, state: dict[str, dict[str, Tensor]], num_ranks: int, step: int = 7) -> StoredState:
    for rank in range(num_ranks):
        Snapshot(runs_of(state, rank, num_ranks, step), rank, num_ranks).write(folder)
    return StoredState(folder)


@pytest.mark.parametrize("written", [1, 2, 3, 4])
@pytest.mark.parametrize("read", [1, 2, 3, 4])
def test_any_number_of_ranks_reads_what_any_number_has_written(tmp_path: Path, written: int, read: int) -> None:
    state, other = whole(1), whole(2)
    stored = write(tmp_path, state, written)
    assert stored.shapes == SHAPES
    for rank in range(read):
        restore(runs_of(other, rank, read), stored)
    for name, parts in state.items():
        assert stored.step(name) == 7
        assert torch.equal(stored.whole(name), parts[MASTER])
        assert all(torch.equal(other[name][part], value) for part, value in parts.items())


def test_moments_that_have_seen_no_step_are_not_written_and_are_zero_once_read(tmp_path: Path) -> None:
    state, other = whole(1), whole(2)
    stored = write(tmp_path, state, 2, step=0)
    restore(runs_of(other, 0, 1), stored)
    for name, parts in other.items():
        assert torch.equal(parts[MASTER], state[name][MASTER])
        assert not any(parts[moment].any() for moment in MOMENTS)
    with (tmp_path / "rank-00000-of-00002.safetensors").open("rb") as file:
        assert b"exp_avg" not in file.read()


def test_a_snapshot_is_a_copy_that_later_training_leaves_alone(tmp_path: Path) -> None:
    state = whole(1)
    before = state["bias"][MASTER].clone()
    snapshot = Snapshot(runs_of(state, 0, 1), 0, 1)
    state["bias"][MASTER].add_(1)
    snapshot.write(tmp_path)
    assert torch.equal(StoredState(tmp_path).whole("bias"), before)


@pytest.mark.parametrize("num_ranks", [1, 2, 3])
def test_what_all_ranks_hold_is_shared_out_whole_and_about_equally(num_ranks: int) -> None:
    values = {f"w{number}": {MASTER: torch.zeros(length)} for number, length in enumerate([9, 1, 8, 2, 7, 3, 6, 4])}
    held = [
        Run(name=name, shape=(parts[MASTER].numel(),), start=0, values=parts, step=0) for name, parts in values.items()
    ]
    shares = [list(shared_out(held, rank, num_ranks)) for rank in range(num_ranks)]
    assert sorted(run.name for share in shares for run in share) == sorted(values)
    sizes = [sum(run.length for run in share) for share in shares]
    assert max(sizes) - min(sizes) <= 9, "no more than the largest parameter"


def cut(folder: Path) -> None:
    file = folder / "rank-00001-of-00002.safetensors"
    file.write_bytes(file.read_bytes()[:-4])


def lose(folder: Path) -> None:
    (folder / "rank-00001-of-00002.safetensors").unlink()


def empty(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def older(folder: Path) -> None:
    empty(folder)
    (folder / "plain.pt").touch()


def oldest(folder: Path) -> None:
    empty(folder)
    (folder / "state").mkdir()


def foreign(folder: Path) -> None:
    from safetensors.torch import save_file

    save_file({"w": torch.zeros(1)}, folder / "rank-00001-of-00002.safetensors")


def hole(folder: Path) -> None:
    Snapshot([], 1, 2).write(folder)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (cut, r"rank-00001-of-00002.safetensors cannot be read"),
        (lose, r"the files of 1 ranks, and 2 wrote it; .*--checkpoint best is one file"),
        (empty, r"holds no rank-\*.safetensors; copy the run again, or take another checkpoint"),
        (older, r"written by an earlier version \(plain.pt\).*initFrom and checkpoint: best"),
        (oldest, r"written by an earlier version \(state\).*initFrom and checkpoint: best"),
        (foreign, r"its format is None, wanted prorl-runs-1"),
        (hole, r"entries of (head|bias); copy the run again"),
    ],
)
def test_what_is_not_whole_is_refused_with_the_remedy(tmp_path: Path, damage: object, said: str) -> None:
    write(tmp_path, whole(1), 2)
    assert callable(damage)
    damage(tmp_path)
    with pytest.raises(CheckpointError, match=said):
        restore(runs_of(whole(2), 0, 1), StoredState(tmp_path))


def test_a_full_disk_is_the_file_systems_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Snapshot(runs_of(whole(1), 0, 1), 0, 1).write(tmp_path / "gone")
