"""Signs of life from work that takes long without saying anything: the watchdog ends a learner that gives none.

A beat must come of something that was done, never of a clock alone, or a hang would look like work.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
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
    sizes = {}
    for file in folder.rglob("*"):
        try:
            sizes[str(file)] = file.stat().st_size
        except OSError:  # renamed or removed meanwhile, which is a change too
            continue
    return sizes
