"""One evaluation's results: a JSON-lines file, its first line the settings, then one line a sample."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from prorl_api.errors import Fault, SpecError
from prorl_api.wire.sandbox import CORRECT_REWARD
from prorl_api.wording import reason_of

Item = tuple[str, int]
"""(source, index among its held-out items)."""


class Contamination(BaseModel):
    """How much of an evaluation set stands in files that were trained on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    items: int = Field(ge=0)
    touched: int = Field(ge=0)
    """Items that a training prompt equals or shares a run of 13 words with."""


class EvaluationSettings(BaseModel):
    """The first line: what was evaluated, and how."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = Field(default=1, ge=1, le=1)
    model: str
    """Folder or name of the model."""
    samples: int = Field(ge=1)
    """Completions of each item."""
    temperature: float = Field(ge=0)
    top_p: float = Field(gt=0, le=1)
    max_completion_tokens: int = Field(ge=1)
    seed: int
    sources: Mapping[str, str]
    """Source to the digest of its settings: equal digests mean the same items."""
    trained: tuple[str, ...] | None = None
    """Sources that the job trains on; the others are out of distribution. None: an older file, which does not say."""
    contamination: Mapping[str, Contamination] = {}
    """By source, for those that were compared with files that the job trains on."""
    weights: str = ""
    """Id of the weights that were sampled: attempt, step and digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One judged completion."""

    item: Item
    number: int
    """Among the item's completions, from 0."""
    reward: float | None
    """In [0, 1]; None: the judge failed."""
    verdict: str
    num_tokens: int
    is_truncated: bool
    completion: str
    answer: str | None = None
    """What the completion answers, white space made single; None: nothing was found, or the domain's answers are
    texts and programs, of which two that are alike mean nothing."""
    task: str = ""
    """The item's task within its source, where it has several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """A whole evaluation."""

    path: str
    settings: EvaluationSettings
    samples: Mapping[Item, tuple[Sample, ...]]
    """In order of their numbers."""

    def rewards(self, item: Item) -> list[float]:
        """Rewards of an item's judged completions."""
        return [sample.reward for sample in self.samples[item] if sample.reward is not None]

    def counts(self, item: Item) -> tuple[int, int]:
        """Return (judged completions, correct ones) of an item."""
        rewards = self.rewards(item)
        return len(rewards), sum(reward >= CORRECT_REWARD for reward in rewards)


def write_results(path: Path, settings: EvaluationSettings, samples: Iterable[Sample]) -> None:
    """Write a results file whole or not at all."""
    unfinished = path.with_name(path.name + ".unfinished")
    with unfinished.open("w", encoding="utf-8") as file:
        for line in (settings.model_dump(mode="json"), *map(_line, samples)):
            # Escaped: half of a surrogate pair, which a model can write, has no UTF-8 form.
            file.write(json.dumps(line) + "\n")
    unfinished.replace(path)


def read_results(path: Path) -> Results:
    """Read a results file.

    Raises:
        SpecError: It cannot be read, or a line of it is not what it should be; names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")  # texts may hold other line ends
    except (OSError, UnicodeDecodeError) as error:
        raise _fault(path, "the file", reason_of(error), "results written by `prorl evaluate`") from error
    if lines == [""]:
        raise _fault(path, "line 1", "nothing", "an evaluation's settings")
    try:
        settings = EvaluationSettings.model_validate_json(lines[0])
    except ValidationError as error:
        raise _fault(path, "line 1", reason_of(error), "settings as `prorl evaluate` writes them") from error
    grouped: dict[Item, dict[int, Sample]] = {}
    for sample in _read_samples(path, lines):
        if sample.number in grouped.setdefault(sample.item, {}):
            raise _fault(path, f"item {sample.item}", f"sample {sample.number} twice", "each once")
        grouped[sample.item][sample.number] = sample
    ordered = {item: tuple(found[number] for number in sorted(found)) for item, found in sorted(grouped.items())}
    return Results(path=str(path), settings=settings, samples=ordered)


def require_comparable(first: Results, other: Results) -> None:
    """Refuse to compare evaluations of other items or under other settings.

    Raises:
        SpecError: Names each difference.
    """
    faults = [
        Fault(path=f"{other.path}: {name}", got=str(theirs), want=f"{ours}, as in {first.path}")
        for name in ("temperature", "top_p", "max_completion_tokens")
        if (theirs := getattr(other.settings, name)) != (ours := getattr(first.settings, name))
    ]
    if first.settings.sources != other.settings.sources:
        faults.append(
            Fault(
                path=f"{other.path}: sources",
                got=_named(other.settings.sources),
                want=f"the items of {first.path}: {_named(first.settings.sources)}",
            )
        )
    missing = first.samples.keys() ^ other.samples.keys()
    if missing and not faults:
        shown = ", ".join(f"{source} {index}" for source, index in sorted(missing)[:3])
        faults.append(Fault(path=f"{other.path}: items", got=f"{len(missing)} in one only ({shown})", want="the same"))
    if faults:
        raise SpecError(faults, source="the comparison")


def _named(sources: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({digest[:8]})" for name, digest in sources.items())


def _line(sample: Sample) -> dict[str, Any]:
    return {
        "source": sample.item[0],
        "index": sample.item[1],
        "sample": sample.number,
        "reward": sample.reward,
        "verdict": sample.verdict,
        "num_tokens": sample.num_tokens,
        "is_truncated": sample.is_truncated,
        "completion": sample.completion,
        "answer": sample.answer,
        "task": sample.task,
    }


def _read_samples(path: Path, lines: list[str]) -> Iterator[Sample]:
    for number, line in enumerate(lines[1:], start=2):
        try:
            values = json.loads(line)
            yield Sample(
                item=(str(values["source"]), int(values["index"])),
                number=int(values["sample"]),
                reward=None if values["reward"] is None else float(values["reward"]),
                verdict=str(values["verdict"]),
                num_tokens=int(values["num_tokens"]),
                is_truncated=bool(values["is_truncated"]),
                completion=str(values["completion"]),
                answer=None if values.get("answer") is None else str(values["answer"]),
                task=str(values.get("task", "")),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise _fault(path, f"line {number}", f"{type(error).__name__}: {error}", "one sample") from error


def _fault(path: Path, where: str, got: str, want: str) -> SpecError:
    return SpecError([Fault(path=where, got=got, want=want)], source=str(path))
