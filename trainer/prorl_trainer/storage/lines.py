"""Append-only files of JSON lines that survive a kill in the middle of a line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prorl_api.run_folder import PRIVATE_FILE
from prorl_trainer.storage.durable import explained
from prorl_trainer.storage.fence import Fence

_TAIL_BYTES = 2**20


class LineFile:
    """A file of JSON objects, one a line. A torn last line is ignored and cut off before the next append."""

    def __init__(self, path: Path, fence: Fence | None = None, *, sync: bool = False, is_private: bool = False) -> None:
        """Open `path` lazily; with a fence every append first makes sure that no newer attempt exists.

        Args:
            path: The file; its folder must exist by the first append.
            fence: Guards files that attempts share.
            sync: fsync after every append.
            is_private: It holds answers: a new file is readable by its owner alone.
        """
        self.path = path
        self._fence = fence
        self._sync = sync
        self._is_private = is_private
        self._checked_tail = False

    def append(self, line: dict[str, Any]) -> int:
        """Add one object; return where its line begins.

        Raises:
            StaleAttemptError: A newer attempt exists.
            CheckpointError: The file system refuses.
        """
        if self._fence is not None:
            self._fence.check()
        data = (json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n").encode()
        with explained(self.path, len(data)), open(self.path, "ab", opener=self._open) as stream:
            if not self._checked_tail:
                self._cut_torn_tail()
                self._checked_tail = True
            offset = stream.seek(0, os.SEEK_END)
            stream.write(data)
            stream.flush()
            if self._sync:
                os.fsync(stream.fileno())
        return offset

    def _open(self, path: str, flags: int) -> int:
        return os.open(path, flags, PRIVATE_FILE if self._is_private else 0o666)

    def read(self) -> list[dict[str, Any]]:
        """Return all whole lines."""
        return [json.loads(line) for _, line in self.scan()]

    def scan(self) -> Iterator[tuple[int, bytes]]:
        """Yield every whole line that is not blank, with where it begins; one line in memory at a time."""
        try:
            stream = self.path.open("rb")
        except FileNotFoundError:
            return
        with stream:
            offset = 0
            for line in stream:
                if line.endswith(b"\n") and line.strip():  # without its end it is torn
                    yield offset, line
                offset += len(line)

    def read_at(self, offset: int) -> dict[str, Any]:
        """Return the object of the line that begins at `offset`."""
        with self.path.open("rb") as stream:
            stream.seek(offset)
            value: dict[str, Any] = json.loads(stream.readline())
            return value

    def _cut_torn_tail(self) -> None:
        """Cut off what follows the last line's end; read backwards, because the file may be large."""
        with self.path.open("rb") as stream:
            size = start = stream.seek(0, os.SEEK_END)
            whole = 0
            while start > 0 and not whole:
                start = max(0, start - _TAIL_BYTES)
                stream.seek(start)
                found = stream.read(_TAIL_BYTES).rfind(b"\n")
                whole = start + found + 1 if found >= 0 else 0
        if whole < size:
            os.truncate(self.path, whole)
