"""The stream of training prompts and the held-out sets: seeded, by index, therefore resumable by one number.

Prompt i of a run is always the same prompt, or always none: an index whose prompt is longer than the engines take is
passed over and counted, since one such item in a stream of millions is no reason to end a run. Generated items are
stored the first time they are used; a resumed run reads them back.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prorl_api.data_lines import GoodLine, Question
from prorl_api.errors import Fault, SpecError
from prorl_api.questions import question_digest
from prorl_api.spec.data import DataSource
from prorl_api.spec.job import ProRLJobSpec
from prorl_api.spec.run import ValidationSource
from prorl_trainer.algorithm.types import Prompt
from prorl_trainer.data.composition_items import CompositionItems
from prorl_trainer.data.gym_items import ReasoningGymItems
from prorl_trainer.data.items import Item, ItemSource
from prorl_trainer.data.jsonl_items import ALL_ROWS, JsonlItems
from prorl_trainer.data.rendering import TEMPLATE_FAILURES, render, tokenise
from prorl_trainer.storage.lines import LineFile
from prorl_trainer.storage.prompt_store import PromptStore, StoredItem

_logger = logging.getLogger(__name__)
_MAX_PASSED_OVER = 1000
"""So many prompts in a row that are too long mean that the limit does not fit the data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenPrompts:
    """A stretch of the training stream."""

    prompts: tuple[Prompt, ...]
    next_index: int
    """First index that was not looked at."""
    num_passed_over: int
    """Indices in between whose prompt is too long."""
    kept_out: Mapping[str, int] = field(default_factory=dict)
    """By source: rows, and generated items so far, left out of training because they are held out."""


class PromptSource:
    """Prompts by index, tokenised."""

    def __init__(
        self, spec: ProRLJobSpec, tokenizer: Any, base: Path, store: LineFile, *, max_rows: int = ALL_ROWS
    ) -> None:
        """Open every source.

        Args:
            spec: The job's spec.
            tokenizer: Of transformers; its chat template makes the prompts. None: there is none, so that lengths are
                not judged and no prompt can be asked for.
            base: Folder that relative paths start from.
            store: `prompts.jsonl`.
            max_rows: Rows of a source that are read, beside those that are held out.

        Raises:
            SpecError: Data that is missing, malformed, too small, or not what the run began with.
        """
        self._spec = spec
        self._tokenizer = tokenizer
        self._max_rows = max_rows
        self._store = PromptStore(store)
        self._by_name = {source.name: source for source in spec.data.sources}
        self._items = self._opened(base)
        # Materialised before the first training prompt, which must know them: some tasks never repeat an item.
        self._held = {wanted: self._held_out(wanted) for wanted in spec.validated_sources}
        self._keep_out()

    def train(self, index: int, weights: dict[str, float]) -> Prompt | None:
        """Return the `index`-th prompt of the training stream, or None if it is too long.

        Args:
            index: From 0.
            weights: Source name to relative share at the current stage.
        """
        chooser = random.Random(f"{self._spec.seed}/{index}")  # noqa: S311 - reproducible choice, no secret
        names = sorted(weights)
        name = chooser.choices(names, weights=[weights[key] for key in names])[0]
        items = self._items[name]
        if isinstance(items, JsonlItems):
            return self._prompt(index, name, items.train(index))
        stored = self._store.item("train", name, index)
        if stored is None:
            stored = StoredItem(name, *items.train(index))
            self._store.add("train", index, stored)
        return self._prompt(index, name, (stored.question, stored.row))

    def take(self, first_index: int, count: int, weights: dict[str, float]) -> TakenPrompts:
        """Return the next `count` prompts of the training stream from an index on.

        Raises:
            SpecError: Prompt after prompt is too long.
        """
        prompts: list[Prompt] = []
        index, in_a_row = first_index, 0
        while len(prompts) < count:
            prompt = self.train(index, weights)
            index += 1
            in_a_row = 0 if prompt is not None else in_a_row + 1
            if prompt is not None:
                prompts.append(prompt)
            elif in_a_row == _MAX_PASSED_OVER:
                raise SpecError([self._all_too_long(weights)], source="the data")
        passed_over = index - first_index - count
        if passed_over:
            limit = self._spec.rollout.max_prompt_tokens
            _logger.warning("passed over %d prompts with more than %d tokens, up to %d", passed_over, limit, index)
        kept_out = {name: self._items[name].num_kept_out for name in sorted(weights)}
        return TakenPrompts(prompts=tuple(prompts), next_index=index, num_passed_over=passed_over, kept_out=kept_out)

    def _keep_out(self) -> None:
        """Keep what any source holds out away from the training of every source."""
        reserved = {question_digest(question) for held in self._held.values() for question, _ in held}
        for items in self._items.values():
            if isinstance(items, JsonlItems):
                reserved |= items.held_questions
        errors: list[SpecError] = []
        for name, items in self._items.items():
            before = items.num_kept_out
            try:
                items.reserve(reserved)
            except SpecError as error:
                errors.append(error)
            if count := items.num_kept_out - before:
                _logger.warning("%d rows of source %s ask what another source holds out: not trained on", count, name)
        if errors:
            raise SpecError([fault for error in errors for fault in error.faults], source="the data")

    def held_out(self) -> dict[ValidationSource, list[Prompt]]:
        """Return the held-out prompts of every validated source, always the same."""
        return {wanted: self._held_prompts(wanted, items) for wanted, items in self._held.items()}

    def unread_sources(self) -> list[str]:
        """Name the sources of which not all rows were read."""
        return [name for name, items in self._items.items() if isinstance(items, JsonlItems) and items.is_partial]

    def num_rows(self) -> dict[str, int]:
        """Return how many rows were read of each source of files, the held-out ones included."""
        return {name: items.record.rows for name, items in self._items.items() if isinstance(items, JsonlItems)}

    def _held_prompts(self, wanted: ValidationSource, items: Sequence[Item]) -> list[Prompt]:
        found = [self._prompt(index, wanted.name, item) for index, item in enumerate(items)]
        prompts = [prompt for prompt in found if prompt is not None]
        if not prompts:
            raise SpecError([self._all_too_long({wanted.name: 1.0})], source="the data")
        if len(prompts) < len(found):
            # They were stored under a higher limit.
            left_out = len(found) - len(prompts)
            _logger.warning("%d held-out prompts of source %s are too long and left out", left_out, wanted.name)
        return prompts

    def _held_out(self, wanted: ValidationSource) -> list[Item]:
        """Return the items of a held-out set; of a generator, stored the first time."""
        items = self._items[wanted.name]
        if isinstance(items, JsonlItems):
            return items.held_out(wanted.size, lambda _: True)
        stored = [self._store.item("validation", wanted.name, index) for index in range(wanted.size)]
        known = [(item.question, item.row) for item in stored if item is not None]
        if len(known) == wanted.size:
            return known
        source = self._by_name[wanted.name]
        fresh = items.held_out(wanted.size, lambda question: self._fits(source, question))
        for index, item in enumerate(stored):
            if item is None:
                self._store.add("validation", index, StoredItem(wanted.name, *fresh[index]))
        return [one if old is None else (old.question, old.row) for old, one in zip(stored, fresh, strict=True)]

    def _opened(self, base: Path) -> dict[str, ItemSource]:
        """Open every source and check its rows; the faults of all sources are raised together."""
        opened: dict[str, ItemSource] = {}
        errors: list[SpecError] = []
        for source in self._spec.data.sources:
            try:
                opened[source.name] = self._open(source, base)
            except SpecError as error:
                errors.append(error)
        if len(errors) > 1:
            raise SpecError([fault for error in errors for fault in error.faults], source="the data of several sources")
        if errors:
            raise errors[0]
        return opened

    def _open(self, source: DataSource, base: Path) -> ItemSource:
        if source.reasoning_gym is not None:
            return ReasoningGymItems(source, source.reasoning_gym)
        if source.composition is not None:
            return CompositionItems(source, source.composition)
        items = JsonlItems(
            source,
            base,
            self._spec.seed,
            is_trained_on=self._spec.is_trained_on(source),
            find_fault=lambda line: self._length_fault(source, line),
            max_rows=self._max_rows,
        )
        recorded = self._store.files(source.name)
        if items.is_partial:
            return items
        if recorded is None:
            self._store.add_files(source.name, items.record)
        else:
            items.raise_if_changed(recorded)
        return items

    def _length_fault(self, source: DataSource, line: GoodLine) -> Fault | None:
        """Name a row of a file that is too long: all are known before anything is trained."""
        if self._tokenizer is None:
            return None
        try:
            length = self._excess(source, render(self._tokenizer, source.prompt, line.question))
        except TEMPLATE_FAILURES as error:
            got = f"a conversation that the chat template refuses: {str(error)[:200]}"
            return Fault(path=f"{line.where} prompt", got=got, want="roles and order that the model's template takes")
        if length is None:
            return None
        want = f"at most {self._limit}; raise it or shorten the prompt"
        return Fault(path=line.where, got=f"{length} tokens", want=want)

    def _fits(self, source: DataSource, question: Question) -> bool:
        return self._tokenizer is None or self._excess(source, render(self._tokenizer, source.prompt, question)) is None

    def _excess(self, source: DataSource, text: str) -> int | None:
        """Return the number of tokens if they are too many, else None."""
        limit = self._spec.rollout.max_prompt_tokens
        if len(text.encode()) < limit:
            return None  # a token is at least a byte; most rows need no tokenizer
        length = len(tokenise(self._tokenizer, source.prompt, text))
        return length if length > limit else None

    @property
    def _limit(self) -> str:
        return f"spec.rollout.maxPromptTokens = {self._spec.rollout.max_prompt_tokens}"

    def _all_too_long(self, weights: dict[str, float]) -> Fault:
        names = ", ".join(sorted(weights))
        got = f"prompts longer than {self._limit}, one after another"
        want = "a limit that its prompts fit into, or a task with shorter ones"
        return Fault(path=f"source {names}", got=got, want=want)

    def _prompt(self, index: int, name: str, item: Item) -> Prompt | None:
        source = self._by_name[name]
        question, row = item
        text = render(self._tokenizer, source.prompt, question)
        token_ids = tokenise(self._tokenizer, source.prompt, text)
        if len(token_ids) > self._spec.rollout.max_prompt_tokens:
            return None
        return Prompt(
            index=index, source=name, domain=source.domain, answer_format=source.answer_format, text=text,
            token_ids=token_ids, row=row,
        )  # fmt: skip


def source_weights(spec: ProRLJobSpec) -> dict[str, float]:
    """Return the sources that are trained on, with their shares."""
    return {source.name: source.weight for source in spec.data.sources if source.weight > 0}
