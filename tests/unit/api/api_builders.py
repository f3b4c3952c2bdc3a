"""Builders for the contract's tests: manifests with what a test does not care about filled in."""

from __future__ import annotations

import copy
from enum import Enum
from typing import Any

import pytest

from prorl_api.errors import Fault, SpecError
from prorl_api.manifest import validate_job
from prorl_api.spec.job import ProRLJob

MINIMAL: dict[str, Any] = {
    "apiVersion": "prorl.dev/v1alpha1",
    "kind": "ProRLJob",
    "metadata": {"name": "demo"},
    "spec": {
        "model": {"path": "./model"},
        "data": {"sources": [{"name": "sums", "domain": "logic", "reasoningGym": {"tasks": [{"name": "chain_sum"}]}}]},
    },
}


class Removal(Enum):
    """As a value of a change: take the field out. Its text is the same in every process, as that of a test must be."""

    REMOVED = "removed"


REMOVED = Removal.REMOVED


def make_manifest(changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """A small valid manifest; changes go by path, as `{"spec.data.sources.0.weight": 2}`."""
    return changed(copy.deepcopy(MINIMAL), changes or {})


def changed(document: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The document itself, after changes by path."""
    for path, value in changes.items():
        parts: list[Any] = [int(part) if part.isdecimal() else part for part in path.split(".")]
        *parents, last = parts
        container: Any = document
        for part in parents:
            container = container[part] if isinstance(container, list) else container.setdefault(part, {})
        if value is REMOVED:
            del container[last]
        elif isinstance(container, list) and last == len(container):
            container.append(value)
        else:
            container[last] = value
    return document


def make_job(changes: dict[str, Any] | None = None) -> ProRLJob:
    return validate_job(make_manifest(changes))


def make_job_of(name: str = "demo", **spec: Any) -> ProRLJob:
    """A job of one reasoning-gym source, with these sections of its spec."""
    source = {"name": "sums", "domain": "logic", "reasoningGym": {"tasks": [{"name": "chain_sum"}]}}
    sections = {
        "model": {"path": "./model"},
        "data": {"sources": [source]},
        "learner": {"promptsPerStep": 8, "minibatchPrompts": 4},
        **spec,
    }
    return validate_job(
        {"apiVersion": "prorl.dev/v1alpha1", "kind": "ProRLJob", "metadata": {"name": name}, "spec": sections}
    )


def faults_of(changes: dict[str, Any]) -> list[Fault]:
    """What is found wrong with a minimal manifest after these changes."""
    with pytest.raises(SpecError) as caught:
        validate_job(make_manifest(changes))
    return list(caught.value.faults)


def make_source(name: str, **changes: Any) -> dict[str, Any]:
    """A source of generated sums; `jsonl=...` makes it a math source read from files."""
    if "jsonl" in changes:
        return {"name": name, "domain": "math", **changes}
    return {"name": name, "domain": "logic", "reasoningGym": {"tasks": [{"name": "chain_sum"}]}, **changes}


def make_stage(name: str, from_step: int, **overrides: Any) -> dict[str, Any]:
    return {"name": name, "fromStep": from_step, "overrides": overrides}
