"""What runs take on disk, and what of it they can do without."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from prorl_api.errors import CheckpointError
from prorl_api.run_folder import RunFolder
from prorl_api.status import ConditionStatus, ConditionType, JobStatus
from prorl_cli.durations import duration
from prorl_cli.errors import RunFolderError, storage_error
from prorl_cli.local.files import reading
from prorl_cli.local.folder import is_driven, locked, read_status

_UNFINISHED = (".partial", ".replaced")


def describe_runs(folder: Path) -> str:
    """Return one line a run below `folder`, the newest last.

    Raises:
        RunFolderError: There is no such folder, or it is not to be looked into.
    """
    try:
        with reading(folder):
            names = sorted(os.listdir(folder))
    except FileNotFoundError as error:
        raise RunFolderError(f"there is no folder {folder}; name the one that holds your runs") from error
    runs = [RunFolder(folder / name) for name in names if os.path.lexists(folder / name / "run.json")]
    if not runs:
        return f"no runs in {folder}"
    rows: list[tuple[str, ...]] = [("run", "state", "step", "held-out", "seen", "disk")]
    rows += [row for _, row in sorted(map(_row, runs), key=lambda found: found[0])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _row(run: RunFolder) -> tuple[float, tuple[str, ...]]:
    """Return when a run was last seen, and its cells."""
    try:
        status = read_status(run)
    except RunFolderError:
        return 0.0, (run.path.name, "not readable", "", "", "", "")
    size = size_text(size_of(run.path))
    if status is None:
        return 0.0, (run.path.name, "not started", "", "", "", size)
    seen = f"{duration(max(0.0, time.time() - status.updated))} ago"
    step = f"{status.step}/{status.total_steps}"
    return status.updated, (run.path.name, _state(run, status), step, status.last_accuracy or "", seen, size)


def _state(run: RunFolder, status: JobStatus) -> str:
    if is_driven(run):
        return "running"
    succeeded = status.condition(ConditionType.SUCCEEDED)
    kinds = {ConditionStatus.TRUE: "finished", ConditionStatus.FALSE: "failed"}
    return kinds.get(succeeded.status, "stopped") if succeeded is not None else "stopped"


def prune_run(run: RunFolder, *, keep: int = 1, is_rehearsal: bool = False) -> str:
    """Remove what a run does not need, and say what; it can still go on, be exported, and be continued.

    Args:
        run: A run that nobody drives.
        keep: Newest checkpoints that stay. The one that it goes on from always does.
        is_rehearsal: Only say what would go.

    Raises:
        RunFolderError: Somebody drives it.
        CheckpointError: What its checkpoint needs cannot be told.
    """
    with locked(run):
        doomed = list(_doomed(run, keep))
        sizes = {path: size_of(path) for path in doomed}
        if not is_rehearsal:
            for path in doomed:
                try:
                    shutil.rmtree(path)
                except OSError as error:
                    raise storage_error(error, path) from error
    if not doomed:
        return f"{run.path}: nothing to remove; it takes {size_text(size_of(run.path))}"
    verb = "would free" if is_rehearsal else "freed"
    lines = [f"  {size_text(sizes[path]):>8}  {path.relative_to(run.path)}" for path in doomed]
    total = f"{run.path}: {verb} {size_text(sum(sizes.values()))} of what it took"
    return "\n".join([*lines, total])


def _doomed(run: RunFolder, keep: int) -> Iterator[Path]:
    """Find folders that neither the kept checkpoints nor the best policy need."""
    from prorl_trainer.storage.checkpoints import CheckpointStore, Current
    from prorl_trainer.storage.fence import Fence

    store = CheckpointStore(Fence(run, run.highest_attempt()))
    current = store.current()
    folders = sorted(run.attempts.glob("*/checkpoints/step-*"))
    if current is None:
        yield from (folder for folder in folders if folder.name.endswith(_UNFINISHED))
        return
    whole = {
        Current(attempt=int(folder.parent.parent.name), step=int(folder.name.removeprefix("step-"))): folder
        for folder in folders
        if not folder.name.endswith(_UNFINISHED)
    }
    newest = sorted(whole, key=lambda item: (item.attempt, item.step))[-keep:]
    kept = {*newest, current}
    needed = set().union(*(store.read_state(item).digests for item in kept))
    yield from (folder for item, folder in sorted(whole.items(), key=lambda pair: str(pair[1])) if item not in kept)
    in_use = store.folder(current)
    yield from (folder for folder in folders if folder.name.endswith(_UNFINISHED) and folder != in_use)
    missing = sorted(digest for digest in needed if not (run.references / digest).is_dir())
    if missing:
        raise CheckpointError(f"reference {missing[0]} is missing; nothing is removed from a run that is not whole")
    yield from (folder for folder in sorted(run.references.glob("*")) if folder.name not in needed)


def size_of(path: Path) -> int:
    """Return the bytes that a folder's files take on disk, links not followed; what cannot be read counts as none."""
    total = 0
    seen: set[tuple[int, int]] = set()
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                found = os.lstat(os.path.join(folder, name))
            except OSError:
                continue
            if (found.st_dev, found.st_ino) not in seen:  # a file may have several names
                seen.add((found.st_dev, found.st_ino))
                total += found.st_blocks * 512
    return total


def size_text(size: int) -> str:
    """`900 kB`, `12 MB`, `1.6 GB`."""
    if size < 10**6:
        return f"{size / 1e3:.0f} kB"
    return f"{size / 1e6:.0f} MB" if size < 10**9 else f"{size / 1e9:.1f} GB"
