"""A declared corpus as a suffix array over words: how long the spans are that a text shares with it.

libdivsufsort sorts bytes (package pydivsufsort). Words become numbers of a fixed width, most significant byte first,
so that the order of the aligned suffixes is that of the words; the others are dropped. Per word the index keeps eight
bytes. Documents are kept apart by a number that no word has, so that no span runs from one into the next.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prorl_api.errors import Fault, SpecError
from prorl_api.jsonl import LineError, parse_object, raw_lines

Ids = NDArray[np.uint32]
Lengths = NDArray[np.int64]

_WORD = re.compile(r"\w+|[^\w\s]")
_BETWEEN = 0
_UNKNOWN = 2**32 - 1
"""A word that the corpus does not have, and what stands between texts that are looked up."""
_POSITIONS = 2**15
"""Looked up at once: a window of ten words each takes some megabytes."""
_PIECE = 2**22
_SUFFIXES = (".txt", ".md", ".jsonl", ".ndjson")


def words(text: str) -> list[str]:
    """Return words and single symbols, whatever their case; white space only separates."""
    return _WORD.findall(text.casefold())


class _Vocabulary(dict[str, int]):
    def __missing__(self, word: str) -> int:
        number = self[word] = len(self) + 1
        return number


def numbered_words(texts: Iterable[str]) -> list[Ids]:
    """Return the words of texts as numbers, equal words alike."""
    vocabulary = _Vocabulary()
    return [np.fromiter(map(vocabulary.__getitem__, words(text)), dtype=np.uint32) for text in texts]


class CorpusIndex:
    """Finds the longest spans that texts share with a corpus."""

    def __init__(self, documents: Iterable[Iterable[str]]) -> None:
        """Read and sort the corpus.

        Args:
            documents: Each an iterable of pieces of text that follow each other.

        Raises:
            ValueError: More than two thousand million bytes of numbered words.
        """
        self._vocabulary = _Vocabulary()
        numbers = array("I")
        self.num_words = 0
        for document in documents:
            for piece in document:
                found = words(piece)
                self.num_words += len(found)
                numbers.extend(map(self._vocabulary.__getitem__, found))
            numbers.append(_BETWEEN)
        self._ids: Ids = np.frombuffer(numbers, dtype=np.uint32) if numbers else np.zeros(1, dtype=np.uint32)
        self._order = _sorted_suffixes(self._ids, len(self._vocabulary))
        counts = np.bincount(self._ids, minlength=len(self._vocabulary) + 1)
        self._starts = np.concatenate([[0], np.cumsum(counts)])

    def encode(self, text: str) -> Ids:
        """Return a text's words as the corpus numbers them."""
        known = self._vocabulary
        return np.fromiter((known.get(word, _UNKNOWN) for word in words(text)), dtype=np.uint32)

    def matches(self, ids: Ids, longest: int) -> Lengths:
        """Return for every place the length of the longest span from there that the corpus holds, at most `longest`."""
        padded = np.concatenate([ids, np.full(longest, _UNKNOWN, dtype=np.uint32)])
        found = np.zeros(len(ids), dtype=np.int64)
        places = np.flatnonzero(ids != _UNKNOWN)
        for start in range(0, len(places), _POSITIONS):
            at = places[start : start + _POSITIONS]
            found[at] = self._longest(padded[at[:, np.newaxis] + np.arange(longest)])
        return found

    def _longest(self, asked: Ids) -> Lengths:
        """Binary search for each row's place in the order; its neighbours there share the longest spans with it.

        Args:
            asked: [places, longest], the first of each row known to the corpus.
        """
        first = asked[:, 0].astype(np.int64)
        begin, end = self._starts[first], self._starts[first + 1]
        low, high = begin.copy(), end.copy()
        searching = np.flatnonzero(low < high)
        while searching.size:
            middle = (low[searching] + high[searching]) // 2
            less = self._is_less(middle, asked[searching])
            low[searching[less]] = middle[less] + 1
            high[searching[~less]] = middle[~less]
            searching = searching[low[searching] < high[searching]]
        before = np.maximum(low - 1, begin)
        after = np.minimum(low, end - 1)
        return np.maximum(self._shared(before, asked), self._shared(after, asked))

    def _window(self, places: NDArray[np.int64], width: int) -> Ids:
        at = self._order[places].astype(np.int64)[:, np.newaxis] + np.arange(width)
        # Behind the corpus' end stands what separates documents.
        return np.where(at < len(self._ids), self._ids[np.minimum(at, len(self._ids) - 1)], np.uint32(_BETWEEN))

    def _is_less(self, places: NDArray[np.int64], asked: Ids) -> NDArray[np.bool_]:
        window = self._window(places, asked.shape[1])
        differs = window != asked
        at = (np.arange(len(asked)), differs.argmax(axis=1))
        less: NDArray[np.bool_] = differs[at] & (window[at] < asked[at])
        return less

    def _shared(self, places: NDArray[np.int64], asked: Ids) -> Lengths:
        same = self._window(places, asked.shape[1]) == asked
        lengths: Lengths = np.cumprod(same, axis=1).sum(axis=1)
        return lengths


def _sorted_suffixes(ids: Ids, num_words: int) -> NDArray[np.int32]:
    """Return the places of all words, in the order of what follows from there."""
    from pydivsufsort import divsufsort

    width = max(1, (num_words.bit_length() + 7) // 8)
    if len(ids) * width >= 2**31:
        raise ValueError(f"a corpus of {len(ids):,} words is too large: with {num_words:,} different ones at most "
                         f"{2**31 // width:,}")  # fmt: skip
    encoded = np.empty((len(ids), width), dtype=np.uint8)
    for place in range(width):
        encoded[:, place] = (ids >> np.uint32(8 * (width - 1 - place))) & np.uint32(255)
    order = divsufsort(encoded.reshape(-1))
    del encoded
    if width == 1:
        whole: NDArray[np.int32] = order.astype(np.int32, copy=False)
        return whole
    aligned, done = np.empty(len(ids), dtype=np.int32), 0
    for start in range(0, len(order), _PIECE):
        piece = order[start : start + _PIECE]
        piece = piece[piece % width == 0] // width
        aligned[done : done + len(piece)] = piece
        done += len(piece)
    return aligned


def read_corpus(path: Path) -> Iterator[Iterator[str]]:
    """Return the documents of a corpus, piece by piece.

    A folder: its `.txt`, `.md` and `.jsonl` files, also below. JSON Lines: every line a document, all of its texts,
    or only what was generated where the file holds results of `prorl evaluate`. Other files: one document, line by
    line.

    Raises:
        SpecError: Nothing can be read there.
    """
    files = sorted(found for found in path.rglob("*") if found.suffix in _SUFFIXES) if path.is_dir() else [path]
    if not files:
        raise _fault(path, "no files", f"at least one of {', '.join(_SUFFIXES)}")
    for file in files:
        try:
            if file.suffix in (".jsonl", ".ndjson"):
                yield from _records(file)
            else:
                with file.open(encoding="utf-8", errors="replace") as lines:
                    yield lines
        except OSError as error:
            raise _fault(file, error.strerror or str(error), "a file that can be read") from error


def _records(path: Path) -> Iterator[Iterator[str]]:
    for raw in raw_lines(path):
        try:
            record = parse_object(raw.content)
        except LineError as error:
            raise _fault(path, f"line {raw.number}: {error.got}", error.want) from error
        if "sources" in record and "temperature" in record:
            continue  # the settings of results
        yield iter([str(record["completion"])] if "completion" in record and "verdict" in record else _texts(record))


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in value.values() for text in _texts(item)]
    return [text for item in value for text in _texts(item)] if isinstance(value, list) else []


def _fault(path: Path, got: str, want: str) -> SpecError:
    return SpecError([Fault(path=str(path), got=got, want=want)], source="the corpus")
