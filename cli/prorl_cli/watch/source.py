"""What the live page shows, made anew only when the run folder has changed."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from prorl_api.run_folder import RunFolder
from prorl_cli.report.document import Content
from prorl_cli.report.loading import driven, load
from prorl_cli.report.page import content_of
from prorl_cli.report.samples import validation_rewards

SHORTEST_LOOK_SECONDS = 2.0
_LONGEST_LOOK_SECONDS = 30.0
_LOOK_PER_RENDER = 10.0
"""Looks are so many times as far apart as making the page takes CPU time: at most a tenth of one core goes into it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at the run."""

    revision: str
    """Changes whenever the content may have."""
    content: Content
    is_driven: bool | None
    """None: nobody can tell, as of a run in a cluster."""
    next_look_seconds: float


class PageSource:
    """Looks at one run folder, for any number of readers."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._newest: Look | None = None

    def look(self) -> Look:
        """Return the page as it is now."""
        with self._lock:
            is_driven = driven(self._run)
            revision = revision_of(self._run, is_driven=is_driven)
            if self._newest is None or self._newest.revision != revision:
                self._newest = self._render(revision, is_driven=is_driven)
            return self._newest

    def _render(self, revision: str, *, is_driven: bool | None) -> Look:
        began = time.thread_time()
        data = load(self._run)
        content = content_of(data, validation_rewards(self._run, data.timeline), is_live=True)
        spent = time.thread_time() - began
        wait = min(_LONGEST_LOOK_SECONDS, max(SHORTEST_LOOK_SECONDS, _LOOK_PER_RENDER * spent))
        return Look(revision=revision, content=content, is_driven=is_driven, next_look_seconds=wait)


def revision_of(run: RunFolder, *, is_driven: bool | None) -> str:
    """Return a digest of the names, sizes and times of all files that the page is made from."""
    files = sorted((str(path), version) for path, version in _versions(run))
    return hashlib.sha256(repr((is_driven, files)).encode()).hexdigest()[:24]


def _entries(folder: Path) -> list[Path]:
    """Return what is in a folder; nothing if it is not there, or somebody else's."""
    try:
        return [folder / name for name in os.listdir(folder)]
    except OSError:
        return []


def _versions(run: RunFolder) -> Iterator[tuple[Path, tuple[int, int, int]]]:
    single = (run.metrics, run.status, run.manifest, run.identity, run.current)
    folders = (run.resets, run.logs, run.samples)
    for path in (*single, *(entry for folder in folders for entry in _entries(folder))):
        try:
            found = path.stat()
        except OSError:
            continue
        yield path, (found.st_mtime_ns, found.st_size, found.st_ino)
