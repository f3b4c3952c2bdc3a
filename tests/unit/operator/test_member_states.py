"""From pods, Jobs and Deployments to members."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from operator_builders import (
    CREATED_AT,
    make_deployment,
    make_job,
    make_pod,
    running,
    terminated,
)

from prorl_api.spec.values import Role
from prorl_control.members import Exit, Member, MemberState
from prorl_operator.kube.views import PodView, deployment_view, job_view, pod_view
from prorl_operator.member_states import LOST_SECONDS, learner_members, server_members, taken_attempt

NOW = CREATED_AT + 1000


def views(*pods: dict[str, Any]) -> list[PodView]:
    seen = [pod_view(pod) for pod in pods]
    return [view for view in seen if view is not None]


def learners(*pods: dict[str, Any], jobs: list[dict[str, Any]] | None = None, **settings: Any) -> list[Member]:
    given = {"is_answering": True, "held": "", "now": NOW, **settings}
    return learner_members([job_view(job) for job in jobs or [make_job()]], views(*pods), **given)


def servers(deployment: dict[str, Any] | None, *pods: dict[str, Any]) -> list[Member]:
    view = None if deployment is None else deployment_view(deployment)
    return server_members(Role.ROLLOUT, view, views(*pods), now=NOW)


@pytest.mark.parametrize(("answers", "state"), [(True, MemberState.READY), (False, MemberState.STARTING)])
def test_pod_0_is_ready_when_the_learner_has_taken_up_the_run(answers: bool, state: MemberState) -> None:
    (member,) = learners(make_pod(**running()), is_answering=answers)
    assert (member.key.name, member.attempt, member.state) == ("learner-0", 1, state)


def test_every_pod_of_the_gang_is_a_member_also_before_it_exists() -> None:
    members = learners(make_pod(**running()), jobs=[make_job(replicas=3)])
    assert [(member.index, member.state) for member in members] == [
        (0, MemberState.READY),
        (1, MemberState.STARTING),
        (2, MemberState.STARTING),
    ]


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ({"code": 0, "reason": "Completed"}, Exit(code=0)),
        ({"code": 64}, Exit(code=64)),
        ({"code": 137, "reason": "OOMKilled"}, Exit(signal=9, reason="OOMKilled")),
        ({"code": 143}, Exit(signal=15)),
        ({"code": 1, "message": "ValueError: no"}, Exit(code=1, termination_message="ValueError: no")),
    ],
)
def test_how_a_container_ended_is_told_as_the_platform_tells_it(end: dict[str, Any], expected: Exit) -> None:
    (member,) = learners(make_pod(**terminated("learner", **end)))
    assert (member.state, member.exit, member.exited_at) == (MemberState.EXITED, expected, CREATED_AT)


def test_a_preempted_pod_says_so() -> None:
    status = terminated(code=143)
    status["conditions"] = [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]
    (member,) = learners(make_pod(**status))
    assert member.exit == Exit(signal=15, reason="Preempted")


def test_an_evicted_pod_without_a_container_has_ended() -> None:
    (member,) = learners(make_pod(phase="Failed", reason="Evicted", message="low on memory"))
    assert member.exit == Exit(reason="Evicted: low on memory")


def test_a_pod_on_a_node_that_nobody_reaches_counts_as_ended_once_its_grace_is_over() -> None:
    pod = make_pod(**running(), deletion_timestamp="2026-01-01T00:02:00Z")
    until = CREATED_AT + 120 + LOST_SECONDS
    (waiting,) = learners(pod, now=until - 1)
    (lost,) = learners(pod, now=until + 1)
    assert (waiting.state, lost.state, str(lost.exit)) == (MemberState.RUNNING, MemberState.EXITED, "ended, NodeLost")


def test_a_pod_that_the_node_controller_deletes_is_lost_at_once() -> None:
    status = running()
    status["conditions"] = [{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}]
    (member,) = learners(make_pod(**status, deletion_timestamp="2026-01-01T09:00:00Z"))
    assert (member.state, member.exit) == (MemberState.EXITED, Exit(reason="NodeLost"))


def test_a_pod_that_vanished_from_a_failed_job_has_ended() -> None:
    (member,) = learners(jobs=[make_job(FailureTarget="BackoffLimitExceeded")])
    assert member.state is MemberState.EXITED
    assert "BackoffLimitExceeded" in str(member.exit)


def test_pods_whose_job_is_deleted_live_until_they_are_gone() -> None:
    ending = make_pod(attempt=1, **running(), deletion_timestamp="2026-01-01T09:00:00Z")
    members = learners(ending, jobs=[make_job(attempt=2)])
    assert [(member.attempt, member.is_alive) for member in members] == [(2, True), (1, True)]


def test_why_the_newest_job_has_no_pods_stands_at_its_members() -> None:
    (member,) = learners(held='pods "x" is forbidden: exceeded quota: gpus')
    assert "exceeded quota: gpus (raise the namespace's ResourceQuota" in member.detail


def test_why_a_pod_is_not_scheduled_stands_at_its_member() -> None:
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
    }
    (member,) = learners(make_pod(phase="Pending", conditions=[condition]), is_answering=False)
    assert member.detail.startswith("Unschedulable: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu. (no node")


def test_why_a_container_waits_stands_at_its_member() -> None:
    waiting = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "x"'}
    pod = make_pod("rollout", phase="Pending", containerStatuses=[{"name": "rollout", "state": {"waiting": waiting}}])
    (member,) = servers(make_deployment(), pod)
    assert member.detail.startswith("ImagePullBackOff: Back-off pulling image")


def test_servers_are_numbered_up_to_the_replicas() -> None:
    pods = [make_pod("rollout", index=index, **running("rollout", ready=index == 0)) for index in range(3)]
    members = servers(make_deployment(replicas=4), *pods)
    assert [(member.index, member.state) for member in members] == [
        (0, MemberState.READY),
        (1, MemberState.STARTING),
        (2, MemberState.STARTING),
        (3, MemberState.STARTING),
    ]
    assert len(servers(make_deployment(replicas=2), *pods)) == 2


def test_a_server_in_its_crash_loop_has_ended_and_one_that_runs_again_has_not() -> None:
    (crashed,) = servers(make_deployment(), make_pod("rollout", **terminated("rollout", code=64, last=True)))
    assert (crashed.state, crashed.exit) == (MemberState.EXITED, Exit(code=64))
    again = running("rollout") | {"restartCount": 1}
    (back,) = servers(make_deployment(), make_pod("rollout", **again))
    assert back.state is MemberState.READY


def test_without_a_deployment_only_ending_pods_are_left() -> None:
    ending = make_pod("rollout", **running("rollout"), deletion_timestamp="2026-01-01T09:00:00Z")
    assert [member.state for member in servers(None, ending)] == [MemberState.RUNNING]
    assert servers(None) == []


def test_why_a_deployment_cannot_create_pods_stands_at_the_members_that_lack() -> None:
    members = servers(
        make_deployment(replicas=2, failure="exceeded quota: cpu"), make_pod("rollout", **running("rollout"))
    )
    assert [bool(member.detail) for member in members] == [False, True]


def test_the_attempt_that_the_run_folder_knows_is_read_from_the_learners_termination_message() -> None:
    words = "attempt 1 may not begin: attempt 7 has begun; start a newer one"
    (member,) = learners(make_pod(**terminated("learner", 67, message=words)))
    assert taken_attempt([member]) == 7
    assert taken_attempt(learners(make_pod(**terminated("learner", 64, message=words)))) == 0
