"""What is kept of one arm's run with one seed: a small JSON file in docs/results/, enough for every figure of the page.

Of an evaluation it keeps by item the judged samples, the right ones and the place of the first right one: pass@k for
every k and who solved what at equal k follow exactly from these.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from prorl_analysis.results import EvaluationSettings, Item, Results, Sample
from prorl_api.errors import Fault, SpecError
from prorl_api.wire.sandbox import CORRECT_REWARD
from prorl_api.wording import reason_of


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Counted(_Model):
    """One item's samples."""

    judged: int = Field(ge=0)
    right: int = Field(ge=0)
    first: int | None = None
    """Place of the first right one among the judged, from 0; None: none is right."""


class Level(_Model):
    """The items of one depth in one evaluation."""

    items: tuple[Counted, ...]
    """In the order of their numbers."""
    entropy: float
    """Of an item's answers, in nats, mean over items."""
    tokens: float
    """Mean length of a completion."""
    truncated: float
    """Share of completions that were cut."""
    novelty: float | None = None
    """Creativity index against the base's own completions, mean over items; None: of the base itself."""
    novelty_low: float | None = None
    novelty_high: float | None = None

    @property
    def judged(self) -> int:
        """Judged samples of all items."""
        return sum(item.judged for item in self.items)

    @property
    def right(self) -> int:
        """Right samples of all items."""
        return sum(item.right for item in self.items)

    @property
    def solved(self) -> int:
        """Items with a right sample."""
        return sum(item.right > 0 for item in self.items)


class Evaluation(_Model):
    """One model's samples of the held-out items."""

    samples: int
    temperature: float
    top_p: float
    items_digest: str
    """Of all sources' settings: equal means the same items."""
    levels: Mapping[str, Level]


class Reset(_Model):
    """One applied reset."""

    step: int
    trigger: str
    reason: str


class Cost(_Model):
    """What a run took."""

    hours: float
    """Of the steps' wall time."""
    step_seconds: float
    """Median of a step without validation and checkpoint."""
    step_seconds_high: float
    """Of 9 in 10 steps at most."""
    tokens_generated: int
    attempts: int
    """Starts; more than one: it was stopped or killed, and went on."""


class Ending(StrEnum):
    """How a run stands."""

    FINISHED = "finished"
    SHORTENED = "shortened"
    """By the person who ran it, to fewer steps than planned."""
    MASTERED = "mastered"
    """All was right before the last step."""
    FAILED = "failed"
    """By itself: no signal any more, or numbers that are not finite."""
    UNFINISHED = "unfinished"


class Record(_Model):
    """One run."""

    format: int = Field(default=2, ge=2, le=2)
    arm: str
    seed: int
    base: str
    """Of the model that it began with: `prorl_api.model.digest.weights_digest`."""
    run: str
    """Uid of its run folder: what was begun anew is another run, which chance leads elsewhere. Of an arm that is shown
    solutions, the digest of the weights that it ended with."""
    assignments: tuple[str, ...]
    planned_steps: int
    """As examples/prolonged.yaml has them."""
    steps: int
    """That were done."""
    ended: Ending
    every: int
    """Steps that one value of a curve is the mean of."""
    curves: Mapping[str, tuple[float | None, ...]]
    validation_steps: tuple[int, ...]
    validations: Mapping[str, tuple[float, ...]]
    """By source, at these steps."""
    resets: tuple[Reset, ...]
    only_recorded: tuple[Reset, ...] = ()
    """What a run that resets nothing (`mode: dry-run`) would have reset by its trigger, at the step of the evidence."""
    cost: Cost
    evaluations: Mapping[int, Evaluation] = {}
    """By step."""
    deep: Mapping[int, Evaluation] = {}
    """With more samples an item, of the last checkpoint, by step."""


class BaseRecord(_Model):
    """The base model's evaluation, which all arms share."""

    format: int = Field(default=2, ge=2, le=2)
    base: str
    """`prorl_api.model.digest.weights_digest`."""
    evaluation: Evaluation
    deep: Evaluation | None = None
    """With more samples an item."""


Kept = TypeVar("Kept", Record, BaseRecord)


def counted(rewards: Iterable[float | None]) -> Counted:
    """Count an item's rewards; None is a sample that nobody judged."""
    is_right = [reward >= CORRECT_REWARD for reward in rewards if reward is not None]
    first = is_right.index(True) if any(is_right) else None
    return Counted(judged=len(is_right), right=sum(is_right), first=first)


def as_results(evaluation: Evaluation, name: str) -> Results:
    """Return results from which pass@k and boundaries come out as from the samples themselves.

    The right samples stand behind each other from the place of the first one on, where they need not have stood: who
    solved an item at k depends on the first one alone, pass@k on the counts.
    """
    samples: dict[Item, tuple[Sample, ...]] = {}
    for source, level in evaluation.levels.items():
        for index, item in enumerate(level.items):
            begin = item.judged if item.first is None else item.first
            right = range(begin, begin + item.right)
            samples[(source, index)] = tuple(
                _sample((source, index), number, number in right) for number in range(item.judged)
            )
    settings = EvaluationSettings(
        model=name,
        samples=evaluation.samples,
        temperature=evaluation.temperature,
        top_p=evaluation.top_p,
        max_completion_tokens=1,
        seed=0,
        sources=dict.fromkeys(evaluation.levels, evaluation.items_digest),
    )
    return Results(path=name, settings=settings, samples=samples)


def _sample(item: Item, number: int, is_right: bool) -> Sample:
    return Sample(
        item=item,
        number=number,
        reward=1.0 if is_right else 0.0,
        verdict="correct" if is_right else "wrong",
        num_tokens=0,
        is_truncated=False,
        completion="",
    )


def write(path: Path, record: Record | BaseRecord) -> None:
    """Write a record whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_text(record.model_dump_json(exclude_none=False) + "\n", encoding="utf-8")
    unfinished.replace(path)


def read(path: Path, kind: type[Kept]) -> Kept:
    """Read a record.

    Raises:
        SpecError: It cannot be read, or is none.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        fault = Fault(path=str(path), got=reason_of(error), want="what `make prolonged` keeps of a run")
        raise SpecError([fault], source=str(path)) from error
