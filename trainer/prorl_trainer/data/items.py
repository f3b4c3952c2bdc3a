"""What a source of prompts offers: items by index, a question each and what its verifier needs.

Training and validation never share a question, within a source or across sources (`prorl_api.questions` says when two
are the same): generated items of the training stream that ask what a held-out prompt asks are replaced by the next
free one; rows of a file are split once by a seeded shuffle, and those that repeat a held-out question are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Any, Protocol

from prorl_api.data_lines import Question

Item = tuple[Question, dict[str, Any]]
"""A question, and the row that its verifier needs."""

MAX_FAULTS = 20
"""So many bad rows are named; the rest is counted."""


class ItemSource(Protocol):
    """Deterministic items of one source."""

    def train(self, index: int) -> Item:
        """Return the `index`-th training item; there is no last one."""

    def held_out(self, size: int, is_usable: Callable[[Question], bool]) -> list[Item]:
        """Return the first `size` held-out items that can be used, no two with the same question."""

    def reserve(self, questions: Set[bytes]) -> None:
        """Never give questions with these digests (`prorl_api.questions`) out for training.

        Raises:
            SpecError: Nothing would be left to train on.
        """

    @property
    def num_kept_out(self) -> int:
        """Rows of the files, or generated items so far, that training goes without because they are held out."""
