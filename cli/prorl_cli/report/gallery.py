"""Which completions the page shows: the same held-out prompts over the validations, and a few training groups.

The choice is by rule, not by taste: of each kind of held-out prompt (became better, became worse, stayed right,
stayed wrong) the first ones, with the counts of all beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prorl_cli.report.loading import RunData
from prorl_cli.report.results import RIGHT
from prorl_cli.report.samples import (
    Completion,
    Item,
    Rewards,
    sample_steps,
    training_groups,
    validation_completions,
)

ITEMS_PER_KIND = 2
VALIDATIONS_SHOWN = 4
TRAINING_STEPS_SHOWN = 4
GROUPS_PER_STEP = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one validation got for one prompt."""

    step: int
    reward: float | None
    """Mean over the prompt's samples."""
    completion: Completion | None
    """The first sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One held-out prompt over the validations."""

    source: str
    index: int
    prompt: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Held-out prompts that fared alike between the first and the last validation."""

    title: str
    count: int
    share: float
    shown: tuple[Comparison, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One training prompt with its completions."""

    source: str
    prompt: str
    completions: tuple[Completion, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """All completions on the page."""

    kinds: tuple[Kind, ...]
    training: tuple[tuple[int, tuple[Group, ...]], ...]
    """Step with its groups."""


def gallery_of(data: RunData, rewards: Rewards) -> Gallery:
    """Choose and read."""
    return Gallery(kinds=_kinds(data, rewards), training=_training(data))


def kind_of(before: float, after: float) -> str:
    """Return how a prompt fared, by its mean rewards."""
    if after > before:
        return "Became better"
    if after < before:
        return "Became worse"
    return "Right both times" if after >= RIGHT else "Not right either time"


def spread(steps: Sequence[int], most: int) -> list[int]:
    """Choose at most so many of the steps, evenly, first and last among them."""
    if len(steps) <= most:
        return list(steps)
    return [steps[round(place * (len(steps) - 1) / (most - 1))] for place in range(most)]


def _kinds(data: RunData, rewards: Rewards) -> tuple[Kind, ...]:
    if not rewards:
        return ()
    steps = spread(sorted(rewards), VALIDATIONS_SHOWN)
    first, last = rewards[steps[0]], rewards[steps[-1]]
    members: dict[str, list[Item]] = {}
    if len(steps) == 1:
        members["Answers of the only validation so far"] = list(first)
    else:
        members = {"Became better": [], "Became worse": [], "Right both times": [], "Not right either time": []}
        for item in first:
            if item in last:
                members[kind_of(first[item], last[item])].append(item)
    chosen = {title: _one_by_source(items)[:ITEMS_PER_KIND] for title, items in members.items()}
    wanted = {item for items in chosen.values() for item in items}
    texts = validation_completions(data.folder, data.timeline, steps, wanted)
    everything = sum(len(items) for items in members.values())
    return tuple(
        Kind(
            title=title,
            count=len(items),
            share=len(items) / everything,
            shown=tuple(_comparison(item, steps, rewards, texts) for item in chosen[title]),
        )
        for title, items in members.items()
        if items
    )


def _one_by_source(items: Sequence[Item]) -> list[Item]:
    """Ordered so that every source comes before any comes twice."""
    seen: dict[str, int] = {}
    ranked = []
    for item in sorted(items):
        seen[item[0]] = seen.get(item[0], 0) + 1
        ranked.append((seen[item[0]], item))
    return [item for _, item in sorted(ranked)]


def _comparison(
    item: Item, steps: Sequence[int], rewards: Rewards, texts: dict[tuple[int, Item], Completion]
) -> Comparison:
    answers = tuple(
        Answer(step=step, reward=rewards[step].get(item), completion=texts.get((step, item))) for step in steps
    )
    prompt = next((answer.completion.prompt for answer in answers if answer.completion), "")
    return Comparison(source=item[0], index=item[1], prompt=prompt, answers=answers)


def _training(data: RunData) -> tuple[tuple[int, tuple[Group, ...]], ...]:
    shown = []
    for step in spread(sample_steps(data.folder, "train", data.timeline), TRAINING_STEPS_SHOWN):
        groups = training_groups(data.folder, data.timeline, step, most=GROUPS_PER_STEP)
        if groups:
            found = [
                Group(source=source, prompt=completions[0].prompt, completions=tuple(completions))
                for (source, _), completions in groups.items()
            ]
            shown.append((step, tuple(found)))
    return tuple(shown)
