"""Errors of the command line itself, each with the exit code that a script sees."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb

import typer

from prorl_api.errors import ExitCode, ProRLError, SpecError, StaleAttemptError
from prorl_api.process.ending import INSTALL, missing_package


class RunFolderError(ProRLError):
    """The run folder cannot be used as it was asked for: it is in use, is something else, or holds a finished run."""


class StorageError(ProRLError):
    """The run folder cannot be written."""


class ListenError(ProRLError):
    """An address of this machine cannot be listened on."""


INTERRUPTED = 130
"""What shells report for a command that Ctrl-C ended."""


def storage_error(error: OSError, path: Path, option: str = "--run-dir") -> StorageError:
    """Return a clear error for a failed write below `path`, which `option` chose."""
    why = error.strerror or str(error)
    where = error.filename or path
    remedy = {
        errno.ENOSPC: "make room there",
        errno.EDQUOT: "make room in your quota",
        errno.EROFS: f"choose a writable place with {option}",
        errno.EACCES: f"choose a writable place with {option}, or correct its permissions",
        errno.ENOTDIR: f"choose another place with {option}",
    }.get(error.errno or 0, f"choose another place with {option}")
    return StorageError(f"cannot write {where}: {why}; {remedy}")


def unreadable(error: OSError, path: Path) -> RunFolderError:
    """Return a clear error for a failed read at or below `path`."""
    where = Path(error.filename) if isinstance(error.filename, str) else path
    remedy = "look at the disk, or restore it"
    if error.errno in (errno.EACCES, errno.EPERM):
        owner = _owner(where)
        remedy = (
            f"it belongs to {owner}, who can show it with `chmod a+rX` on the run's folder and on the file; "
            "prompts, samples and checkpoints may stay private"
        )
    return RunFolderError(f"cannot read {where}: {error.strerror or error}; {remedy}")


def _owner(path: Path) -> str:
    """Return the name of the owner of a path, or of the nearest folder above that can be looked at."""
    for place in (path, *path.absolute().parents):
        try:
            return f"user {place.owner()}"
        except KeyError:
            return f"user {place.stat().st_uid}"
        except OSError:
            continue
    return "another user"


def exit_code_of(error: ProRLError) -> int:
    """Return the process exit code for an error that reaches the user."""
    if isinstance(error, SpecError):
        return ExitCode.BAD_SPEC
    if isinstance(error, StorageError):
        return ExitCode.STORAGE
    if isinstance(error, StaleAttemptError):
        return ExitCode.STALE_ATTEMPT
    return ExitCode.FAILED


@contextmanager
def errors_for_people() -> Iterator[None]:
    """Errors raised on purpose become their message and exit code; anything else keeps its traceback."""
    try:
        yield
    except ProRLError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(exit_code_of(error)) from None
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("prorl_"):
            raise
        typer.echo(f"error: {missing_package(error)}: {INSTALL[_package_of(error)]}", err=True)
        raise typer.Exit(ExitCode.BAD_SPEC) from None


def _package_of(error: ModuleNotFoundError) -> str:
    """Return the import package of ours that imports what is missing: the last one on the way there."""
    names = [str(frame.f_globals.get("__name__", "")).partition(".")[0] for frame, _ in walk_tb(error.__traceback__)]
    return next((name for name in reversed(names) if name in INSTALL), "prorl_cli")
