"""The stream of training prompts and the held-out sets: seeded, by index, therefore resumable by one number.

Prompt i of a run is always the same prompt. Generated ones are written to `prompts.jsonl` the first time, since some
of reasoning-gym's tasks are not reproducible across processes; a resumed run reads them back.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prorl_api.data_lines import BoundedFaults, Question
from prorl_api.errors import Fault, SpecError
from prorl_api.spec.data import DataSource, PromptFormat
from prorl_api.spec.job import ProRLJobSpec
from prorl_api.spec.run import ValidationSource
from prorl_trainer.algorithm.types import Prompt
from prorl_trainer.data.items import MAX_FAULTS, ItemSource, JsonlItems, ReasoningGymItems
from prorl_trainer.storage.lines import LineFile


@dataclass(frozen=True, slots=True)
class _Stored:
    """A materialised item."""

    source: str
    question: Question
    row: dict[str, Any]


class PromptSource:
    """Prompts by index, tokenised."""

    def __init__(self, spec: ProRLJobSpec, tokenizer: Any, base: Path, store: LineFile) -> None:
        """Open every source.

        Args:
            spec: The job's spec.
            tokenizer: Of transformers; its chat template makes the prompts.
            base: Folder that relative paths start from.
            store: `prompts.jsonl`.

        Raises:
            SpecError: Data that is missing, malformed or too small.
        """
        self._spec = spec
        self._tokenizer = tokenizer
        self._store = store
        self._by_name = {source.name: source for source in spec.data.sources}
        self._items = self._opened(base)
        self._stored = {
            line["key"]: _Stored(line["source"], line["question"], line["row"])
            for line in store.read()
            if "key" in line
        }
        # Materialised before the first training prompt, which must know them: some tasks never repeat an item.
        self._held = {wanted: self._materialise_held_out(wanted) for wanted in spec.validated_sources}
        for wanted, stored in self._held.items():
            self._items[wanted.name].reserve(item.question for item in stored)

    def train(self, index: int, weights: dict[str, float]) -> Prompt:
        """The `index`-th prompt of the training stream.

        Args:
            index: From 0.
            weights: Source name to relative share at the current stage.
        """
        chooser = random.Random(f"{self._spec.seed}/{index}")  # noqa: S311 - reproducible choice, no secret
        names = sorted(weights)
        name = chooser.choices(names, weights=[weights[key] for key in names])[0]
        stored = self._materialise(f"train/{name}/{index}", name, lambda: self._items[name].train(index))
        return self._prompt(index, stored)

    def held_out(self) -> dict[ValidationSource, list[Prompt]]:
        """The held-out prompts of every validated source, always the same."""
        return {
            wanted: [self._prompt(index, stored) for index, stored in enumerate(items)]
            for wanted, items in self._held.items()
        }

    def _materialise_held_out(self, wanted: ValidationSource) -> list[_Stored]:
        keys = [f"validation/{wanted.name}/{index}" for index in range(wanted.size)]
        fresh = [] if all(key in self._stored for key in keys) else self._items[wanted.name].held_out(wanted.size)
        return [self._materialise(key, wanted.name, lambda index=index: fresh[index]) for index, key in enumerate(keys)]

    def _opened(self, base: Path) -> dict[str, ItemSource]:
        """Every source, its rows checked; the faults of all sources are raised together."""
        opened: dict[str, ItemSource] = {}
        errors: list[SpecError] = []
        for source in self._spec.data.sources:
            try:
                items = opened[source.name] = _open(self._spec, source, base)
                if isinstance(items, JsonlItems):
                    self._check_lengths(source, items)
            except SpecError as error:
                errors.append(error)
        if len(errors) > 1:
            raise SpecError([fault for error in errors for fault in error.faults], source="the data of several sources")
        if errors:
            raise errors[0]
        return opened

    def _check_lengths(self, source: DataSource, items: JsonlItems) -> None:
        """Name every row that is too long, before anything is trained."""
        limit = self._spec.rollout.max_prompt_tokens
        faults = BoundedFaults(MAX_FAULTS)
        for row in items:
            text = render(self._tokenizer, source.prompt, row.question)
            if len(text.encode()) < limit:
                continue  # a token is at least a byte; most rows need no tokenizer
            length = len(self._tokens(source, text))
            if length > limit:
                faults.add(_too_long(row.where, length, limit))
        if faults.total:
            raise SpecError(faults.listed(f"source {source.name}"), source=f"source {source.name}")

    def _tokens(self, source: DataSource, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer(text, add_special_tokens=not source.prompt.chat)["input_ids"])

    def _materialise(self, key: str, name: str, make: Any) -> _Stored:
        stored = self._stored.get(key)
        if stored is None:
            question, row = make()
            stored = _Stored(name, question, row)
            self._stored[key] = stored
            self._store.append({"key": key, "source": name, "question": question, "row": row})
        return stored

    def _prompt(self, index: int, stored: _Stored) -> Prompt:
        source = self._by_name[stored.source]
        text = render(self._tokenizer, source.prompt, stored.question)
        token_ids = self._tokens(source, text)
        limit = self._spec.rollout.max_prompt_tokens
        if len(token_ids) > limit:
            raise SpecError([_too_long(f"prompt {index} of source {stored.source}", len(token_ids), limit)])
        return Prompt(
            index=index, source=source.name, domain=source.domain, answer_format=source.answer_format, text=text,
            token_ids=token_ids, row=stored.row,
        )  # fmt: skip


def render(tokenizer: Any, form: PromptFormat, question: Question) -> str:
    """The prompt's text: chat template with the generation prompt, then the assistant prefix."""
    if isinstance(question, str):
        user = form.template.replace("{question}", question)
        if not form.chat:
            return user + form.assistant_prefix
        messages = [{"role": "user", "content": user}]
    else:
        messages = question
    if form.system is not None:
        messages = [{"role": "system", "content": form.system}, *messages]
    text: str = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return text + form.assistant_prefix


def _open(spec: ProRLJobSpec, source: DataSource, base: Path) -> ItemSource:
    if source.reasoning_gym is not None:
        return ReasoningGymItems(source, source.reasoning_gym)
    return JsonlItems(source, base, spec.seed, is_trained_on=spec.is_trained_on(source))


def _too_long(path: str, length: int, limit: int) -> Fault:
    want = f"at most spec.rollout.maxPromptTokens = {limit}; raise it or shorten the prompt"
    return Fault(path=path, got=f"{length} tokens", want=want)


def source_weights(spec: ProRLJobSpec) -> dict[str, float]:
    """Sources that are trained on, with their shares."""
    return {source.name: source.weight for source in spec.data.sources if source.weight > 0}
