"""Signs of life from work that takes long without saying anything: the watchdog ends a learner that gives none.

A beat must come of something that was done, never of a clock alone, or a hang would look like work.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

Item = TypeVar("Item")
Beat = Callable[[], object]
_LOOK_SECONDS = 5.0


def with_beats(items: Iterable[Item], beat: Beat) -> Iterator[Item]:
    """Give the items one by one, each with a beat."""
    for item in items:
        yield item
        beat()


@contextmanager
def beats_while_writing(folder: Path, beat: Beat, look_seconds: float = _LOOK_SECONDS) -> Iterator[None]:
    """Beat whenever what lies below `folder` has changed in size since the last look.

    For libraries that write for long in a single call. A file system that hangs lets nothing grow.
    """
    ended = threading.Event()

    def look(before: dict[str, int]) -> None:
        while not ended.wait(look_seconds):
            now = _sizes(folder)
            if now != before:
                beat()
            before = now

    thread = threading.Thread(target=look, args=(_sizes(folder),), name="beats while writing", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(look_seconds)


def _sizes(folder: Path) -> dict[str, int]:
    """Return the sizes of what lies below a folder, while others write, rename and remove there, which is a change too.

    `os.walk` passes over a folder that is gone when its turn comes; `Path.rglob` raises.
    """
    sizes = {}
    for parent, folders, files in os.walk(folder):
        for path in (os.path.join(parent, name) for name in (*folders, *files)):
            with suppress(OSError):
                sizes[path] = os.stat(path).st_size
    return sizes
