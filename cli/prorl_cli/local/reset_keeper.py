"""Keeps the records of a run's resets where they can be written at once, such as in files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from prorl_api.resets import ResetRecord
from prorl_api.wire.learner import LearnerStatus, ResetOutcome
from prorl_control.plan import RunPlan
from prorl_control.resets.changes import Creation, ResetChange, advanced, concluded, taken_over


class ResetStore(Protocol):
    """Where records lie. A record is durable, with its uid, once `create` has returned: only then is it posted."""

    def read(self) -> Sequence[ResetRecord]:
        """Return all records as they are now: people change them too."""

    def create(self, build: Callable[[int], ResetRecord]) -> ResetRecord:
        """Store a new record under the next free number."""

    def update(self, name: str, change: Callable[[ResetRecord], ResetRecord]) -> ResetRecord:
        """Read one record, change it, write it if it differs."""


class ResetKeeper:
    """Keeps the records of one run."""

    def __init__(self, store: ResetStore, plan: RunPlan, new_uid: Callable[[], str]) -> None:
        """`new_uid` gives each proposal its identity."""
        self._store = store
        self._new_uid = new_uid
        self.plan = plan
        """Replaced when the manifest is edited."""

    def read(self) -> tuple[ResetRecord, ...]:
        """Return all records as they are now."""
        return tuple(self._store.read())

    def take(self, outcomes: Sequence[ResetOutcome], *, attempt: int, now: float) -> None:
        """Take over what the learner says became of resets, those that it did by itself included."""
        self._carry_out(taken_over(self.read(), outcomes, self.plan, attempt=attempt, now=now))

    def conclude(self, samples: Sequence[dict[str, Any]]) -> None:
        """Settle what is open once the run has succeeded and the learner's last word was taken over."""
        self._carry_out(concluded(self.read(), samples))

    def advance(self, learner: LearnerStatus | None, samples: Sequence[dict[str, Any]], now: float) -> None:
        """Propose, expire and judge, as far as the newest samples allow."""
        self._carry_out(advanced(self.read(), self.plan, learner, samples, new_uid=self._new_uid, now=now))

    def _carry_out(self, changes: Sequence[ResetChange]) -> None:
        for change in changes:
            if isinstance(change, Creation):
                self._store.create(change.build)
            else:
                self._store.update(change.name, change.change)
