"""The watched objects of a job at one moment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from prorl_operator.child_index import ChildIndex, Key
from prorl_operator.views import Body, DeploymentView, JobView, PlanView, PodView

__all__ = ["IndexedViews", "Key", "Packed", "Snapshot", "ViewSource", "packed"]

Packed = bytes
"""An object as JSON. As dicts it takes five times the memory, and hundreds are kept for each that is looked at."""


def packed(body: Body) -> Packed:
    """The object without its managed fields, which are the largest part of it and which nobody reads here."""
    meta = {key: value for key, value in body["metadata"].items() if key != "managedFields"}
    return msgspec.json.encode({**body, "metadata": meta})


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What the watches show."""

    body: Body | None
    """The ProRLJob; None: there is none."""
    plan: PlanView | None = None
    jobs: tuple[JobView, ...] = ()
    deployments: tuple[DeploymentView, ...] = ()
    pods: tuple[PodView, ...] = ()
    resets: tuple[Body, ...] = ()


class ViewSource(Protocol):
    """Gives snapshots."""

    def snapshot(self, key: Key) -> Snapshot:
        """Everything of one job."""

    def keys(self) -> list[Key]:
        """Every job."""


class IndexedViews:
    """Reads the indexes: kopf's of jobs and resets, and those of the children."""

    def __init__(self, children: Mapping[str, ChildIndex[Any]]) -> None:
        """Children by name of index: `plans`, `jobs`, `deployments`, `pods`."""
        self._children = children
        self._indexes: Mapping[str, Mapping[Key, Iterable[Packed]]] = {}

    def attach(self, indexes: Mapping[str, Mapping[Key, Iterable[Packed]]]) -> None:
        """Take kopf's indexes `prorljobs` and `resets`, once kopf has made them."""
        self._indexes = indexes

    def keys(self) -> list[Key]:
        """Every job."""
        return list(self._indexes.get("prorljobs", {}))

    def snapshot(self, key: Key) -> Snapshot:
        """Everything of one job."""
        children = {name: index.of(key) for name, index in self._children.items()}
        return Snapshot(
            body=next(iter(self._of("prorljobs", key)), None),
            plan=next(iter(children["plans"]), None),
            jobs=children["jobs"],
            deployments=children["deployments"],
            pods=children["pods"],
            resets=self._of("resets", key),
        )

    def _of(self, name: str, key: Key) -> tuple[Body, ...]:
        return tuple(map(msgspec.json.decode, self._indexes.get(name, {}).get(key, ())))
