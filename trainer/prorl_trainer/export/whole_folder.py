"""A folder that appears whole or not at all: written beside its place, made durable, renamed."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prorl_api.errors import ProRLError
from prorl_trainer.storage.durable import publish_folder

_PARTIAL = ".partial"
_REPLACED = ".replaced"


class OutputError(ProRLError):
    """The folder to write cannot be written, or holds something already."""


@contextmanager
def whole_folder(final: Path, *, may_replace: bool = False) -> Iterator[Path]:
    """Give an empty folder beside `final`, which takes its place once the block has ended without an error.

    What a killed attempt left behind is removed first. Nobody else writes there meanwhile.

    Args:
        final: Not there, or an empty folder.
        may_replace: It may also be one that this function made before.

    Raises:
        OutputError: It holds something, somebody else writes there, or the file system refuses; with the remedy.
    """
    partial = final.with_name(final.name + _PARTIAL)
    _raise_if_taken(final, may_replace=may_replace)
    try:
        partial.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(partial, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise _refused(final, error) from error
    try:
        _lock(descriptor, partial)
        try:
            _empty(partial)
            yield partial
            _take_place(partial, final, may_replace=may_replace)
        except OSError as error:
            raise _refused(final, error) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    finally:
        os.close(descriptor)


def _raise_if_taken(final: Path, *, may_replace: bool) -> None:
    if may_replace or not (final.exists() or final.is_symlink()):
        return
    if not final.is_dir():
        raise OutputError(f"{final} is a file; name a folder that is not there yet with --output")
    if any(final.iterdir()):
        raise OutputError(f"{final} is not empty, and nothing in it is overwritten; choose another --output")


def _lock(descriptor: int, partial: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OutputError(f"another export writes {partial} now; wait for it, or choose another --output") from None


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _take_place(partial: Path, final: Path, *, may_replace: bool) -> None:
    replaced = final.with_name(final.name + _REPLACED)
    if may_replace:
        shutil.rmtree(replaced, ignore_errors=True)
        if final.exists():
            final.rename(replaced)
    publish_folder(partial, final)
    shutil.rmtree(replaced, ignore_errors=True)


def _refused(final: Path, error: OSError) -> OutputError:
    why = error.strerror or str(error)
    remedy = "make room there" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "choose another --output"
    return OutputError(f"cannot write {error.filename or final}: {why}; {remedy}. Nothing is left behind")
