"""`prompts.jsonl`: every generated item once, and for the files of a source what they held when the run began.

Some of reasoning-gym's tasks are not reproducible across processes, so a resumed run must read its items back. Rows of
files are read from the files again. What is in memory is where each item's line begins.
"""

from __future__ import annotations

import re
from array import array
from dataclasses import dataclass
from typing import Any

from prorl_api.data_lines import Question
from prorl_trainer.storage.lines import LineFile

_KEY = re.compile(rb'\{"key":"(train|validation)/([^/"]+)/([0-9]+)"')
"""How the line of an item begins."""
_FILES = b'{"source":'
NOWHERE = -1


@dataclass(frozen=True, slots=True)
class FilesRecord:
    """What the files of a source hold."""

    rows: int
    sha256: str
    """Over the rows in the order in which they are read."""


@dataclass(frozen=True, slots=True)
class StoredItem:
    """An item as it was first used."""

    source: str
    question: Question
    row: dict[str, Any]


class PromptStore:
    """Looks items up by what they are for: training or validation, source, index."""

    def __init__(self, lines: LineFile) -> None:
        """Note where each item lies in the file."""
        self._lines = lines
        self._train = array("q")
        """Offset of the line by prompt index; the last one counts if the index was used for two sources."""
        self._validation: dict[tuple[str, int], int] = {}
        self._files: dict[str, FilesRecord] = {}
        for offset, line in lines.scan():
            if match := _KEY.match(line):
                self._note(match[1].decode(), match[2].decode(), int(match[3]), offset)
            elif line.startswith(_FILES):
                value = lines.read_at(offset)
                self._files[value["source"]] = FilesRecord(rows=value["rows"], sha256=value["sha256"])

    def item(self, purpose: str, source: str, index: int) -> StoredItem | None:
        """Return a stored item; None if it was never used."""
        if purpose == "validation":
            offset = self._validation.get((source, index), NOWHERE)
        else:
            offset = self._train[index] if index < len(self._train) else NOWHERE
        if offset == NOWHERE:
            return None
        line = self._lines.read_at(offset)
        if line["key"] != f"{purpose}/{source}/{index}":
            return None
        return StoredItem(line["source"], line["question"], line["row"])

    def add(self, purpose: str, index: int, item: StoredItem) -> None:
        """Store an item."""
        key = f"{purpose}/{item.source}/{index}"
        line = {"key": key, "source": item.source, "question": item.question, "row": item.row}
        self._note(purpose, item.source, index, self._lines.append(line))

    def files(self, source: str) -> FilesRecord | None:
        """Return what the files of a source held when the run began; None if nobody has said so yet."""
        return self._files.get(source)

    def add_files(self, source: str, record: FilesRecord) -> None:
        """Store what the files of a source hold."""
        self._files[source] = record
        self._lines.append({"source": source, "rows": record.rows, "sha256": record.sha256})

    def _note(self, purpose: str, source: str, index: int, offset: int) -> None:
        if purpose == "validation":
            self._validation[source, index] = offset
            return
        missing = index + 1 - len(self._train)
        if missing > 0:
            self._train.extend([NOWHERE] * missing)
        self._train[index] = offset
