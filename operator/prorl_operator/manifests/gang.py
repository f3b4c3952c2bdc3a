"""PodGroups for the coscheduling scheduler of scheduler-plugins: pods that are placed together or not at all.

A PodGroup counts pods and knows no roles. So a group waits for every pod that the job asks for: a smaller number could
be met by rollout servers alone, which would then hold GPUs without a learner. docs/decisions/0007 has the alternatives.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from prorl_api.names import LABEL_POD_GROUP, pod_group_name
from prorl_api.spec.job import ProRLJob
from prorl_api.spec.values import Role
from prorl_operator.manifests.context import JobContext
from prorl_operator.manifests.metadata import Manifest, make_object

API_VERSION = "scheduling.x-k8s.io/v1alpha1"
KIND = "PodGroup"


@dataclass(frozen=True, slots=True)
class Groups:
    """Which groups the pods of an attempt belong to; empty: the job is no gang."""

    servers: str
    learner: str


def groups_of(context: JobContext, attempt: int) -> Groups:
    """Servers stay in the group that they were created with: another label would replace all of them.

    The learner is in theirs until the gang has been placed once. Later attempts find the servers running, and their
    learners have a group of their own.
    """
    if context.job.spec.scheduling.gang is None:
        return Groups("", "")
    placement = context.placement
    servers = pod_group_name(context.name, placement.servers_since or attempt)
    learner = pod_group_name(context.name, attempt) if placement.has_own_learner_group else servers
    return Groups(servers, learner)


def pod_groups(context: JobContext, attempt: int) -> list[Manifest]:
    """Return the PodGroups that must exist before any of the attempt's pods."""
    gang = context.job.spec.scheduling.gang
    if gang is None:
        return []
    groups, spec = groups_of(context, attempt), context.job.spec
    learners = spec.learner.replicas
    everyone = learners + spec.rollout.replicas + spec.sandbox.replicas
    # Once the gang was placed, a server that is lost or added comes alone.
    was_placed = context.placement.is_placed or context.placement.has_own_learner_group
    members = {groups.servers: 1 if was_placed else everyone}
    if groups.learner != groups.servers:
        members[groups.learner] = learners
    timeout = {} if gang.schedule_timeout_seconds is None else {"scheduleTimeoutSeconds": gang.schedule_timeout_seconds}
    return [
        make_object(context, API_VERSION, KIND, name, Role.LEARNER, spec={"minMember": count, **timeout})
        for name, count in members.items()
    ]


def in_group(context: JobContext, template: Manifest, group: str) -> Manifest:
    """Return a pod template as a member of the group; without a gang as it is."""
    gang = context.job.spec.scheduling.gang
    if gang is None:
        return template
    metadata = template["metadata"]
    labels = {**metadata.get("labels", {}), LABEL_POD_GROUP: group}
    return {
        "metadata": {**metadata, "labels": labels},
        "spec": {**template["spec"], "schedulerName": gang.scheduler_name},
    }


def group_labels(group: str) -> dict[str, str]:
    """Labels that tell on the pods' owner which group they are in."""
    return {LABEL_POD_GROUP: group} if group else {}


def attempt_of_group(job: str, groups: Iterable[str]) -> int:
    """Return the attempt that the first of the groups was made for; 0: there is none."""
    prefix = pod_group_name(job, 0)[:-1]
    numbers = [group.removeprefix(prefix) for group in groups if group.startswith(prefix)]
    return next((int(number) for number in numbers if number.isdecimal()), 0)


def wants_gang(job: ProRLJob) -> bool:
    """Tell whether the job's pods are placed together."""
    return job.spec.scheduling.gang is not None
