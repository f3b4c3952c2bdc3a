"""Edits of a manifest: what changed, what a begun run cannot take, and what holds before its next start. Pure."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Any

from prorl_api.errors import Fault
from prorl_api.manifest import validate_job
from prorl_api.spec.base import Change, change_marks
from prorl_api.spec.differences import differences
from prorl_api.spec.job import ProRLJob, ProRLJobSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChange:
    """One field that differs."""

    path: str
    """`spec.learner.groupSize`."""
    difference: str
    """`4 -> 8`; of lists and sections what differs in them."""
    got: str
    """The same as a fault says it: `8, was 4`."""
    mark: Change

    def __str__(self) -> str:
        return f"{self.path}: {self.difference}"


_MODEL_PATH = "local.modelPath"
_LENGTH = "rollout.maxCompletionTokens"
_NUMBERS = frozenset(f"{prefix}learner.{name}" for prefix in ("", "local.") for name in ("engine", "precision"))
"""What a checkpoint's numbers come of; a run that has none yet may change it."""

TAKEN_UP = frozenset({Change.LIVE, Change.STEP_BOUNDARY})
"""Marks of the fields that a learner takes up while it runs, at its next step boundary."""


def changes(before: ProRLJob, after: ProRLJob) -> list[FieldChange]:
    """Find every differing field of the spec, and the name, in the manifest's spelling."""
    found = []
    if before.metadata.name != after.metadata.name:
        found.append(_change("metadata.name", before.metadata.name, after.metadata.name, Change.IMMUTABLE))
    old, new = _dumped(before), _dumped(after)
    for path, mark in change_marks(ProRLJobSpec).items():
        was, now = _at(old, path), _at(new, path)
        if was != now:
            found.append(_change(f"spec.{path}", was, now, _mark(path, mark, before.spec, after.spec)))
    return found


def _mark(path: str, mark: Change, before: ProRLJobSpec, after: ProRLJobSpec) -> Change:
    """Say when a changed field takes effect, where that hangs on more than the field."""
    if path == _MODEL_PATH:
        return Change.IMMUTABLE
    if path == _LENGTH and after.max_sequence_tokens > before.max_sequence_tokens:
        return Change.NEXT_ATTEMPT  # engines are sized when they start
    return mark


def taken_up(
    now: ProRLJob, edited: ProRLJob, marks: Container[Change] = TAKEN_UP, *, engine_tokens: int | None = None
) -> ProRLJob:
    """Return the job as it runs once an edit was noticed: fields with one of `marks` from `edited`, others as they are.

    Completions that are longer than the running engines take wait as well, whatever the mark of the field says: every
    request would be refused.

    Args:
        now: As it runs.
        edited: As it is asked for.
        marks: Of the fields to take.
        engine_tokens: Longest prompt plus completion that the engines were started for; None: as `now` needs.

    Raises:
        SpecError: The mixture breaks a rule, since the edit also changes fields that must wait.
    """
    mixed, wanted = now.model_dump(mode="json", by_alias=True), _dumped(edited)
    capacity = now.spec.max_sequence_tokens if engine_tokens is None else engine_tokens
    room = capacity - now.spec.rollout.max_prompt_tokens
    for path, mark in change_marks(ProRLJobSpec).items():
        if path == _LENGTH and edited.spec.rollout.max_completion_tokens > room:
            continue
        if mark in marks:
            *sections, last = path.split(".")
            source, target = wanted, mixed["spec"]
            for name in sections:
                source, target = source[name], target[name]
            target[last] = source[last]
    return validate_job(mixed, source="the edited manifest")


def waiting(taken: ProRLJob, edited: ProRLJob) -> list[str]:
    """Name the fields of an edit that hold from the next attempt on, each with the reason where the mark gives none."""
    reason = " (the engines are sized when they start)"
    return [f"{change.path}{reason if change.path == f'spec.{_LENGTH}' else ''}" for change in changes(taken, edited)]


def immutable_faults(found: list[FieldChange], *, has_checkpoint: bool = True) -> list[Fault]:
    """Name the changes that a begun run cannot take, each with its remedy.

    Args:
        found: All changes.
        has_checkpoint: Whether the run has a checkpoint, or may write one before the edit would hold: without one,
            engine and precision may still change.
    """
    elsewhere = "put it back, or start a new run with another --run-dir"
    fixed = f"fixed once a run has begun; {elsewhere} (initFrom continues it)"
    numbers = f"the run's checkpoints hold the numbers of this one; {elsewhere} (initFrom, checkpoint: best)"
    return [
        Fault(
            path=change.path,
            got=change.got,
            want=numbers if _is_of_numbers(change) else fixed,
        )
        for change in found
        if change.mark is Change.IMMUTABLE and (has_checkpoint or not _is_of_numbers(change))
    ]


def _is_of_numbers(change: FieldChange) -> bool:
    return change.path.removeprefix("spec.") in _NUMBERS


def _dumped(job: ProRLJob) -> dict[str, Any]:
    return job.spec.model_dump(mode="json", by_alias=True)


def _at(document: Any, path: str) -> Any:
    for part in path.split("."):
        document = document.get(part) if isinstance(document, dict) else None
    # A section that is not there and an empty one mean the same.
    return None if document in ({}, []) else document


def _change(path: str, before: Any, after: Any, mark: Change) -> FieldChange:
    difference = differences(path.rpartition(".")[2], before, after)
    is_whole = not any(isinstance(value, dict | list) for value in (before, after))
    old, _, new = difference.partition(" -> ")
    return FieldChange(path=path, difference=difference, got=f"{new}, was {old}" if is_whole else difference, mark=mark)
