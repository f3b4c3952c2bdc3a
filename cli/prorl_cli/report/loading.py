"""Reading a run folder for its report, whatever state it is in.

A torn line, a missing file or a record of another version costs that one piece of the report and leaves a note; it
never costs the report. Completions are read in `samples`, because they can be large.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from prorl_api.errors import SpecError
from prorl_api.manifest import parse_job
from prorl_api.metrics import surviving
from prorl_api.resets import ResetRecord
from prorl_api.run_folder import RunFolder
from prorl_api.run_identity import RunIdentity
from prorl_api.spec.job import ProRLJob
from prorl_api.status import JobStatus
from prorl_api.wire.base import WireModel
from prorl_api.wording import reason_of
from prorl_cli.errors import RunFolderError
from prorl_cli.local.files import reading
from prorl_cli.local.folder import existing, is_driven
from prorl_cli.local.reset_files import intended_resets
from prorl_control.resets.records import adopted

Line = dict[str, Any]
_Model = TypeVar("_Model", bound=WireModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunData:
    """Everything about a run except its completions."""

    folder: RunFolder
    name: str
    lines: tuple[Line, ...]
    """The surviving timeline of `metrics.jsonl`, one line a step, ascending."""
    repeated: tuple[Line, ...]
    """Lines that a later attempt did again."""
    resets: tuple[ResetRecord, ...]
    """In order of their numbers."""
    status: JobStatus | None
    created: float | None
    """Unix time."""
    manifest: str
    """Text of `job.yaml`; empty if there is none."""
    job: ProRLJob | None
    notes: tuple[str, ...]
    """What could not be read, for people."""
    is_driven: bool | None = None
    """Whether a body on this machine drives it now; None: none ever did, as in a cluster, or nobody can tell."""

    @property
    def timeline(self) -> dict[int, int]:
        """Step to the attempt whose line survived."""
        return {line["step"]: line["attempt"] for line in self.lines}

    @property
    def attempts(self) -> int:
        """The highest attempt that left a trace."""
        seen: list[int] = [line["attempt"] for line in (*self.lines, *self.repeated)]
        return max([self.folder.highest_attempt(), self.status.attempt if self.status else 0, *seen])


def load(run: RunFolder) -> RunData:
    """Read the folder. Missing and broken parts are noted, never raised."""
    notes: list[str] = []
    lines = [line for line in read_lines(run.metrics, notes) if _is_snapshot(line)]
    kept = surviving(lines)
    kept_ids = {id(line) for line in kept}
    if run.samples.exists() and not os.access(run.samples, os.R_OK | os.X_OK, effective_ids=True):
        notes.append("samples/ could not be read: it may be its owner's alone; completions and intervals are missing.")
    manifest = _text(run.manifest)
    job = _job(manifest, notes)
    return RunData(
        folder=run,
        name=job.metadata.name if job else run.path.resolve().name,
        lines=tuple(kept),
        repeated=tuple(line for line in lines if id(line) not in kept_ids),
        resets=tuple(sorted(_resets(run, notes), key=lambda record: record.number)),
        status=_parsed(run.status, JobStatus, notes),
        created=_created(run),
        manifest=manifest,
        job=job,
        notes=tuple(notes),
        is_driven=driven(run),
    )


def driven(run: RunFolder) -> bool | None:
    """Tell whether a body on this machine drives the run; None: none ever did, as in a cluster, or nobody can tell."""
    return is_driven(run) if os.access(run.lock, os.R_OK, effective_ids=True) else None


def readable(path: Path) -> RunFolder:
    """Return a run folder that can be read.

    Raises:
        RunFolderError: There is no run at `path`, or its identity is not one that this version knows.
    """
    run = existing(path)
    try:
        with reading(run.identity):
            RunIdentity.model_validate_json(run.identity.read_bytes())
    except ValidationError as error:
        raise RunFolderError(
            f"{run.identity} cannot be read: it is half written, or of another version of prorl; restore it, or use "
            "the version that made the run"
        ) from error
    return run


def read_lines(path: Path, notes: list[str] | None = None) -> Iterator[Line]:
    """Return the JSON objects of a line file, one at a time; values that JSON does not have (NaN) are read as absent.

    A line that is not an object is left out; with `notes` the number of such lines is noted there at the end.
    """
    broken = 0
    try:
        with path.open("rb") as file:
            for raw in file:
                try:
                    line = json.loads(raw.decode("utf-8", "replace"), parse_constant=lambda _: None)
                except ValueError:
                    line = None
                if isinstance(line, dict):
                    yield line
                elif raw.strip():
                    broken += 1
    except OSError as error:
        if notes is not None and not isinstance(error, FileNotFoundError):
            notes.append(f"{path.name} could not be read: {error.strerror or error}.")
    if broken and notes is not None:
        which = "1 line" if broken == 1 else f"{broken} lines"
        notes.append(f"{which} of {path.name} could not be read (a write that was cut off) and left out.")


def value(line: Line, name: str) -> float | None:
    """Return a metric of a line; None if it is absent or not a finite number."""
    found = line.get(name)
    if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
        return None
    return float(found)


def series(lines: tuple[Line, ...], name: str) -> tuple[list[int], list[float]]:
    """Return the steps that have the metric, and its values."""
    points = [(line["step"], found) for line in lines if (found := value(line, name)) is not None]
    return [step for step, _ in points], [found for _, found in points]


def sources_of(lines: tuple[Line, ...], metric: str) -> list[str]:
    """Return the sources for which a metric by source has values, in order of first appearance."""
    prefix = f"{metric}/"
    names = dict.fromkeys(key for line in lines for key in line if key.startswith(prefix))
    return [name.removeprefix(prefix) for name in names]


def _is_snapshot(line: Line) -> bool:
    return all(isinstance(line.get(key), int) and not isinstance(line[key], bool) for key in ("step", "attempt"))


def _text(path: Path, notes: list[str] | None = None) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        if notes is not None and not isinstance(error, FileNotFoundError):
            notes.append(f"{path.name} could not be read: {error.strerror or error}.")
        return ""


def _job(manifest: str, notes: list[str]) -> ProRLJob | None:
    if not manifest:
        notes.append("There is no job.yaml; settings and trigger bounds are unknown.")
        return None
    try:
        return parse_job(manifest, source="job.yaml")
    except SpecError:
        notes.append("This version cannot read job.yaml; it is shown as text, without trigger bounds.")
        return None


def _parsed(path: Path, model: type[_Model], notes: list[str]) -> _Model | None:
    text = _text(path, notes)
    if not text:
        return None
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        notes.append(
            f"{path.name} could not be read: {error.error_count()} fields are not as expected. Another version may "
            "have written it: that version's `prorl report` can read it."
        )
        return None


def _resets(run: RunFolder, notes: list[str]) -> list[ResetRecord]:
    """Return the body's records; of a run in a cluster, whose body keeps objects instead, what the learner noted."""
    found = [_parsed(path, ResetRecord, notes) for path in sorted(run.resets.glob("*.json"))]
    records = [record for record in found if record is not None]
    return records or noted_resets(run, notes)


def noted_resets(run: RunFolder, notes: list[str]) -> list[ResetRecord]:
    """Return the resets of the learner's own log, which has their names, steps and reasons, but no values."""
    try:
        outcomes = {outcome.uid: outcome for outcome in intended_resets(run.reset_log)}
    except (OSError, ValidationError, UnicodeDecodeError) as error:
        notes.append(f"{run.reset_log.name} could not be read ({reason_of(error)}); resets are missing.")
        return []
    records = [
        adopted(outcome, number, job_name=outcome.name, attempt=0, now=0.0).model_copy(update={"name": outcome.name})
        for number, outcome in enumerate(outcomes.values(), start=1)
    ]
    return [_with_trigger(record) for record in records]


def _with_trigger(record: ResetRecord) -> ResetRecord:
    """Return the record with the name of its trigger, which a log's text begins with."""
    trigger, separator, reason = record.evidence.reason.partition(": ")
    if not separator:
        return record
    evidence = record.evidence.model_copy(update={"trigger": trigger, "rule": "", "reason": reason})
    return record.model_copy(update={"evidence": evidence})


def _created(run: RunFolder) -> float | None:
    try:
        identity = json.loads(_text(run.identity) or "{}")
    except ValueError:
        return None
    return value(identity, "created") if isinstance(identity, dict) else None
