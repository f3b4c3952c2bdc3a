"""PodGroups of a job: which pods wait for which."""

from __future__ import annotations

from typing import Any

import pytest
from manifest_builders import all_objects, make_cluster_job, make_context, templates
from operator_builders import make_deployment, make_job, make_pod, running

from prorl_operator.kube.views import deployment_view, job_view, pod_view
from prorl_operator.manifests import cluster_faults
from prorl_operator.manifests.context import Placement
from prorl_operator.placement import placement_of
from prorl_operator.watch.view_index import Snapshot

LABEL = "scheduling.x-k8s.io/pod-group"
GANG: dict[str, Any] = {
    "spec.scheduling.gang": {"scheduler": "coscheduling"},
    "spec.learner.replicas": 2,
    "spec.rollout.replicas": 3,
    "spec.sandbox.replicas": 4,
}


def groups(placement: Placement, attempt: int) -> dict[str, int]:
    context = make_context(GANG, placement=placement)
    return {
        item["metadata"]["name"]: item["spec"]["minMember"]
        for item in all_objects(context, attempt)
        if item["kind"] == "PodGroup"
    }


def labels(placement: Placement, attempt: int) -> dict[str, str]:
    made = templates(make_context(GANG, placement=placement), attempt)
    assert {template["spec"]["schedulerName"] for template in made.values()} == {"scheduler-plugins-scheduler"}
    return {role: template["metadata"]["labels"][LABEL].rpartition("-")[2] for role, template in made.items()}


def name(attempt: int) -> str:
    return f"{make_cluster_job().metadata.name}-gang-{attempt}"


def test_a_job_without_a_gang_has_no_group_and_the_default_scheduler() -> None:
    objects = all_objects(make_context())
    assert "PodGroup" not in {item["kind"] for item in objects}
    assert all("schedulerName" not in template["spec"] for template in templates(make_context()).values())


def test_at_first_every_pod_of_all_roles_waits_for_every_other() -> None:
    assert groups(Placement(), 1) == {name(1): 2 + 3 + 4}
    assert labels(Placement(), 1) == {"learner": "1", "rollout": "1", "sandbox": "1"}


def test_once_placed_a_server_that_is_lost_or_added_comes_alone() -> None:
    assert groups(Placement(servers_since=1, is_placed=True), 1) == {name(1): 1}


def test_a_later_attempt_s_learner_is_a_gang_of_its_own_and_servers_keep_their_template() -> None:
    later = Placement(servers_since=1, is_placed=True, has_own_learner_group=True)
    assert groups(later, 5) == {name(1): 1, name(5): 2}
    assert labels(later, 5) == {"learner": "5", "rollout": "1", "sandbox": "1"}
    first, fifth = (templates(make_context(GANG, placement=p), n) for p, n in ((Placement(), 1), (later, 5)))
    assert (first["rollout"], first["sandbox"]) == (fifth["rollout"], fifth["sandbox"])


def test_a_learner_that_is_replaced_before_the_gang_was_placed_stays_in_it() -> None:
    assert groups(Placement(servers_since=1), 2) == {name(1): 9}


def seen(*, servers_run: bool, learner: tuple[int, bool] | None = None, group: str = "demo-gang-1") -> Snapshot:
    """Servers of attempt 1; of the learner its attempt and whether it runs."""
    server = deployment_view(labelled(make_deployment(), "demo-gang-1"))
    pods = [pod_view(make_pod("rollout", **(running("rollout") if servers_run else {})))]
    jobs = []
    if learner is not None:
        jobs.append(job_view(labelled(make_job(learner[0]), group)))
        pods.append(pod_view(make_pod(attempt=learner[0], **(running() if learner[1] else {}))))
    assert server is not None
    return Snapshot(body=None, deployments=(server,), jobs=tuple(jobs), pods=tuple(pod for pod in pods if pod))


def labelled(body: dict[str, Any], group: str) -> dict[str, Any]:
    body["metadata"]["labels"][LABEL] = group
    return body


@pytest.mark.parametrize(
    ("snapshot", "attempt", "expected"),
    [
        (Snapshot(body=None), 1, Placement()),
        (seen(servers_run=False, learner=(1, False)), 1, Placement(servers_since=1)),
        (seen(servers_run=True, learner=(1, False)), 1, Placement(servers_since=1, is_placed=True)),
        (seen(servers_run=False, learner=(1, True)), 1, Placement(servers_since=1, is_placed=True)),
        (
            seen(servers_run=True, learner=(1, False)),
            2,
            Placement(servers_since=1, is_placed=True, has_own_learner_group=True),
        ),
        (seen(servers_run=False, learner=(1, False)), 2, Placement(servers_since=1)),
        (
            seen(servers_run=False, learner=(2, False), group="demo-gang-2"),
            2,
            Placement(servers_since=1, has_own_learner_group=True),
        ),
    ],
    ids=[
        "nothing is there",
        "all wait",
        "a server runs",
        "the learner runs",
        "the next attempt finds servers",
        "the next attempt finds none that runs",
        "all servers are lost while a later learner waits",
    ],
)
def test_placement_follows_from_what_is_there(snapshot: Snapshot, attempt: int, expected: Placement) -> None:
    assert placement_of("demo", snapshot, attempt) == expected


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ({"spec": {"schedulerName": "other"}}, "spec.rollout.podTemplate.spec.schedulerName"),
        ({"metadata": {"labels": {LABEL: "mine"}}}, f"spec.rollout.podTemplate.metadata.labels[{LABEL}]"),
    ],
)
def test_a_template_that_would_leave_the_gang_is_refused(template: dict[str, Any], path: str) -> None:
    (fault,) = cluster_faults(make_cluster_job({**GANG, "spec.rollout.podTemplate": template}))
    assert fault.path == path
