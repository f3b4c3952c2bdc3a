"""Items that are made when they are asked for: what all generators share.

A generator makes item i of a purpose from its seed and i alone. Here items that may not be used are replaced by later
ones, so that training never meets what is held out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Set
from typing import Any, Literal

from prorl_api.data_lines import Question
from prorl_api.errors import Fault, SpecError
from prorl_api.questions import question_digest
from prorl_trainer.data.items import Item

Purpose = Literal["train", "validation"]
PURPOSES: tuple[Purpose, ...] = ("train", "validation")
GeneratedItem = tuple[str, dict[str, Any]]
"""A question and its row."""

_MAX_REPLACEMENTS = 1000
"""So many items in a row that cannot be used mean that the task has no more."""
_REPLACEMENT_DISTANCE = 1_000_003


class GeneratedItems(ABC):
    """Items of one generated source; item i depends on the settings and i alone."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._reserved: set[bytes] = set()
        self.num_kept_out = 0
        """See `ItemSource`; since the learner started, items read back from the run folder not counted again."""

    def train(self, index: int) -> Item:
        """See `ItemSource.train`."""
        for replacement in range(_MAX_REPLACEMENTS):
            item = self._made("train", index + replacement * _REPLACEMENT_DISTANCE)
            if item is None:
                continue
            if question_digest(item[0]) not in self._reserved:
                return item
            self.num_kept_out += 1
        want = "a task with more distinct items, or a smaller size in spec.validation.sources"
        got = f"{_MAX_REPLACEMENTS} items in a row that are held out for validation, or that the task fails to make"
        raise SpecError([Fault(path=f"source {self._name}", got=got, want=want)])

    def held_out(self, size: int, is_usable: Callable[[Question], bool]) -> list[Item]:
        """See `ItemSource.held_out`."""
        items: dict[str, Item] = {}
        unusable: set[str] = set()
        in_vain = index = 0
        while len(items) < size and in_vain < _MAX_REPLACEMENTS:
            item = self._made("validation", index)
            index += 1
            if item is None or item[0] in items or item[0] in unusable:
                in_vain += 1
            elif is_usable(item[0]):
                items[item[0]], in_vain = item, 0
            else:
                unusable.add(item[0])
                in_vain += 1
        if len(items) < size:
            want = f"at most {len(items)} in spec.validation.sources, or a task with more items"
            if unusable:
                want += f"; {len(unusable)} were longer than spec.rollout.maxPromptTokens"
            raise SpecError([Fault(path=f"source {self._name}", got=f"size {size}", want=want)])
        return list(items.values())

    def reserve(self, questions: Set[bytes]) -> None:
        """See `ItemSource.reserve`."""
        self._reserved |= questions

    @abstractmethod
    def _made(self, purpose: Purpose, index: int) -> GeneratedItem | None:
        """Make the `index`-th item of a stream; None if that cannot be done."""
