"""Items that reasoning-gym generates, made when they are asked for.

The library makes item i of a dataset from the dataset's seed plus i, but some tasks also prepare something for each of
their items when the dataset is built: for an endless one that takes tens of gigabytes, or hours, or is refused. So a
stream is cut into chunks. A chunk is a dataset of its own whose seed is that of its first item, so that an item is what
it would be in one endless dataset.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import random
from collections import OrderedDict
from collections.abc import Iterable, Set
from typing import Any

from prorl_api.errors import Fault, SpecError
from prorl_api.spec.data import DataSource, ReasoningGymSource
from prorl_trainer.data.generated_items import PURPOSES, GeneratedItem, GeneratedItems, Purpose

_CHUNK_ITEMS = 1000
"""Small enough that the slowest task builds one in a fifth of a second, large enough that this is rare."""
_KEPT_CHUNKS = 4
"""Chunks of a stream in memory: the one in use, and those that replacements come from."""
_UNBOUNDED = 2**31 - 1
_GENERATOR_FAILURES = (ArithmeticError, AssertionError, LookupError, RuntimeError, ValueError)
"""What the library's generators raise for an item that they cannot make."""


class ReasoningGymItems(GeneratedItems):
    """Items of one source; item i depends on the seed and i alone."""

    def __init__(self, source: DataSource, spec: ReasoningGymSource) -> None:
        """Set up generators for every task.

        Raises:
            SpecError: A task is unknown, or its settings are refused by the library.
        """
        super().__init__(source.name)
        self._seed = spec.seed
        self._tasks = [task.name for task in spec.tasks]
        self._weights = [task.weight for task in spec.tasks]
        self._streams: dict[Purpose, list[_Stream]] = {
            purpose: [
                _Stream(source.name, task.name, _stream_seed(spec.seed, task.name, purpose), task.config)
                for task in spec.tasks
            ]
            for purpose in PURPOSES
        }

    def _made(self, purpose: Purpose, index: int) -> GeneratedItem | None:
        # Its own name in the seed: the stream's choice of the source must not decide the task as well.
        chooser = random.Random(f"{self._seed}/task/{index}")  # noqa: S311 - reproducible choice, no secret
        position = chooser.choices(range(len(self._tasks)), weights=self._weights)[0]
        entry = self._streams[purpose][position].entry(index)
        if entry is None:
            return None
        # Through JSON, so that an item is the same whether it was just generated or read back from the run folder.
        row = json.loads(json.dumps({"task": self._tasks[position], "entry": entry}, default=str))
        return row["entry"]["question"], row


class _Stream:
    """The entries of one task for one purpose."""

    def __init__(self, source: str, task: str, seed: int, config: dict[str, Any]) -> None:
        """Build the first chunk, so that a mistake in the settings shows at once."""
        self._path = f"spec.data.sources[{source}].reasoningGym.tasks[{task}]"
        self._task = task
        self._seed = seed
        self._config = config
        self._chunks: OrderedDict[int, Any] = OrderedDict()
        self._chunk(0)

    def entry(self, index: int) -> dict[str, Any] | None:
        """Make the entry of an index; None if the task fails to."""
        number, position = divmod(index % _UNBOUNDED, _CHUNK_ITEMS)
        try:
            entry: dict[str, Any] = self._chunk(number)[position]
        except _GENERATOR_FAILURES:
            # A dataset may take its failure for its end and refuse every later item: a new one does not know of it.
            del self._chunks[number]
            return None
        return entry

    def _chunk(self, number: int) -> Any:
        """Return a chunk's dataset, built again if it was not used for a while."""
        if number not in self._chunks:
            self._chunks[number] = self._dataset(self._seed + number * _CHUNK_ITEMS)
            while len(self._chunks) > _KEPT_CHUNKS:
                self._chunks.popitem(last=False)
        self._chunks.move_to_end(number)
        return self._chunks[number]

    def _dataset(self, seed: int) -> Any:
        import reasoning_gym
        from reasoning_gym.factory import DATASETS

        if self._task not in DATASETS:
            want = f"a task of reasoning-gym{_near(self._task, DATASETS)}"
            raise SpecError([Fault(path=f"{self._path}.name", got=self._task, want=want)])
        known = {field.name for field in dataclasses.fields(DATASETS[self._task][1])} - {"size", "seed"}
        if unknown := [
            Fault(path=f"{self._path}.config.{name}", got=str(value), want=_settings(self._task, name, known))
            for name, value in self._config.items()
            if name not in known
        ]:
            raise SpecError(unknown)
        try:
            return reasoning_gym.create_dataset(self._task, size=_CHUNK_ITEMS, seed=seed, **self._config)
        except (ValueError, TypeError, AssertionError) as error:
            got = f"{json.dumps(self._config)}: {error or type(error).__name__}"
            want = f"settings that {self._task} takes together"
            raise SpecError([Fault(path=f"{self._path}.config", got=got, want=want)]) from error


def _settings(task: str, name: str, known: Set[str]) -> str:
    return f"a setting of {task}{_near(name, known) or ': ' + (', '.join(sorted(known)) or 'it has none')}"


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean `{near[0]}`?" if near else ""


def _stream_seed(seed: int, task: str, purpose: str) -> int:
    """Return a base seed below 2^31. The library makes item i from base + i, so that neighbouring bases would share
    their items."""
    digest = hashlib.sha256(f"{seed}/{task}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
