"""What a run was begun with (model, data files, reward functions) by content, so that it may be moved.

A path is only where something lies. A run that has begun is bound to what it began with, wherever that lies now.
"""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Container, Mapping
from pathlib import Path

from prorl_api.custom_rewards import reward_path
from prorl_api.model.digest import weights_digest
from prorl_api.spec.data import DataSource
from prorl_api.spec.job import ProRLJob

MODEL = "spec.model.path"


def digests_of(effective: ProRLJob, *, known: Container[str] = ()) -> dict[str, str]:
    """Return a digest for each input that is on this machine, by the path of its field; sources by their names.

    Args:
        effective: The job with the paths of this machine.
        known: Fields to leave out: a whole file is read for each.
    """
    found = {} if MODEL in known else {MODEL: _model_digest(effective)}
    for source in effective.spec.data.sources:
        fields = [field for field in ("jsonl", "reward") if _key(source, field) not in known]
        found |= {_key(source, field): _source_digest(source, field) for field in fields}
    return {path: digest for path, digest in found.items() if digest is not None}


def with_paths_of(before: ProRLJob, now: ProRLJob, effective: ProRLJob, begun: Mapping[str, str]) -> ProRLJob:
    """Return the job with its earlier paths wherever the new ones lead to the same content.

    Args:
        before: As the run was accepted.
        now: As it is asked for.
        effective: The same with the paths of this machine.
        begun: Digests of what the run was begun with.
    """
    spec = now.spec
    old, new = before.spec, now.spec
    if (old.model, old.local.model_path) != (new.model, new.local.model_path) and is_begun_with(effective, begun):
        local = new.local.model_copy(update={"model_path": old.local.model_path})
        spec = spec.model_copy(update={"model": old.model, "local": local})
    earlier = {source.name: source for source in old.data.sources}
    here = {source.name: source for source in effective.spec.data.sources}
    sources = tuple(
        _moved_back(earlier.get(source.name, source), source, here[source.name], begun) for source in new.data.sources
    )
    return now.model_copy(
        update={"spec": spec.model_copy(update={"data": spec.data.model_copy(update={"sources": sources})})}
    )


def is_begun_with(effective: ProRLJob, begun: Mapping[str, str]) -> bool:
    """Tell whether the job's model is the one that the run was begun with, by its weights."""
    digest = _model_digest(effective)
    return digest is not None and digest == begun.get(MODEL)


def other_weights(effective: ProRLJob, begun: Mapping[str, str]) -> bool:
    """Tell whether the job's model certainly is another one."""
    digest = _model_digest(effective)
    return digest is not None and MODEL in begun and digest != begun[MODEL]


def _moved_back(before: DataSource, now: DataSource, here: DataSource, begun: Mapping[str, str]) -> DataSource:
    updates = {}
    for field in ("jsonl", "reward"):
        old, new = getattr(before, field), getattr(now, field)
        if old and new and old != new and _source_digest(here, field) == begun.get(_key(now, field), ""):
            updates[field] = old
    return now.model_copy(update=updates)


def _key(source: DataSource, field: str) -> str:
    return f"spec.data.sources[{source.name}].{field}"


def _model_digest(effective: ProRLJob) -> str | None:
    path = Path(effective.spec.model.path)
    return weights_digest(path) if path.is_absolute() else None


def _source_digest(source: DataSource, field: str) -> str | None:
    """Return the sha256 of the files' content in the order in which they are read; of a reward the function's name,
    too."""
    if field == "reward":
        return (
            None if source.reward is None else _digest([reward_path(source.reward)], source.reward.rpartition(":")[2])
        )
    return None if source.jsonl is None else _digest(sorted(glob.glob(source.jsonl, recursive=True)))


def _digest(paths: list[str], name: str = "") -> str | None:
    whole = hashlib.sha256(name.encode())
    try:
        for path in paths:
            with Path(path).open("rb") as file:
                whole.update(hashlib.file_digest(file, "sha256").digest())
    except OSError:
        return None
    return whole.hexdigest() if paths else None
