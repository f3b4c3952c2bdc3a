"""kopf's storages for an operator that stores nothing on objects: its handlers are told of events, never of changes.

With kopf's own ones every event costs three copies of the object, for a comparison that no handler here is given.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import kopf


class NoDifferences(kopf.DiffBaseStorage):
    """Every object is as it was."""

    def build(self, *, body: kopf.Body, extra_fields: Iterable[Any] | None = None) -> kopf.BodyEssence:
        """Return what is compared of an object: nothing."""
        del body, extra_fields
        return kopf.BodyEssence({})

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        """Return what was stored: nothing."""
        del body
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Leave the object alone."""


class NoProgress(kopf.ProgressStorage):
    """No handler here has any progress: none is tried again by kopf."""

    def fetch(self, *, key: Any, body: kopf.Body) -> None:
        """Return what was stored: nothing."""

    def store(self, *, key: Any, record: Any, body: kopf.Body, patch: kopf.Patch) -> None:
        """Leave the object alone."""

    def purge(self, *, key: Any, body: kopf.Body, patch: kopf.Patch) -> None:
        """Leave the object alone."""

    def touch(self, *, body: kopf.Body, patch: kopf.Patch, value: str | None) -> None:
        """Leave the object alone."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        """Leave nothing out."""
        return essence
