"""The watched objects of a job at one moment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from prorl_operator.kube.views import Body, DeploymentView, JobView, PlanView, PodView
from prorl_operator.watch.child_index import ChildIndex, Key

__all__ = ["IndexedViews", "Key", "Packed", "Snapshot", "ViewSource", "packed"]

Packed = bytes
"""An object as JSON. As dicts it takes five times the memory, and hundreds are kept for each that is looked at."""


def packed(body: Body) -> Packed:
    """Pack the object without its managed fields, the largest part of it, which nobody reads here."""
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
        """Return everything of one job."""

    def keys(self) -> list[Key]:
        """Return every job."""


_Asked = tuple[Any, ...]
"""What people ask of a job; last, whether it has a status."""
_HAS_STATUS = -1


class IndexedViews:
    """Reads the indexes: kopf's of resets, and those of jobs and children."""

    def __init__(self, children: Mapping[str, ChildIndex[Any]]) -> None:
        """Children by name of index: `plans`, `jobs`, `deployments`, `pods`."""
        self._children = children
        self._jobs: dict[Key, tuple[_Asked, Packed]] = {}
        self._resets: Mapping[Key, Iterable[Packed]] = {}

    def attach(self, resets: Mapping[Key, Iterable[Packed]]) -> None:
        """Take kopf's index of resets, once kopf has filled it."""
        self._resets = resets

    def put_job(self, key: Key, body: Body | None) -> bool:
        """Keep a ProRLJob as its watch has brought it, or None where it went.

        Returns:
            Whether that is news. A status is none, as long as there is one: the operator wrote it.
        """
        if body is None:
            return self._jobs.pop(key, None) is not None
        before, asked = self._jobs.get(key), _asked(body)
        self._jobs[key] = asked, packed(body)
        return before is None or before[0] != asked

    def keys(self) -> list[Key]:
        """Return every job."""
        return list(self._jobs)

    def by_urgency(self) -> list[Key]:
        """Return every job: first those that nobody has looked at yet, then those that run, then those at rest."""
        plans = self._children["plans"]

        def rank(key: Key) -> int:
            is_new = not self._jobs[key][0][_HAS_STATUS]
            return 0 if is_new else 1 if plans.of(key) else 2

        return sorted(self._jobs, key=rank)

    def snapshot(self, key: Key) -> Snapshot:
        """Return everything of one job."""
        children = {name: index.of(key) for name, index in self._children.items()}
        job = self._jobs.get(key)
        return Snapshot(
            body=None if job is None else msgspec.json.decode(job[1]),
            plan=next(iter(children["plans"]), None),
            jobs=children["jobs"],
            deployments=children["deployments"],
            pods=children["pods"],
            resets=tuple(map(msgspec.json.decode, self._resets.get(key, ()))),
        )


def _asked(body: Body) -> _Asked:
    meta = body["metadata"]
    return (
        meta["uid"],
        meta["generation"],
        meta.get("deletionTimestamp"),
        meta.get("labels") or None,
        meta.get("annotations") or None,
        bool(body.get("status")),
    )
