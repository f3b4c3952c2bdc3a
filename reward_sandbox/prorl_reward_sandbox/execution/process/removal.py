"""Removing what a program left in its folder: by descriptors, without following anything, and in slices of time.

A program owns its folder and may have put anything into it: links to what matters, folders 100,000 deep, files without
permissions. None of its processes lives any more, but programs of the same user may, where a level gives no user of
its own: so nothing is looked up by a path that they could change.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterator

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PLACE = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MANY = 1000


class UnfinishedError(Exception):
    """Time is up; what is left can be gone on with later."""


def empty_folder(directory: int, *, deadline: float = float("inf")) -> None:
    """Remove everything in an open folder.

    Nested folders are lifted to the top before they are entered, so neither the length of a path nor the depth of
    the nesting matters.

    Args:
        directory: A descriptor of the folder. It stays open.
        deadline: Of `time.monotonic`.

    Raises:
        UnfinishedError: The deadline has passed.
        OSError: Something cannot be removed.
    """
    os.fchmod(directory, 0o700)
    lifted = 0
    while subfolders := _remove_files(directory, deadline):
        for name in subfolders:
            with _opened(name, directory) as inner:
                lifted += _lift_folders(inner, directory, lifted, deadline)
            os.rmdir(name, dir_fd=directory)


def _lift_folders(inner: int, top: int, lifted: int, deadline: float) -> int:
    """Move the folders in `inner` to the top and remove its files; return how many folders were moved."""
    count = 0
    while nested := _remove_files(inner, deadline):
        for name in nested:
            with _opened(name, inner):  # who moves a folder must be allowed to write into it
                pass
            os.rename(name, f".lifted-{time.monotonic_ns()}-{lifted + count}", src_dir_fd=inner, dst_dir_fd=top)
            count += 1
    return count


def remove_entry(name: str, parent: int) -> None:
    """Remove what stands under a name that a program may have given to something else: an empty folder, or a link."""
    try:
        os.rmdir(name, dir_fd=parent)
    except NotADirectoryError:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        pass  # it was moved away, empty


@contextlib.contextmanager
def _opened(name: str, parent: int) -> Iterator[int]:
    """Open a folder for reading and writing, also one whose permissions its owner took away."""
    place = os.open(name, _PLACE, dir_fd=parent)
    try:
        os.chmod(f"/proc/self/fd/{place}", 0o700)  # of this very folder; a path could lead elsewhere by now
        opened = os.open(".", _OPEN, dir_fd=place)
    finally:
        os.close(place)
    try:
        yield opened
    finally:
        os.close(opened)


def _remove_files(directory: int, deadline: float) -> list[str]:
    """Remove what is not a folder; return the names of folders, so many at a time that they fit into memory."""
    subfolders: list[str] = []
    with os.scandir(directory) as entries:
        for entry in entries:
            if time.monotonic() > deadline:
                raise UnfinishedError
            if stat.S_ISDIR(entry.stat(follow_symlinks=False).st_mode):
                subfolders.append(entry.name)
                if len(subfolders) == _MANY:
                    break
            else:
                os.unlink(entry.name, dir_fd=directory)
    return subfolders
