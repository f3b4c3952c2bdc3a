"""Several runs side by side: what they came to, which settings differ, and the difference on the same held-out items.

The first run is the one that the others are compared with. Pure but for `compared`, which reads the folders.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prorl_api.run_folder import RunFolder
from prorl_cli.errors import RunFolderError
from prorl_cli.report.intervals import PairedGain, paired_gain
from prorl_cli.report.loading import RunData, load
from prorl_cli.report.results import ALL_SOURCES, RunSummary, summary_of
from prorl_cli.report.samples import Item, Rewards, validation_prompts, validation_rewards
from prorl_cli.report.settings import as_it_ran

ABSENT = "–"
_NAMED = ("name", "role")
"""Keys by which the elements of a list are told apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRun:
    """One of the runs."""

    label: str
    """What it is called beside the others: its job's name, or as much of its path as tells them apart."""
    data: RunData
    rewards: Rewards
    summary: RunSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingRow:
    """A field that is not the same in all runs."""

    path: str
    values: tuple[str, ...]
    """By run, as JSON; a dash where the field is not set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """Two runs on the held-out items that both have judged: the second less the first."""

    first: str
    second: str
    source: str
    first_step: int
    second_step: int
    paired: PairedGain
    unlike: int
    """Items of that index in both whose prompts are not the same; they are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All of it."""

    runs: tuple[ComparedRun, ...]
    settings: tuple[SettingRow, ...]
    differences: tuple[PairedDifference, ...]
    notes: tuple[str, ...]
    """What could not be compared or read, for people."""


def compared(folders: Sequence[RunFolder]) -> Comparison:
    """Read the runs and compare them.

    Raises:
        RunFolderError: One is given twice, or has no step on record.
    """
    seen: set[Path] = set()
    for folder in folders:
        where = folder.path.resolve()
        if where in seen:
            raise RunFolderError(f"{folder.path} is given twice; name every run once")
        seen.add(where)
    loaded = [load(folder) for folder in folders]
    for data in loaded:
        if not data.lines:
            raise RunFolderError(
                f"{data.folder.path} has no step on record, so there is nothing to compare; wait for its first step, "
                "or leave it out"
            )
    runs = tuple(_run(label, data) for label, data in zip(labels(loaded), loaded, strict=True))
    differences = tuple(row for run in runs[1:] for row in paired_differences(runs[0], run))
    notes = [f"{run.label}: {note}" for run in runs for note in run.data.notes]
    notes += [
        f"{run.label} and {runs[0].label} have no held-out item in common."
        for run in runs[1:]
        if not any(row.second == run.label for row in differences)
    ]
    return Comparison(runs=runs, settings=setting_rows(runs), differences=differences, notes=tuple(notes))


def labels(loaded: Sequence[RunData]) -> list[str]:
    """Return a name for each run that no other has."""
    names = [data.name for data in loaded]
    depth = 0
    while len(set(names)) < len(names):
        depth += 1
        names = ["/".join(data.folder.path.resolve().parts[-depth:]) for data in loaded]
    return names


def paired_differences(first: ComparedRun, second: ComparedRun) -> list[PairedDifference]:
    """Compare the last validations, and where these are of other steps, the last of a step that both have validated."""
    if not first.rewards or not second.rewards:
        return []
    moments = [(max(first.rewards), max(second.rewards))]
    common = set(first.rewards) & set(second.rewards)
    if moments[0][0] != moments[0][1] and common:
        moments.append((max(common), max(common)))
    return [row for moment in moments for row in _at(first, second, *moment)]


def setting_rows(runs: Sequence[ComparedRun]) -> tuple[SettingRow, ...]:
    """Return the fields of the manifests that differ, as they held when the runs ran; the job's name aside."""
    known = [dict(_flat(_spec(run.data), "spec")) for run in runs if run.data.job is not None]
    if len(known) < len(runs):
        return ()
    paths = dict.fromkeys(path for fields in known for path in fields)
    rows = (SettingRow(path=path, values=tuple(fields.get(path, ABSENT) for fields in known)) for path in paths)
    return tuple(row for row in rows if len(set(row.values)) > 1)


def _run(label: str, data: RunData) -> ComparedRun:
    rewards = validation_rewards(data.folder, data.timeline)
    return ComparedRun(label=label, data=data, rewards=rewards, summary=summary_of(data, rewards))


def _at(first: ComparedRun, second: ComparedRun, first_step: int, second_step: int) -> Iterator[PairedDifference]:
    before, after = first.rewards[first_step], second.rewards[second_step]
    shared = [item for item in before if item in after]
    same = _with_equal_prompts(first, second, first_step, second_step, shared)
    sources = list(dict.fromkeys(item[0] for item in same))
    for source in ([None] if len(sources) > 1 else []) + sources:
        items = [item for item in same if source in (None, item[0])]
        unlike = sum(source in (None, item[0]) for item in shared) - len(items)
        yield PairedDifference(
            first=first.label,
            second=second.label,
            source=ALL_SOURCES if source is None else source,
            first_step=first_step,
            second_step=second_step,
            paired=paired_gain([before[item] for item in items], [after[item] for item in items]),
            unlike=unlike,
        )


def _with_equal_prompts(
    first: ComparedRun, second: ComparedRun, first_step: int, second_step: int, items: Sequence[Item]
) -> list[Item]:
    left = validation_prompts(first.data.folder, first.data.timeline, first_step)
    right = validation_prompts(second.data.folder, second.data.timeline, second_step)
    return [item for item in items if left.get(item) == right.get(item)]


def _spec(data: RunData) -> dict[str, Any]:
    assert data.job is not None
    job = as_it_ran(data.job, is_local=data.folder.lock.exists())
    document: dict[str, Any] = job.spec.model_dump(mode="json", by_alias=True, exclude={"local"})
    return document


def _flat(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Take a document apart into its leaves; elements of a list that have names are told apart by these."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _flat(item, f"{path}.{key}")
    elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        for index, item in enumerate(value):
            name = next((item[key] for key in _NAMED if key in item), index)
            yield from _flat({key: inner for key, inner in item.items() if key not in _NAMED}, f"{path}[{name}]")
    elif value is not None:
        yield path, json.dumps(value, ensure_ascii=False)
