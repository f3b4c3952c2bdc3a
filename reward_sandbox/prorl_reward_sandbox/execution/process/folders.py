"""The folders that programs run in: filled before a run, looked into after it, and removed once it is judged.

They lie in one folder of the runner's, in which a program with a user of its own can rename nothing. Removing may take
longer than the run did: so it is done after the answer, for a moment by the runner and beyond that by a child of it.
What a runner that was killed has left is removed by the next one that starts.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import stat
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from prorl_reward_sandbox import hygiene
from prorl_reward_sandbox.execution.process.files import file_mode, write_file
from prorl_reward_sandbox.execution.process.removal import UnfinishedError, empty_folder, remove_entry
from prorl_reward_sandbox.execution.process.run_request import Request
from prorl_reward_sandbox.execution.process.user import ProgramUser

_PREFIX = "prorl-run-"
_NEW_PREFIX = "prorl-new-"
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_TIDY_SECONDS = 0.1
"""What a run may add to the wait for the next one; a thousand files take a hundredth of it."""
_SWEEP_SECONDS = 5.0
_CLEANER_NICE = 10
_MAX_WAITING = 16
"""Folders that wait for the child; with more, the runner waits for it, so that they cannot pile up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """The working folder of one run.

    Attributes:
        descriptor: Of the folder itself, wherever the program may have moved it.
    """

    name: str
    path: str
    descriptor: int


class RunFolders:
    """The folders of one runner."""

    def __init__(self) -> None:
        """Make the runner's own folder, and remove those of runners that are gone."""
        _sweep(time.monotonic() + _SWEEP_SECONDS)
        self._count = 0
        self._waiting: list[RunFolder] = []
        self._cleaner = 0
        self._make_home()

    @property
    def helpers(self) -> tuple[int, ...]:
        """Children of the runner that are no program's."""
        return (self._cleaner,) if self._cleaner else ()

    def make(self, request: Request, user: ProgramUser | None) -> RunFolder:
        """Make a fresh working folder with the request's files in it, owned by the program's user."""
        if not self._is_home():  # only a program without a user of its own can have moved it
            os.close(self._home)
            self._make_home()
        self._count += 1
        name = str(self._count)
        os.mkdir(name, 0o700, dir_fd=self._home)
        descriptor = os.open(name, _OPEN, dir_fd=self._home)
        folder = RunFolder(name=name, path=os.path.join(self._path, name), descriptor=descriptor)
        try:
            for each, content in request.files.items():
                path = os.path.join(folder.path, each)
                write_file(path, content, file_mode(is_executable=each in request.executables))
                if user is not None:
                    os.chown(path, user.user_id, user.user_id)
            if user is not None:
                os.fchown(descriptor, user.user_id, user.user_id)
        except BaseException:
            self.discard(folder)
            raise
        return folder

    def discard(self, folder: RunFolder) -> None:
        """Note that a folder is no longer needed. None of its program's processes lives any more."""
        self._waiting.append(folder)

    def tidy(self) -> bool:
        """Remove discarded folders, what takes long in a child; return whether one is at work."""
        self._look_at_cleaner(wait=len(self._waiting) > _MAX_WAITING)
        if not self._waiting or self._cleaner:
            return bool(self._cleaner)
        deadline = time.monotonic() + _TIDY_SECONDS
        try:
            while self._waiting:
                self._remove(self._waiting[-1], deadline)
                self._waiting.pop()
        except UnfinishedError:
            self._start_cleaner()
        return bool(self._cleaner)

    def close(self) -> None:
        """Remove everything; what takes too long is left to the next runner."""
        self._look_at_cleaner(wait=False)
        if self._cleaner:
            os.kill(self._cleaner, signal.SIGKILL)
            self._look_at_cleaner(wait=True)
        with contextlib.suppress(UnfinishedError):
            for folder in self._waiting:
                self._remove(folder, time.monotonic() + _SWEEP_SECONDS)
            with _told():
                os.rmdir(self._path)
        os.close(self._home)

    def _make_home(self) -> None:
        new = tempfile.mkdtemp(prefix=_NEW_PREFIX)  # named so that another runner's `_sweep` leaves it alone
        self._home = os.open(new, _OPEN)
        fcntl.flock(self._home, fcntl.LOCK_EX)  # for as long as this process lives
        os.fchmod(self._home, 0o711)  # to be passed through, not looked into and not changed
        self._path = os.path.join(os.path.dirname(new), _PREFIX + os.path.basename(new).removeprefix(_NEW_PREFIX))
        os.rename(new, self._path)

    def _is_home(self) -> bool:
        with contextlib.suppress(OSError):
            return os.path.samestat(os.lstat(self._path), os.fstat(self._home))
        return False

    def _remove(self, folder: RunFolder, deadline: float) -> None:
        with _told():
            empty_folder(folder.descriptor, deadline=deadline)
            remove_entry(folder.name, self._home)
        os.close(folder.descriptor)

    def _start_cleaner(self) -> None:
        """Go on in a child, at the lowest priority."""
        pid = os.fork()
        if pid:
            self._cleaner = pid
            for folder in self._waiting:
                os.close(folder.descriptor)
            self._waiting.clear()
            return
        try:
            hygiene.die_with_parent()
            os.nice(_CLEANER_NICE)
            for folder in self._waiting:
                self._remove(folder, float("inf"))
        finally:
            os._exit(0)

    def _look_at_cleaner(self, *, wait: bool) -> None:
        if self._cleaner:
            with contextlib.suppress(ChildProcessError):  # reaped among a program's processes
                if os.waitpid(self._cleaner, 0 if wait else os.WNOHANG)[0] == 0:
                    return
            self._cleaner = 0


def read_kept(directory: int, names: Sequence[str], *, max_bytes: int) -> dict[str, bytes]:
    """Return those of the named files that are regular and not larger than allowed.

    The program owned the folder, so a name may stand for anything: a link is not followed, a pipe not waited for.
    """
    found = ((name, _read_regular(name, directory, max_bytes)) for name in names)
    return {name: content for name, content in found if content is not None}


def _read_regular(name: str, directory: int, max_bytes: int) -> bytes | None:
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
        descriptor = os.open(name, flags, dir_fd=directory)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > max_bytes:
            return None
        with os.fdopen(os.dup(descriptor), "rb") as file:
            return file.read(max_bytes)
    finally:
        os.close(descriptor)


def _sweep(deadline: float) -> None:
    """Remove folders of this user's runners that were killed: nobody holds their lock any more."""
    place = tempfile.gettempdir()
    with os.scandir(place) as entries:
        names = [entry.name for entry in entries if entry.name.startswith(_PREFIX) and _is_ours(entry)]
    for name in names:
        with _told(), contextlib.suppress(BlockingIOError, FileNotFoundError, NotADirectoryError):
            home = os.open(os.path.join(place, name), _OPEN)
            try:
                fcntl.flock(home, fcntl.LOCK_EX | fcntl.LOCK_NB)
                empty_folder(home, deadline=deadline)
                os.rmdir(os.path.join(place, name))
            except UnfinishedError:
                return
            finally:
                os.close(home)


def _is_ours(entry: os.DirEntry[str]) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return entry.stat(follow_symlinks=False).st_uid == os.geteuid()
    return False


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Log what could not be removed, and go on: no verdict depends on it."""
    try:
        yield
    except OSError as error:
        # Not `logging`: it brings `threading`, whose care for forks costs a third of a millisecond a run.
        sys.stderr.write(f"a program's folder could not be removed: {error}\n")
