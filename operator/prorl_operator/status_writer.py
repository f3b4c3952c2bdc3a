"""Writes a job's status: at once when a condition turns, soon when its reason does, else at most twice a minute.

Never when nothing changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prorl_api.crd import status_to_object
from prorl_api.spec.values import Role
from prorl_api.status import ConditionStatus, JobStatus
from prorl_control.plan import RunPlan
from prorl_operator.kube.client import Api
from prorl_operator.watch.view_index import Snapshot

UNCHANGED_SECONDS = 30.0
REASON_SECONDS = 5.0
"""For so long a new reason waits: where members start, it is soon followed by another, or by readiness."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    """What a status is made of."""

    status: JobStatus
    generation: int
    """Of the spec that the status speaks of."""
    rollout_replicas: int
    at: float
    """Unix time."""

    @property
    def awaited(self) -> tuple[Any, ...]:
        """What people and other controllers wait for. A summary that is open is known by its reason."""
        status = self.status
        turns = tuple(
            (condition.type, condition.status, condition.reason if condition.status is ConditionStatus.UNKNOWN else "")
            for condition in status.conditions
        )
        return self.generation, status.attempt, status.resets, status.restarts, turns

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why conditions are what they are."""
        return tuple(condition.reason for condition in self.status.conditions)

    @property
    def lasting(self) -> tuple[Any, ...]:
        """Everything else, too."""
        return self.generation, self.rollout_replicas, self.status.without_moments()


class StatusWriter:
    """The writer of one job's status: most looks bring no news, which is found out before the object is built."""

    def __init__(self) -> None:
        self._last: _Written | None = None
        self._held_since: float | None = None

    async def write(
        self, api: Api, snapshot: Snapshot, status: JobStatus, plan: RunPlan | None, now: float
    ) -> float | None:
        """Write it if it is due; else the seconds after which to come again, if it will be due by time alone."""
        assert snapshot.body is not None
        meta = snapshot.body["metadata"]
        replicas = sum(pod.role is Role.ROLLOUT and pod.deleted is None for pod in snapshot.pods)
        new = _Written(
            status=status, generation=int(meta["generation"]), rollout_replicas=replicas if plan else 0, at=now
        )
        if self._last is not None:
            wait = self._wait(self._last, new)
            if wait is None or wait > 0:
                return wait
        document = status_to_object(
            status, job_name=meta["name"], generation=new.generation, rollout_replicas=new.rollout_replicas
        )
        await api.write_status("ProRLJob", meta["namespace"], meta["name"], document)
        self._last, self._held_since = new, None
        return None

    def _wait(self, last: _Written, new: _Written) -> float | None:
        """Seconds until `new` is due, 0 if it is now; None: not by time alone."""
        if new.awaited != last.awaited:
            return 0.0
        if new.reasons != last.reasons:
            if self._held_since is None:
                self._held_since = new.at
            return max(0.0, self._held_since + REASON_SECONDS - new.at)
        self._held_since = None
        if new.at - last.at >= UNCHANGED_SECONDS and new.lasting != last.lasting:
            return 0.0
        return None
