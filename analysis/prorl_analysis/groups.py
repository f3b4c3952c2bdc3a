"""Items by what they are reported under: their source, or their task where a source mixes several; and sweeps of
difficulty."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prorl_analysis.results import Item, Results

_LEVEL = re.compile(r"(.*[^0-9_.-])[-_.]?([0-9]{1,2})")
_FEWEST_LEVELS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Groups that differ in difficulty alone."""

    stem: str
    levels: tuple[tuple[int, str], ...]
    """(level, group), ascending."""


def groups_of(results: Results) -> dict[str, tuple[Item, ...]]:
    """Return the items by source, in the settings' order, or by `source/task` where a source's items have several
    tasks."""
    found: dict[str, list[Item]] = {}
    for source in results.settings.sources:
        items = [item for item in results.samples if item[0] == source]
        tasks = {item: results.samples[item][0].task for item in items}
        is_mixed = len(set(tasks.values())) > 1
        for item in sorted(items, key=lambda item: (tasks[item], item)):
            found.setdefault(f"{source}/{tasks[item]}" if is_mixed else source, []).append(item)
    return {name: tuple(items) for name, items in found.items()}


def sweeps_of(names: Sequence[str]) -> list[Sweep]:
    """Return the sweeps among groups: three or more whose names differ in a number of one or two digits at the end."""
    stems: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        if found := _LEVEL.fullmatch(name):
            stems.setdefault(found[1], []).append((int(found[2]), name))
    return [
        Sweep(stem=stem, levels=tuple(sorted(levels)))
        for stem, levels in stems.items()
        if len({level for level, _ in levels}) >= _FEWEST_LEVELS
    ]


def is_trained(results: Results, group: str, items: Mapping[str, Sequence[Item]]) -> bool | None:
    """Tell whether a group's source is trained on; None: the evaluation does not say."""
    if results.settings.trained is None:
        return None
    return items[group][0][0] in results.settings.trained
