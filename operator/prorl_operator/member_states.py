"""From the objects of a job to the members that the brain reasons about. Pure.

A learner pod is one member. Rollout servers and sandboxes are their Deployment's pods, numbered by age: the Deployment
replaces them, and a container that crashes is shown as ended until the kubelet has started it again.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from prorl_api.errors import ExitCode
from prorl_api.process.termination_message import completed_step
from prorl_api.spec.values import Role
from prorl_control.members import Exit, Member, MemberState
from prorl_operator.kube.views import DeploymentView, JobView, PodView
from prorl_operator.pending import explained

LOST_SECONDS = 15.0
"""A pod that is still there so long after it should have been gone is on a node that nobody reaches."""
_NODE_GONE = "DeletionByTaintManager"
_MAX_ATTEMPT_DIGITS = 6
"""A pod's last words are its own: no run needs a million attempts, and no counter is to run over."""
_DISRUPTIONS = {
    _NODE_GONE: "NodeLost",
    "PreemptionByScheduler": "Preempted",
    "EvictionByEvictionAPI": "Evicted",
    "TerminationByKubelet": "EvictedByNode",
    "DeletionByPodGC": "NodeLost",
}


def learner_members(
    jobs: Iterable[JobView], pods: Sequence[PodView], *, is_answering: bool, held: str, now: float
) -> list[Member]:
    """Return every pod of every attempt that there is.

    Args:
        jobs: The Kubernetes Jobs.
        pods: All pods of the job.
        is_answering: Pod 0 of the newest attempt has answered and has taken up the run.
        held: Why the newest Job has no pods, if the platform said so.
        now: Unix time.
    """
    members = []
    known = sorted(jobs, key=lambda job: job.attempt)
    for job in known:
        is_newest = job is known[-1]
        for index in range(job.replicas):
            own = [pod for pod in pods if pod.role is Role.LEARNER and (pod.attempt, pod.index) == (job.attempt, index)]
            pod = max(own, key=lambda pod: pod.created, default=None)
            if pod is None:
                members.append(_without_pod(job, index, held if is_newest else ""))
            else:
                members.append(_learner_pod(pod, job, is_ready=is_answering if index == 0 else pod.is_ready, now=now))
    attempts = {job.attempt for job in known}
    orphans = [pod for pod in pods if pod.role is Role.LEARNER and pod.attempt not in attempts]
    living = [pod for pod in orphans if pod.ended is None and not _is_on_lost_node(pod, now)]
    # Their Job is deleted; they count until they are gone.
    return members + [_member(pod, MemberState.RUNNING, index=pod.index) for pod in living]


def server_members(
    role: Role, deployment: DeploymentView | None, pods: Sequence[PodView], *, now: float
) -> list[Member]:
    """Return the pods of a Deployment, and those still to be created; without one, those that are still ending."""
    own = sorted((pod for pod in pods if pod.role is role), key=lambda pod: (pod.created, pod.name))
    if deployment is None or deployment.is_deleted:
        ending = [pod for pod in own if pod.ended is None and not _is_on_lost_node(pod, now)]
        return [_member(pod, MemberState.RUNNING, index=index) for index, pod in enumerate(ending)]
    staying = [pod for pod in own if pod.deleted is None and not _is_spent(pod)]
    members = []
    for index, pod in itertools.zip_longest(range(deployment.replicas), staying[: deployment.replicas]):
        if pod is None:
            detail = explained(deployment.failure)
            members.append(Member(role=role, index=index, state=MemberState.STARTING, detail=detail))
        elif pod.ended is not None:
            members.append(_ended(pod, index))
        else:
            state = MemberState.READY if pod.is_ready else MemberState.STARTING
            members.append(_member(pod, state, index=index))
    return members


def taken_attempt(members: Iterable[Member]) -> int:
    """Return the attempt that the run folder told learners as they ended because theirs was too low; 0: none."""
    told = [0]
    for member in members:
        if member.exit is not None and member.exit.known_code is ExitCode.STALE_ATTEMPT:
            words = member.exit.termination_message.replace(",", " ").replace(";", " ").split()
            told += [
                int(number)
                for word, number in itertools.pairwise(words)
                if word == "attempt" and number.isdecimal() and len(number) <= _MAX_ATTEMPT_DIGITS
            ]
    return max(told)


def told_step(members: Iterable[Member]) -> int:
    """Return the highest step that learners told as they ended, after the last time they were asked; 0: none."""
    ends = (member.exit for member in members if member.role is Role.LEARNER and member.exit is not None)
    return max((completed_step(end.termination_message) or 0 for end in ends), default=0)


def _without_pod(job: JobView, index: int, held: str) -> Member:
    if job.failed_at is not None:
        gone = Exit(reason=f"its pod is gone, {job.failure}")
        return Member(
            role=Role.LEARNER,
            index=index,
            attempt=job.attempt,
            state=MemberState.EXITED,
            exit=gone,
            started_at=job.created,
            exited_at=job.failed_at,
        )
    if job.is_complete:
        done = Exit(code=0)
        return Member(role=Role.LEARNER, index=index, attempt=job.attempt, state=MemberState.EXITED, exit=done)
    return Member(
        role=Role.LEARNER,
        index=index,
        attempt=job.attempt,
        state=MemberState.STARTING,
        started_at=job.created,
        detail=explained(held),
    )


def _learner_pod(pod: PodView, job: JobView, *, is_ready: bool, now: float) -> Member:
    if pod.ended is not None:
        return _ended(pod, pod.index)
    if _is_on_lost_node(pod, now):
        return Member(
            role=Role.LEARNER,
            index=pod.index,
            attempt=pod.attempt,
            state=MemberState.EXITED,
            exit=Exit(reason=_DISRUPTIONS.get(pod.disruption, "NodeLost")),
            started_at=pod.created,
            exited_at=pod.deleted,
            uid=pod.uid,
        )
    if pod.deleted is not None or job.is_deleted:
        return _member(pod, MemberState.RUNNING, index=pod.index)
    return _member(pod, MemberState.READY if is_ready else MemberState.STARTING, index=pod.index)


def _member(pod: PodView, state: MemberState, *, index: int) -> Member:
    return Member(
        role=pod.role,
        index=index,
        attempt=pod.attempt,
        state=state,
        started_at=pod.running_since or pod.created,
        uid=pod.uid,
        detail=explained(pod.held) if pod.running_since is None else "",
    )


def _ended(pod: PodView, index: int) -> Member:
    assert pod.ended is not None
    end = pod.ended
    reason = end.exit.reason or _DISRUPTIONS.get(pod.disruption, "")
    return Member(
        role=pod.role,
        index=index,
        attempt=pod.attempt,
        state=MemberState.EXITED,
        exit=Exit(
            code=end.exit.code, signal=end.exit.signal, reason=reason, termination_message=end.exit.termination_message
        ),
        started_at=end.started_at or pod.created,
        exited_at=end.finished_at or None,
        uid=pod.uid,
    )


def _is_on_lost_node(pod: PodView, now: float) -> bool:
    """Being deleted, and nobody is there to confirm it."""
    if pod.deleted is None:
        return False
    return pod.disruption == _NODE_GONE or now > pod.deleted + LOST_SECONDS


def _is_spent(pod: PodView) -> bool:
    """Tell whether it has ended for good, such as evicted: its Deployment makes another."""
    return pod.ended is not None and pod.ended.started_at == 0.0 and pod.running_since is None
