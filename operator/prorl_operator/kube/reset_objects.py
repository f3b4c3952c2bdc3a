"""Reset records as `ProRLReset` objects; on one machine they are files, and the same functions decide what changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prorl_api import API_VERSION
from prorl_api.crd import OpenFields, reset_from_object, reset_status, reset_to_object
from prorl_api.crd.reset_object import status_without_job
from prorl_api.manifest import RESET_KIND
from prorl_api.resets import ResetRecord
from prorl_control.resets.changes import Creation, ResetChange, Update
from prorl_operator.kube.client import CONFLICT, Api, ApiError

ANNOTATION_LEARNER_UID = "prorl.dev/learner-uid"
"""Identity under which the learner knows a reset that it did by itself; the others have the object's uid."""
FORGET_SECONDS = 120.0
"""An object that was created is seen by the watch long before this."""

Body = Mapping[str, Any]


class StaleViewError(Exception):
    """Somebody else was faster: what was decided on is out of date."""


class ResetObjects:
    """The records of one job. Reads from the watched objects and from what was written a moment ago."""

    def __init__(self, api: Api, *, namespace: str, job_name: str, owner: dict[str, Any]) -> None:
        """`owner`: the ownerReference to the job."""
        self._api = api
        self._namespace = namespace
        self._job_name = job_name
        self._owner = owner
        self._watched: dict[str, Body] = {}
        self._written: dict[str, tuple[float, Body]] = {}
        self._open_fields: OpenFields | None = None
        self._highest = 0

    async def look(self, bodies: list[Body], open_fields: OpenFields) -> None:
        """Begin a pass with what the watch shows; objects of a person that were never seen get their open fields now.

        Args:
            bodies: The job's objects.
            open_fields: What holds for fields that a person left open; `number` is the lowest that is free.
        """
        self._watched = {body["metadata"]["uid"]: body for body in bodies}
        self._open_fields = open_fields
        self._highest = max(self._highest, open_fields.number - 1)
        horizon = time.monotonic() - FORGET_SECONDS
        self._written = {
            uid: (at, body)
            for uid, (at, body) in self._written.items()
            if at > horizon and not self._has_caught_up(uid)
        }
        for body in sorted(self._bodies(), key=lambda body: str(body["metadata"]["creationTimestamp"])):
            if "number" not in (body.get("status") or {}):
                await self._adopt(body)

    def read(self) -> list[ResetRecord]:
        """Return all records by number."""
        return sorted((self._record(body) for body in self._bodies()), key=lambda record: record.number)

    async def carry_out(self, changes: Iterable[ResetChange]) -> None:
        """Write what is to change, one after the other.

        Raises:
            StaleViewError: A new reset's name is taken, by another operator: decide again.
            ApiError: The API refuses.
        """
        for change in changes:
            if isinstance(change, Creation):
                await self._create(change.build)
            else:
                await self._update(change)

    async def _create(self, build: Callable[[int], ResetRecord]) -> None:
        """Create the object under the next number."""
        number = 1 + max([self._highest, *(record.number for record in self.read())])
        record = build(number)
        body = reset_to_object(record, job_name=self._job_name, namespace=self._namespace)
        body["metadata"]["ownerReferences"] = [self._owner]
        if record.uid:
            body["metadata"]["annotations"] = {ANNOTATION_LEARNER_UID: record.uid}
        try:
            created = await self._api.create(body)
        except ApiError as error:
            if error.status != CONFLICT:
                raise
            existing = await self._api.get(API_VERSION, RESET_KIND, self._namespace, record.name)
            if existing is not None:
                self._keep(existing)
            raise StaleViewError(f"{record.name} exists already") from error
        self._highest = number
        uid = created["metadata"]["uid"]
        stored = record if record.uid else record.model_copy(update={"uid": uid})
        await self._write(created, stored)

    async def _update(self, update: Update) -> None:
        """Change one record's status."""
        body = next(body for body in self._bodies() if body["metadata"]["name"] == update.name)
        before = self._record(body)
        after = update.change(before)
        if after != before:
            await self._write(body, after)

    def _bodies(self) -> list[Body]:
        newer = {uid: body for uid, (_, body) in self._written.items()}
        return list((self._watched | newer).values())

    def _record(self, body: Body) -> ResetRecord:
        record = reset_from_object(body, self._open_fields)
        own = (body["metadata"].get("annotations") or {}).get(ANNOTATION_LEARNER_UID)
        return record.model_copy(update={"uid": own}) if own else record

    async def _adopt(self, body: Body) -> None:
        """Settle what a person left open, once, so that it stays the same."""
        assert self._open_fields is not None
        record = self._record(body)
        self._highest = max(self._highest, record.number)
        fields = self._open_fields
        self._open_fields = OpenFields(
            number=self._highest + 1,
            attempt=fields.attempt,
            evidence_step=fields.evidence_step,
            source=fields.source,
            optimizer=fields.optimizer,
        )
        await self._write(body, record)

    async def _write(self, body: Body, record: ResetRecord) -> None:
        meta = body["metadata"]
        generation = int(meta.get("generation", 1))
        status = reset_status(record, generation=generation, now=time.time(), before=body.get("status"))
        await self._api.write_status(RESET_KIND, self._namespace, meta["name"], status)
        self._keep({**body, "status": status})

    def _keep(self, body: Body) -> None:
        self._written[body["metadata"]["uid"]] = (time.monotonic(), body)

    def _has_caught_up(self, uid: str) -> bool:
        """Tell whether the watch shows what was written, or something newer."""
        watched = self._watched.get(uid)
        return watched is not None and watched.get("status") == self._written[uid][1].get("status")


async def tell_of_no_job(api: Api, job: tuple[str, str], bodies: Iterable[Body]) -> None:
    """Say in each reset that names a job which does not exist that it waits for it; once a job has it, it is settled.

    Args:
        api: The Kubernetes API.
        job: Namespace and name that they give.
        bodies: The objects.
    """
    namespace, name = job
    untold = [body for body in bodies if not body.get("status")]
    if not untold or await api.list(API_VERSION, "ProRLJob", namespace, field_selector=f"metadata.name={name}"):
        return  # the watch of jobs is behind that of resets
    for body in untold:
        message = f"spec.jobName: there is no ProRLJob {name} in namespace {namespace}; the reset waits for one"
        generation = int(body["metadata"].get("generation", 1))
        status = status_without_job(message, generation=generation, now=time.time())
        await api.write_status(RESET_KIND, namespace, body["metadata"]["name"], status)
