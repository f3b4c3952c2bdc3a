"""Writes a job's status: at once when a condition changes, else at most twice a minute, never when nothing changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prorl_api.crd import status_to_object
from prorl_api.spec.values import Role
from prorl_api.status import JobStatus
from prorl_control.plan import RunPlan
from prorl_operator.client import Api
from prorl_operator.view_index import Snapshot

UNCHANGED_SECONDS = 30.0
_MOMENTS: dict[str, Any] = {"updated": 0.0, "last_metrics_time": None}
"""Times that change with every look."""


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
        """What people and other controllers wait for."""
        status = self.status
        conditions = tuple((condition.type, condition.status, condition.reason) for condition in status.conditions)
        return self.generation, status.attempt, status.resets, conditions

    @property
    def lasting(self) -> tuple[Any, ...]:
        """Everything else, too."""
        return self.generation, self.rollout_replicas, self.status.model_copy(update=_MOMENTS)


class StatusWriter:
    """Of one job. Whether a status is news is found out before the object is built: most looks bring none."""

    def __init__(self) -> None:
        self._last: _Written | None = None

    async def write(self, api: Api, snapshot: Snapshot, status: JobStatus, plan: RunPlan | None, now: float) -> None:
        """Write it if it is due."""
        assert snapshot.body is not None
        meta = snapshot.body["metadata"]
        replicas = sum(pod.role is Role.ROLLOUT and pod.deleted is None for pod in snapshot.pods)
        new = _Written(
            status=status, generation=int(meta["generation"]), rollout_replicas=replicas if plan else 0, at=now
        )
        if self._last is not None and not _is_due(self._last, new):
            return
        document = status_to_object(
            status, job_name=meta["name"], generation=new.generation, rollout_replicas=new.rollout_replicas
        )
        await api.write_status("ProRLJob", meta["namespace"], meta["name"], document)
        self._last = new


def _is_due(last: _Written, new: _Written) -> bool:
    if new.at - last.at < UNCHANGED_SECONDS and new.awaited == last.awaited:
        return False
    return new.lasting != last.lasting
