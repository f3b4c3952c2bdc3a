"""Carries a decision out: writes objects, each only when it has to change."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from prorl_api.names import LABEL_JOB, learner_job_name, ranks_service_name
from prorl_api.spec.job import ProRLJob
from prorl_api.spec.values import Role
from prorl_control.decision import Decision, OutcomeKind
from prorl_control.plan import RunPlan
from prorl_operator.kube.client import CONFLICT, Api, ApiError
from prorl_operator.kube.reset_objects import StaleViewError
from prorl_operator.kube.views import ANNOTATION_APPLIED, DeploymentView
from prorl_operator.manifests import (
    JobContext,
    base_objects,
    gang,
    learner_job,
    rollout_deployment,
    sandbox_deployment,
)
from prorl_operator.manifests.context import Placement
from prorl_operator.manifests.gang import Groups, groups_of, wants_gang
from prorl_operator.placement import placement_of
from prorl_operator.watch.view_index import Snapshot

_DEPLOYMENTS: dict[Role, Callable[[JobContext, int], dict[str, Any]]] = {
    Role.ROLLOUT: rollout_deployment,
    Role.SANDBOX: sandbox_deployment,
}
_logger = logging.getLogger(__name__)


class BaseDigest:
    """The digest of one job's base objects; they are built anew only for another job or attempt."""

    def __init__(self) -> None:
        self._known: tuple[ProRLJob, int, Placement, str] | None = None

    def of(self, context: JobContext, attempt: int) -> str:
        """Return the digest.

        `context` may be made anew for every pass; its job is the same object while the spec is.
        """
        known, placement = self._known, context.placement
        if known is not None and known[0] is context.job and known[1:3] == (attempt, placement):
            return known[3]
        return self.note(context, attempt, base_objects(context, attempt))

    def note(self, context: JobContext, attempt: int, bodies: list[dict[str, Any]]) -> str:
        """Remember the digest of these objects, which were built for this job and attempt."""
        digest = digest_of(bodies)
        self._known = context.job, attempt, context.placement, digest
        return digest


class Actions:
    """The writes of one pass over one job."""

    def __init__(
        self, api: Api, context: JobContext, plan: RunPlan, snapshot: Snapshot, base_digest: BaseDigest
    ) -> None:
        self._base_digest = base_digest
        self._api = api
        self._context = context
        self._plan = plan
        self._snapshot = snapshot
        self._namespace = context.namespace

    async def start(self, decision: Decision, *, goes_on: bool) -> int:
        """Create what is missing; the attempt that was started, or 0.

        Raises:
            StaleViewError: The watch lags behind: an attempt exists that it does not show yet.
        """
        if decision.outcome.kind is not OutcomeKind.RUNNING or decision.outcome.reason == "Stopping":
            return 0
        attempts = [start.attempt for start in decision.ensure if start.role is Role.LEARNER]
        if attempts:
            if attempts[0] > 1:  # a first one is found by its name
                await self._raise_if_behind()
            self._place(attempts[0])
            await self._apply_base(attempts[0])
            await self._apply_servers(attempts[0], with_template=True)
            await self._create_learner(attempts[0])
            await self._drop_old_jobs(attempts[0] - 1)
            await self._drop_groups(groups_of(self._context, attempts[0]))
            return attempts[0]
        if goes_on and self._snapshot.plan is not None:
            attempt = self._snapshot.plan.attempt
            self._place(attempt)
            await self._apply_base(attempt)
            await self._apply_servers(attempt, with_template=False)
        return 0

    async def end(self, decision: Decision) -> None:
        """Delete what is to end. A gang that broke is ended by its Job controller, which keeps how it ended."""
        roles = {member.role for member in decision.remove}
        attempts = {member.attempt for member in decision.remove if member.role is Role.LEARNER}
        for job in self._snapshot.jobs:
            broken = any(
                pod.ended is not None and not pod.ended.exit.is_clean
                for pod in self._snapshot.pods
                if pod.role is Role.LEARNER and pod.attempt == job.attempt
            )
            if job.attempt in attempts and not job.is_deleted and not (broken or job.failed_at is not None):
                await self._api.delete("batch/v1", "Job", self._namespace, job.name, uid=job.uid)
        is_ending = decision.outcome.kind is not OutcomeKind.RUNNING or decision.outcome.reason == "Stopping"
        if is_ending:
            await self._delete_deployments(roles)

    async def clean_up(self, decision: Decision) -> None:
        """Once nothing runs any more: what stays is the status, the resets, the volumes and the newest Job's pods."""
        await self._delete_deployments(set(_DEPLOYMENTS))
        newest = max((job.attempt for job in self._snapshot.jobs), default=0)
        keeps_newest = decision.outcome.kind is not OutcomeKind.SUSPENDED
        for job in self._snapshot.jobs:
            if not job.is_deleted and not (keeps_newest and job.attempt == newest):
                await self._api.delete("batch/v1", "Job", self._namespace, job.name, uid=job.uid)
        plan = self._snapshot.plan
        if plan is None:
            return
        await self._drop_groups(Groups("", ""))
        # Of an attempt that had more pods than the newest spec asks for.
        await self._api.delete("v1", "Service", self._namespace, ranks_service_name(self._plan.job_name))
        for body in reversed(base_objects(self._context, plan.attempt)):  # the ConfigMap, which says so, last
            await self._api.delete(body["apiVersion"], body["kind"], self._namespace, body["metadata"]["name"])

    async def delete_jobs(self) -> None:
        """Delete the Jobs of a run that was over and was edited: how its learners ended says nothing any more."""
        for job in self._snapshot.jobs:
            if not job.is_deleted:
                await self._api.delete("batch/v1", "Job", self._namespace, job.name, uid=job.uid)

    def _place(self, attempt: int) -> None:
        if wants_gang(self._context.job):
            placement = placement_of(self._plan.job_name, self._snapshot, attempt)
            self._context = dataclasses.replace(self._context, placement=placement)

    async def _drop_groups(self, kept: Groups) -> None:
        """Delete PodGroups of attempts before.

        They are not watched: few jobs have any, and their kind may be missing.
        """
        if not wants_gang(self._context.job):
            return
        selector = f"{LABEL_JOB}={self._plan.job_name}"
        for item in await self._api.list(gang.API_VERSION, gang.KIND, self._namespace, label_selector=selector):
            name = item["metadata"]["name"]
            if name not in (kept.servers, kept.learner):
                await self._api.delete(gang.API_VERSION, gang.KIND, self._namespace, name)

    async def _raise_if_behind(self) -> None:
        """Read our own writes: a second Job because the watch is late would be a second gang."""
        selector = f"{LABEL_JOB}={self._plan.job_name}"
        live = {item["metadata"]["uid"] for item in await self._list_jobs(selector)}
        if not live <= {job.uid for job in self._snapshot.jobs}:
            raise StaleViewError("a learner Job exists that the watch does not show yet")

    async def _list_jobs(self, selector: str) -> Iterable[dict[str, Any]]:
        return await self._api.list("batch/v1", "Job", self._namespace, label_selector=selector)

    async def _apply_base(self, attempt: int) -> None:
        plan = self._snapshot.plan
        if plan is not None and plan.applied == self._base_digest.of(self._context, attempt):
            return
        bodies = base_objects(self._context, attempt)
        digest = self._base_digest.note(self._context, attempt, bodies)
        others = [body for body in bodies if not _is_plan(body)]
        for body in others:
            await self._api.apply(body)
        for body in bodies:
            if _is_plan(body):  # last: it says that the others were applied
                await self._api.apply(_marked(body, digest))

    async def _apply_servers(self, attempt: int, *, with_template: bool) -> None:
        """Templates change between attempts alone; the number of replicas at any time."""
        present = {deployment.role: deployment for deployment in self._snapshot.deployments}
        for role, build in _DEPLOYMENTS.items():
            deployment = present.get(role)
            if deployment is None or with_template:
                body = build(self._context, attempt)
                digest = digest_of(body["spec"]["template"])
                if deployment is None or deployment.applied != digest:
                    await self._api.apply(_marked(body, digest))
                    continue
            await self._scale(deployment, self._plan.count(role))

    async def _scale(self, deployment: DeploymentView, replicas: int) -> None:
        if deployment.replicas != replicas and not deployment.is_deleted:
            change = {"spec": {"replicas": replicas}}
            await self._api.patch("apps/v1", "Deployment", self._namespace, deployment.name, change)

    async def _create_learner(self, attempt: int) -> None:
        try:
            await self._api.create(learner_job(self._context, attempt))
        except ApiError as error:
            if error.status != CONFLICT:
                raise
            name = learner_job_name(self._plan.job_name, attempt)
            raise StaleViewError(f"{name} exists already") from error

    async def _drop_old_jobs(self, newest_kept: int) -> None:
        """Delete old Jobs. The attempt before stays for its logs; what was lost before is in the status."""
        for job in self._snapshot.jobs:
            if job.attempt < newest_kept and not job.is_deleted:
                await self._api.delete("batch/v1", "Job", self._namespace, job.name, uid=job.uid)

    async def _delete_deployments(self, roles: set[Role]) -> None:
        for deployment in self._snapshot.deployments:
            if deployment.role in roles and not deployment.is_deleted:
                await self._api.delete("apps/v1", "Deployment", self._namespace, deployment.name, uid=deployment.uid)


def digest_of(value: Any) -> str:
    """sha256 of the JSON with its keys in order."""
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()


def _is_plan(body: dict[str, Any]) -> bool:
    return body["kind"] == "ConfigMap" and "job.json" in body.get("data", {})


def _marked(body: dict[str, Any], digest: str) -> dict[str, Any]:
    meta = body["metadata"]
    annotations = {**(meta.get("annotations") or {}), ANNOTATION_APPLIED: digest}
    return {**body, "metadata": {**meta, "annotations": annotations}}
