"""The views of one kind of child, by job, as its watch has brought them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from prorl_operator.kube.views import Body, job_key

View = TypeVar("View")
Key = tuple[str, str]
"""Namespace and name: of a ProRLJob, or of an object."""
_logger = logging.getLogger(__name__)


class ChildIndex(Generic[View]):
    """Keeps views and says which jobs they changed for; an event that changes no view is no news."""

    def __init__(self, view: Callable[[Body], View | None], changed: Callable[[Key], None]) -> None:
        """Begin empty.

        Args:
            view: What is kept of an object; None: nothing.
            changed: Called with the job of every view that came, changed or went.
        """
        self._view = view
        self._changed = changed
        self._job_of: dict[Key, Key] = {}
        self._views: dict[Key, dict[str, View]] = {}

    def of(self, job: Key) -> tuple[View, ...]:
        """Return every view of a job."""
        return tuple(self._views.get(job, {}).values())

    def put(self, body: Body) -> None:
        """Take in an object that came or changed."""
        name, job = _name(body), job_key(body)
        try:
            view = self._view(body)
        except (KeyError, TypeError, ValueError):  # one object that is not as the API promises must not stop the rest
            _logger.exception("%s/%s cannot be read and counts as gone", *name)
            view = None
        if job is None or view is None:
            self._drop(name)
            return
        if self._job_of.get(name, job) != job:
            self._drop(name)
        views = self._views.setdefault(job, {})
        if views.get(name[1]) != view:
            views[name[1]] = view
            self._job_of[name] = job
            self._changed(job)

    def remove(self, body: Body) -> None:
        """Drop an object that went."""
        self._drop(_name(body))

    def replace(self, namespace: str | None, bodies: Iterable[Body]) -> None:
        """Take in what exists now in a namespace, or in all: what is not among it has gone."""
        names = set()
        for body in bodies:
            names.add(_name(body))
            self.put(body)
        gone = [name for name in self._job_of if name not in names and namespace in (None, name[0])]
        for name in gone:
            self._drop(name)

    def _drop(self, name: Key) -> None:
        job = self._job_of.pop(name, None)
        if job is None:
            return
        views = self._views[job]
        del views[name[1]]
        if not views:
            del self._views[job]
        self._changed(job)


def _name(body: Body) -> Key:
    meta = body["metadata"]
    return meta.get("namespace", ""), meta["name"]
