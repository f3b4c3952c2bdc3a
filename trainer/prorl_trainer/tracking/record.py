"""`tracking/<name>.json`: how far a tracker has come, and what is wrong with it. Its process writes."""

from __future__ import annotations

import time
from pathlib import Path

from pydantic import ValidationError

from prorl_api.run_folder import RunFolder
from prorl_api.wire.base import WireModel
from prorl_trainer.storage.durable import write_file
from prorl_trainer.tracking.timeline import Mark


class TrackerRecord(WireModel):
    """Content of the file."""

    kind: str
    mark: Mark = Mark()
    pending: Mark | None = None
    """How far it was being told when it last said something; None: nothing was under way."""
    where: str = ""
    """Where to look at the run."""
    problem: str = ""
    """Why it is not being told, with the remedy; empty: it is."""
    updated: float = 0.0
    """Unix time of the last sign of life."""


def record_file(run: RunFolder, name: str) -> Path:
    """Return the tracker's file."""
    return run.tracking / f"{name}.json"


def read_record(run: RunFolder, name: str) -> TrackerRecord | None:
    """Return what the tracker wrote last; None if there is nothing that can be understood."""
    try:
        return TrackerRecord.model_validate_json(record_file(run, name).read_text(encoding="utf-8"))
    except (OSError, ValidationError, UnicodeDecodeError):
        return None


def write_record(run: RunFolder, name: str, record: TrackerRecord) -> None:
    """Replace it, with the time."""
    dated = record.model_copy(update={"updated": time.time()})
    write_file(record_file(run, name), dated.model_dump_json(indent=2))
