"""Finding prompts that occur more than once among millions of lines, with about 130 bytes of memory a line.

While files are read, each line leaves only numbers: a digest of its normalised prompt, one of its row, its bands
(`similarity`) and where it stands. At the end these are sorted; the few lines that the bands propose are read again.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from prorl_api.jsonl import line_at, parse_object
from prorl_api.questions import normalised, question_text
from prorl_cli.data.similarity import BANDS, THRESHOLD, bands, jaccard, runs
from prorl_cli.data.text import Hashes, digest

_REPRESENTATIVES = 8
"""Lines of one band that a further line is compared with: bounds the work where thousands share a template."""
_REMEMBERED_SETS = 8192
_REMEMBERED_PAIRS = 2**20

Lines = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file."""

    path: Path
    number: int

    def __str__(self) -> str:
        return f"{self.path}:{self.number}"


@dataclass(frozen=True, slots=True)
class Repeat:
    """A line whose prompt an earlier line has as well."""

    line: Place
    earlier: Place
    similarity: float
    """Jaccard similarity; 1 where the normalised prompts are equal."""
    is_exact: bool
    """Equal after normalisation."""
    has_same_row: bool
    """The verifier is told the same. An equal prompt with another row is a contradiction, or another check of it."""


class PromptIndex:
    """What is remembered of every line."""

    def __init__(self, *, finds_near: bool = True) -> None:
        """Begin empty.

        Args:
            finds_near: Whether near-duplicates are looked for; without them a line takes 45 bytes.
        """
        self._finds_near = finds_near
        self._paths: list[Path] = []
        self._files, self._numbers, self._offsets = array("H"), array("I"), array("Q")
        self._prompts = array("Q")
        """Two a line."""
        self._rows = array("Q")
        self._bands = array("I")
        """`BANDS` a line."""

    def add(self, path: Path, number: int, offset: int, text: str, row: str) -> None:
        """Remember a line.

        Args:
            path: Its file.
            number: Its line number.
            offset: Where it begins in the file.
            text: Its normalised prompt.
            row: Its row, in a form that is equal for equal rows.
        """
        if not self._paths or self._paths[-1] != path:
            self._paths.append(path)
        self._files.append(len(self._paths) - 1)
        self._numbers.append(number)
        self._offsets.append(offset)
        self._prompts.extend(digest(text))
        self._rows.append(digest(row)[0])
        if self._finds_near:
            # A prompt of nothing but white space is a fault of its own; it takes part with bands like any other.
            self._bands.extend(bands(runs(text)) or [0] * BANDS)

    def __len__(self) -> int:
        return len(self._numbers)

    def place(self, line: int) -> Place:
        """Return where the `line`-th added line stands."""
        return Place(self._paths[self._files[line]], self._numbers[line])

    def exact(self) -> Iterator[Repeat]:
        """Lines whose normalised prompt is that of an earlier line, with the first such line."""
        for line, earlier in sorted(self._exact_leaders().items()):
            same = self._rows[line] == self._rows[earlier]
            yield Repeat(self.place(line), self.place(earlier), 1.0, is_exact=True, has_same_row=same)

    def near(self) -> Iterator[Repeat]:
        """Lines whose prompt is similar to an earlier line's, equal ones left out."""
        if not self._finds_near or not len(self):
            return
        equal = self._exact_leaders()
        found: dict[int, tuple[int, float]] = {}
        search = _Search(self)
        grid = np.frombuffer(self._bands, dtype=np.uint32).reshape(-1, BANDS)
        for column in range(BANDS):
            for group in _equal_groups(grid[:, column]):
                search.compare([line for line in group.tolist() if line not in equal], found)
        for line, (earlier, similarity) in sorted(found.items()):
            same = self._rows[line] == self._rows[earlier]
            yield Repeat(self.place(line), self.place(earlier), similarity, is_exact=False, has_same_row=same)

    def text(self, line: int) -> str:
        """Return the normalised prompt of a line, read again from its file."""
        value: dict[str, Any] = parse_object(line_at(self._paths[self._files[line]], self._offsets[line]))
        return normalised(question_text(value["prompt"]))

    def _exact_leaders(self) -> dict[int, int]:
        """Map every repeating line to the first line with its prompt."""
        if not len(self):
            return {}
        digests = np.frombuffer(self._prompts, dtype=np.uint64).reshape(-1, 2)
        leaders: dict[int, int] = {}
        for group in _equal_groups(digests[:, 0]):
            first_by_rest: dict[int, int] = {}
            for line in group.tolist():
                first = first_by_rest.setdefault(int(digests[line, 1]), line)
                if first != line:
                    leaders[line] = first
        return leaders


class _Search:
    """Compares proposed lines, each pair once."""

    def __init__(self, index: PromptIndex) -> None:
        self._runs = lru_cache(maxsize=_REMEMBERED_SETS)(lambda line: self._read(index, line))
        self._compared: set[tuple[int, int]] = set()

    @staticmethod
    def _read(index: PromptIndex, line: int) -> Hashes:
        return runs(index.text(line))

    def compare(self, lines: list[int], found: dict[int, tuple[int, float]]) -> None:
        """Compare the lines of one band, in order, with the first few that are unlike each other."""
        representatives: list[int] = []
        for line in lines:
            if line in found:
                continue
            for earlier in representatives:
                similarity = self._similarity(earlier, line)
                if similarity >= THRESHOLD:
                    found[line] = (earlier, similarity)
                    break
            else:
                if len(representatives) < _REPRESENTATIVES:
                    representatives.append(line)

    def _similarity(self, earlier: int, line: int) -> float:
        """0 for pairs compared before, which were not similar: else the line would have been found."""
        if (earlier, line) in self._compared:
            return 0.0
        if len(self._compared) >= _REMEMBERED_PAIRS:
            self._compared.clear()
        self._compared.add((earlier, line))
        return jaccard(self._runs(earlier), self._runs(line))


def _equal_groups(values: npt.NDArray[Any]) -> Iterator[Lines]:
    """Return the positions of equal values, ascending, for every value that occurs more than once."""
    order: Lines = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1], [True])))
    repeated = np.flatnonzero(np.diff(starts) > 1)
    for start, end in zip(starts[repeated].tolist(), starts[repeated + 1].tolist(), strict=True):
        yield order[start:end]
