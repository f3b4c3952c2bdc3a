"""Jobs that are placed whole or not at all, by scheduler-plugins' real coscheduling scheduler and controller."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from prorl_api.names import LABEL_POD_GROUP, learner_job_name
from prorl_api.spec.values import Role
from prorl_api.status import ConditionStatus, ConditionType
from tests.conformance.cluster_fixtures import make_world, operator, site, world
from tests.conformance.cluster_world import JOB, ClusterWorld
from tests.conformance.site import NODE, Site
from tests.conformance.world import succeeded, wait_for, wait_for_step
from tests.testbed.api import Object
from tests.testbed.coscheduling import coscheduling

__all__ = ["make_world", "operator", "site", "world"]

POD_GROUPS = ("scheduling.x-k8s.io/v1alpha1", "PodGroup")
SLOT = "example.com/slot"
"""What the node has a few of, and every pod takes one of."""


@pytest.fixture(scope="module")
def scheduler(site: Site) -> Iterator[None]:
    """The real thing."""
    with coscheduling(site.cluster):
        yield


def gang(*, rollout: int = 1, sandbox: int = 1, steps: int = 100_000) -> dict[str, Any]:
    """Sections of a job of 1 + `rollout` + `sandbox` pods."""
    resources = {"resources": {"limits": {SLOT: "1"}}}
    return {
        "scheduling": {"gang": {"scheduler": "coscheduling"}},
        "schedule": {"totalSteps": steps},
        "rollout": {"replicas": rollout, **resources},
        "sandbox": {"replicas": sandbox, **resources},
        "learner": resources,
    }


def bound(world: ClusterWorld) -> list[Object]:
    return [pod for pod in world.living_pods() if pod["spec"].get("nodeName")]


def groups(world: ClusterWorld) -> dict[str, int]:
    return {item["metadata"]["name"]: item["spec"]["minMember"] for item in world.children(*POD_GROUPS)}


def refused(world: ClusterWorld) -> list[str]:
    """Why each pod is not placed, in the scheduler's words."""
    conditions = [item for pod in world.pods() for item in pod["status"].get("conditions") or ()]
    return [
        item.get("message", "") for item in conditions if (item["type"], item["status"]) == ("PodScheduled", "False")
    ]


def said(world: ClusterWorld) -> str:
    kinds = (ConditionType.SUCCEEDED, ConditionType.ROLLOUT_READY)
    found = [world.status.condition(kind) for kind in kinds]
    return " | ".join(item.message for item in found if item is not None)


def test_without_the_definition_the_job_says_so_and_runs_once_it_is_there(
    world: ClusterWorld, request: pytest.FixtureRequest
) -> None:
    """The first test of this module: the others install the definition."""
    world.site.add_capacity(NODE, {SLOT: "3"})
    world.write_job(**gang(steps=10))
    world.start()
    wait_for(lambda: "PodGroup" in said(world), "the job names what is missing")
    assert "install its CustomResourceDefinition" in said(world)
    assert world.pods() == []
    request.getfixturevalue("scheduler")
    assert succeeded(world.wait_until_over()) is ConditionStatus.TRUE
    wait_for(lambda: not groups(world), "no group is left of a job that is over")


@pytest.mark.usefixtures("scheduler")
def test_of_a_gang_that_does_not_fit_no_pod_is_bound_and_the_job_says_so(world: ClusterWorld) -> None:
    world.site.add_capacity(NODE, {SLOT: "4"})
    world.write_job(**gang(rollout=2, sandbox=2))
    world.start()
    wait_for(lambda: len(world.living_pods()) == 5 and len(refused(world)) == 5, "every pod was tried")
    assert bound(world) == []
    assert groups(world) == {f"{JOB}-gang-1": 5}
    wait_for(lambda: "placed together" in said(world) or "Insufficient" in said(world), f"it says so: {said(world)}")
    world.site.add_capacity(NODE, {SLOT: "5"})
    wait_for_step(world, 1)
    assert len(bound(world)) == 5


@pytest.mark.usefixtures("scheduler")
def test_of_two_gangs_with_room_for_one_and_a_half_one_runs_whole_then_the_other(
    make_world: Callable[..., ClusterWorld],
) -> None:
    first, second = make_world(), make_world()
    first.site.add_capacity(NODE, {SLOT: "6"})
    first.write_job(**gang(rollout=2, steps=100_000))
    first.start()
    wait_for_step(first, 1)
    second.write_job(**gang(rollout=2, steps=10))
    second.start()
    wait_for(lambda: len(refused(second)) == 4, "the second was tried")
    assert (len(bound(first)), len(bound(second))) == (4, 0)
    first.write_job(**gang(rollout=2, steps=100_000), suspend=True)
    first.wait_until_over()
    assert succeeded(second.wait_until_over()) is ConditionStatus.TRUE
    assert groups(first) == {}


@pytest.mark.usefixtures("scheduler")
def test_a_restarted_learner_is_a_gang_of_its_own_and_leaves_the_servers_alone(world: ClusterWorld) -> None:
    world.site.add_capacity(NODE, {SLOT: "4"})
    world.write_job(**gang(rollout=2))
    world.start()
    wait_for_step(world, 6)
    wait_for(lambda: groups(world) == {f"{JOB}-gang-1": 1}, "a placed gang holds up no single server")
    servers = {pod["metadata"]["uid"] for role in (Role.ROLLOUT, Role.SANDBOX) for pod in world.living_pods(role)}
    (world.control / "exit-learner-0").write_text("-9")
    wait_for(
        lambda: any(item["metadata"]["name"] == learner_job_name(JOB, 2) for item in world.children("batch/v1", "Job")),
        "attempt 2",
    )
    wait_for_step(world, 12)
    assert groups(world) == {f"{JOB}-gang-1": 1, f"{JOB}-gang-2": 1}
    learner = world.newest(Role.LEARNER)
    assert learner is not None
    assert learner["metadata"]["labels"][LABEL_POD_GROUP] == f"{JOB}-gang-2"
    assert servers == {
        pod["metadata"]["uid"] for role in (Role.ROLLOUT, Role.SANDBOX) for pod in world.living_pods(role)
    }
    world.delete()
    wait_for(lambda: not groups(world), "deletion leaves no group")
