"""Kubernetes events: what happened to a job, for `kubectl describe`, and what the platform says about its children."""

from __future__ import annotations

import dataclasses
import datetime
import logging
import uuid
from typing import Any

from prorl_api.crd.objects import shortened
from prorl_api.resets import ResetCondition, ResetRecord
from prorl_api.status import ConditionStatus, ConditionType, JobStatus
from prorl_control.decision import Event, EventKind
from prorl_operator.acceptance import Acceptance
from prorl_operator.job_state import JobState
from prorl_operator.kube.client import FIELD_MANAGER, Api, ApiError
from prorl_operator.kube.views import Body
from prorl_operator.watch.view_index import Snapshot

_HELD_SECONDS = 15.0
_MAX_MESSAGE = 1024
_MORE = " ... (the job's conditions have it all)"
_logger = logging.getLogger(__name__)


async def tell(api: Api, snapshot: Snapshot, memory: JobState, events: tuple[Event, ...]) -> None:
    """Post the events that the last pass did not post. One that cannot be posted is logged: nothing depends on it."""
    assert snapshot.body is not None
    new = [event for event in events if event not in memory.events]
    for event in _joined(new):
        _logger.info("%s", event.message, extra={"job": snapshot.body["metadata"]["name"], "event": event.kind.value})
        try:
            await api.create(_body(snapshot.body, event))
        except ApiError as error:
            _logger.warning("cannot post an event: %s", error)
    memory.events = frozenset(events)


def refusal_of(accepted: Acceptance, before: JobStatus) -> tuple[Event, ...]:
    """Return the event of a spec that is not accepted, with its faults.

    None if the status has said the same already.
    """
    if accepted.is_valid:
        return ()
    told = before.condition(ConditionType.ACCEPTED)
    if told is not None and (told.status, shortened(told.message)) == (
        ConditionStatus.FALSE,
        shortened(accepted.message),
    ):
        return ()
    return (Event(kind=EventKind.NOT_ACCEPTED, message=accepted.message, is_warning=True),)


def of_resets(memory: JobState) -> tuple[Event, ...]:
    """Return what happened to resets since the last call; what an operator finds at its start happened before."""
    records = memory.resets.read()
    before, memory.told_resets = memory.told_resets, {record.name: record.condition for record in records}
    if before is None:
        return ()
    return tuple(
        Event(kind=EventKind.RESET, message=_of_reset(record), subject=record.name)
        for record in records
        if before.get(record.name) is not record.condition
    )


def _of_reset(record: ResetRecord) -> str:
    evidence, where = record.evidence, record.condition.value
    if record.condition is ResetCondition.APPLIED:
        where = f"applied at step {record.applied_step}"
    elif record.message:
        where = f"{where}: {record.message}"
    return f"{record.name} {where} [{evidence.trigger}: {evidence.reason}]"


def _joined(events: list[Event]) -> list[Event]:
    """Join to one event a kind: a job whose members all start is one write, not one a member."""
    groups: dict[tuple[EventKind, bool], list[Event]] = {}
    for event in events:
        groups.setdefault((event.kind, event.is_warning), []).append(event)
    return [
        dataclasses.replace(group[0], message="; ".join(event.message for event in group)) for group in groups.values()
    ]


async def find_held(api: Api, snapshot: Snapshot, memory: JobState, now: float) -> None:
    """Ask why the newest Job has no pods: its controller says so, such as a quota, in events alone."""
    newest = max(snapshot.jobs, key=lambda job: job.attempt, default=None)
    if newest is None or now - newest.created < SETTLE_SECONDS or now - memory.held_asked < _HELD_SECONDS:
        return
    memory.held_asked = now
    assert snapshot.body is not None
    namespace = snapshot.body["metadata"]["namespace"]
    selector = f"involvedObject.uid={newest.uid},reason=FailedCreate"
    found = await api.list("v1", "Event", namespace, field_selector=selector)
    latest = max(found, key=lambda item: item.get("lastTimestamp") or item.get("eventTime") or "", default=None)
    memory.held = str(latest.get("message", "")) if latest is not None else ""


SETTLE_SECONDS = 5.0
"""The Job controller has created pods by then, or said why not."""


def _cut(message: str) -> str:
    return message if len(message) <= _MAX_MESSAGE else message[: _MAX_MESSAGE - len(_MORE)] + _MORE


def _body(job: Body, event: Event) -> dict[str, Any]:
    meta = job["metadata"]
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": f"{meta['name']}.{uuid.uuid4().hex[:16]}", "namespace": meta["namespace"]},
        "regarding": {
            "apiVersion": job["apiVersion"],
            "kind": job["kind"],
            "name": meta["name"],
            "namespace": meta["namespace"],
            "uid": meta["uid"],
        },
        "type": "Warning" if event.is_warning else "Normal",
        "reason": event.kind.value,
        "action": event.kind.value,
        "note": _cut(event.message),
        "eventTime": now,
        "reportingController": f"prorl.dev/{FIELD_MANAGER}",
        "reportingInstance": FIELD_MANAGER,
    }
