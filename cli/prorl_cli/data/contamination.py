"""Whether evaluation items are among the prompts: equal after normalisation, or sharing a run of 13 words.

The measure is that of GPT-3 (arXiv 2005.14165, appendix C): runs of 13 words, lower-cased, punctuation dropped. An item
with fewer words can only be found as an equal prompt. Figures are given both ways: prompts that touch an item, and
items touched. The share of an item's runs that a prompt holds tells a copied item from a shared turn of phrase.

Memory: about 16 bytes for each word of the evaluation files, nothing for the training files.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from prorl_api.errors import Fault, SpecError
from prorl_api.jsonl import LineError, parse_object, raw_lines
from prorl_api.questions import normalised, question_text
from prorl_api.wording import reason_of
from prorl_cli.data.text import Hashes, digest, ngram_hashes, words

RUN = 13
_FIELDS = ("prompt", "problem", "question", "instruction", "text", "input")


@dataclass(slots=True)
class Overlap:
    """What was found of one evaluation file."""

    path: Path
    items: int = 0
    short_items: int = 0
    """With fewer than 13 words: found only where a prompt equals them."""
    equal_prompts: int = 0
    """Prompts that equal an item."""
    touching_prompts: int = 0
    """Prompts that share a run with an item, equal ones included."""
    touched: set[int] = field(default_factory=set)
    """Items that some prompt equals or shares a run with."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A prompt that touches an evaluation item."""

    item: str
    """Evaluation file and line number."""
    is_equal: bool
    share: float
    """Of the item's runs that the prompt holds, in [0, 1]; 1 if it is equal."""


class EvaluationIndex:
    """The items of all evaluation files."""

    def __init__(self, paths: list[Path], *, min_share: float = 0.0) -> None:
        """Read them.

        Args:
            paths: JSONL (one item a line), or any other text (items separated by blank lines).
            min_share: A prompt that holds a smaller share of an item's runs does not touch it.

        Raises:
            SpecError: A file cannot be read, or an item has no text where one is looked for.
        """
        self._min_share = min_share
        self.files = [Overlap(path) for path in paths]
        self._places: list[tuple[int, int]] = []
        """Of every item: its file and its line number."""
        self._equal: dict[tuple[int, int], list[int]] = {}
        self._sizes = array("I")
        grams: list[Hashes] = []
        for number, overlap in enumerate(self.files):
            for line, text in _items(overlap.path):
                overlap.items += 1
                found = ngram_hashes(words(normalised(text)), RUN)
                overlap.short_items += not len(found)
                self._equal.setdefault(digest(normalised(text)), []).append(len(self._places))
                self._places.append((number, line))
                self._sizes.append(len(found))
                grams.append(found)
        counts = [len(found) for found in grams]
        every = np.concatenate([np.zeros(0, dtype=np.uint64), *grams])
        order = np.argsort(every, kind="stable")
        self._grams = every[order]
        self._owners = np.repeat(np.arange(len(grams), dtype=np.uint32), counts)[order]

    def hits(self, text: str) -> list[Hit]:
        """Return the evaluation items that a normalised prompt touches; their files' figures are brought up to date."""
        if not self.files:
            return []
        shares = self._shares(ngram_hashes(words(text), RUN))
        equal = self._equal.get(digest(text), [])
        shares |= dict.fromkeys(equal, 1.0)
        touched_files: dict[int, bool] = {}
        hits = []
        for item, share in sorted(shares.items(), key=lambda pair: -pair[1]):
            number, line = self._places[item]
            self.files[number].touched.add(item)
            touched_files[number] = touched_files.get(number, False) or item in equal
            hits.append(Hit(f"{self.files[number].path}:{line}", is_equal=item in equal, share=share))
        for number, is_equal in touched_files.items():
            self.files[number].touching_prompts += 1
            self.files[number].equal_prompts += is_equal
        return hits

    def _shares(self, grams: Hashes) -> dict[int, float]:
        """Return for every item that shares a run the share of its runs."""
        if not len(grams) or not len(self._grams):
            return {}
        first = np.searchsorted(self._grams, grams, side="left")
        last = np.searchsorted(self._grams, grams, side="right")
        counts: dict[int, int] = {}
        for start, end in zip(first[first < last].tolist(), last[first < last].tolist(), strict=True):
            for owner in self._owners[start:end].tolist():
                counts[owner] = counts.get(owner, 0) + 1
        shares = {item: count / self._sizes[item] for item, count in counts.items()}
        return {item: share for item, share in shares.items() if share >= self._min_share}


def _items(path: Path) -> Iterator[tuple[int, str]]:
    """Line number and text of every item of a file."""
    try:
        yield from _lines(path) if path.suffix in (".jsonl", ".ndjson") else _paragraphs(path)
    except (OSError, UnicodeDecodeError) as error:
        raise _fault(
            str(path), reason_of(error), "a readable UTF-8 file: JSONL, or text with blank lines between items"
        ) from error


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    for raw in raw_lines(path):
        try:
            text = item_text(parse_object(raw.content))
        except LineError as error:
            raise _fault(f"{path}:{raw.number}", error.got, error.want) from error
        if not text:
            want = f"an item with its text in one of {', '.join(_FIELDS)}"
            raise _fault(f"{path}:{raw.number}", "none of them", want)
        yield raw.number, text


def _paragraphs(path: Path) -> Iterator[tuple[int, str]]:
    start, collected = 1, ""
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                start = start if collected else number
                collected += line
            elif collected:
                yield start, collected
                collected = ""
    if collected:
        yield start, collected


def item_text(value: Mapping[str, Any]) -> str:
    """Return what a line asks; empty where no field holds a question."""
    for name in _FIELDS:
        content = value.get(name)
        if isinstance(content, str) and content.strip():
            return content
        if (
            isinstance(content, list)
            and content
            and all(isinstance(part, dict) and "content" in part for part in content)
        ):
            return question_text([{"role": str(part.get("role")), "content": str(part["content"])} for part in content])
    return ""


def _fault(path: str, got: str, want: str) -> SpecError:
    return SpecError([Fault(path=path, got=got, want=want)], source="an evaluation file")
