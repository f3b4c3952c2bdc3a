"""Edits of a manifest: what changed, what a begun run cannot take, and what holds before its next start. Pure."""

from __future__ import annotations

import json
from collections.abc import Container
from dataclasses import dataclass
from typing import Any

from prorl_api.errors import Fault
from prorl_api.manifest import validate_job
from prorl_api.spec.base import Change, change_marks
from prorl_api.spec.job import ProRLJob, ProRLJobSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChange:
    """One field that differs."""

    path: str
    """`spec.learner.groupSize`."""
    before: str
    after: str
    mark: Change

    def __str__(self) -> str:
        return f"{self.path}: {self.before} -> {self.after}"


def changes(before: ProRLJob, after: ProRLJob) -> list[FieldChange]:
    """Return every differing field of the spec, and the name, in the manifest's spelling."""
    found = []
    if before.metadata.name != after.metadata.name:
        found.append(_change("metadata.name", before.metadata.name, after.metadata.name, Change.IMMUTABLE))
    old, new = _dumped(before), _dumped(after)
    for path, mark in change_marks(ProRLJobSpec).items():
        was, now = _at(old, path), _at(new, path)
        if was != now:
            is_model = path == "local.modelPath"
            found.append(_change(f"spec.{path}", was, now, Change.IMMUTABLE if is_model else mark))
    return found


TAKEN_UP = frozenset({Change.LIVE, Change.STEP_BOUNDARY})
"""Marks of the fields that a learner takes up while it runs, at its next step boundary."""


def taken_up(now: ProRLJob, edited: ProRLJob, marks: Container[Change] = TAKEN_UP) -> ProRLJob:
    """Return the job as it runs once an edit was noticed.

    Fields with one of `marks` from `edited`, all others as they are.

    Raises:
        SpecError: The mixture breaks a rule, since the edit also changes fields that must wait.
    """
    mixed, wanted = now.model_dump(mode="json", by_alias=True), _dumped(edited)
    for path, mark in change_marks(ProRLJobSpec).items():
        if mark in marks:
            *sections, last = path.split(".")
            source, target = wanted, mixed["spec"]
            for name in sections:
                source, target = source[name], target[name]
            target[last] = source[last]
    return validate_job(mixed, source="the edited manifest")


def immutable_faults(found: list[FieldChange]) -> list[Fault]:
    """Return the changes that a begun run cannot take, each with its remedy."""
    remedy = (
        "fixed once a run has begun; put it back, or start a new run with another --run-dir (initFrom continues it)"
    )
    return [
        Fault(path=change.path, got=f"{change.after}, was {change.before}", want=remedy)
        for change in found
        if change.mark is Change.IMMUTABLE
    ]


def _dumped(job: ProRLJob) -> dict[str, Any]:
    return job.spec.model_dump(mode="json", by_alias=True)


def _at(document: Any, path: str) -> Any:
    for part in path.split("."):
        document = document.get(part) if isinstance(document, dict) else None
    # A section that is not there and an empty one mean the same.
    return None if document in ({}, []) else document


def _change(path: str, before: Any, after: Any, mark: Change) -> FieldChange:
    return FieldChange(path=path, before=_shown(before), after=_shown(after), mark=mark)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:79]}…"
