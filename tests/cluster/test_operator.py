"""The real operator in a real control plane: what it creates, keeps and takes away. Pods are processes here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes.client import ApiException

from prorl_api import API_VERSION
from prorl_api.names import learner_job_name
from prorl_api.spec.values import Role
from prorl_api.status import ConditionStatus, ConditionType
from tests.conformance.cluster_fixtures import OPERATOR, make_world, operator, site, world
from tests.conformance.cluster_world import JOB, ClusterWorld
from tests.conformance.site import Site
from tests.conformance.world import message, saved_step, succeeded, wait_for, wait_for_step
from tests.testbed.api import Object
from tests.testbed.processes import Part

__all__ = ["make_world", "operator", "site", "world"]

CHILDREN = {
    ("apps/v1", "Deployment"): {"fake-rollout", "fake-sandbox"},
    ("batch/v1", "Job"): {"fake-learner-1"},
    ("v1", "Service"): {"fake-learner", "fake-sandbox"},
    ("v1", "ConfigMap"): {"fake-plan"},
    ("v1", "Secret"): {"fake-tokens"},
    ("networking.k8s.io/v1", "NetworkPolicy"): {"fake-learner", "fake-rollout", "fake-sandbox"},
    ("policy/v1", "PodDisruptionBudget"): {"fake-rollout", "fake-sandbox"},
}
LONG: dict[str, Any] = {"totalSteps": 100_000}


def names_of(world: ClusterWorld, kind: tuple[str, str]) -> set[str]:
    return {item["metadata"]["name"] for item in world.children(*kind)}


def condition(world: ClusterWorld, kind: ConditionType) -> tuple[ConditionStatus, str, str] | None:
    found = world.status.condition(kind)
    return None if found is None else (found.status, found.reason, found.message)


def uids(pods: list[Object]) -> set[str]:
    return {pod["metadata"]["uid"] for pod in pods}


def test_children_belong_to_the_job_and_go_with_it(world: ClusterWorld) -> None:
    world.write_job(schedule=LONG)
    world.start()
    wait_for_step(world, 2)
    uid = world.job()["metadata"]["uid"]
    for kind, names in CHILDREN.items():
        assert names_of(world, kind) == names
        for item in world.children(*kind):
            (owner,) = item["metadata"]["ownerReferences"]
            assert (owner["kind"], owner["uid"], owner["controller"]) == ("ProRLJob", uid, True)
    world.delete()
    wait_for(lambda: not any(names_of(world, kind) for kind in CHILDREN), "the children are collected")
    wait_for(lambda: not world.pods() and not world.processes(), "nothing runs any more")
    claims = world.site.api.list("v1", "PersistentVolumeClaim", world.namespace)
    assert {claim["metadata"]["name"] for claim in claims} == {"models", "runs"}


def test_a_job_created_again_does_not_take_over_the_old_run_unasked(world: ClusterWorld) -> None:
    world.write_job(schedule=LONG)
    world.start()
    wait_for_step(world, 6)
    old = world.job()["metadata"]["uid"]
    world.delete()
    wait_for(lambda: not world.processes(), "the old members are gone")
    world.start()
    status = world.wait_until_over()
    assert succeeded(status) is ConditionStatus.FALSE
    assert old in message(status)
    assert "prorl.dev/adopt-run" in message(status)
    change = {"metadata": {"annotations": {"prorl.dev/adopt-run": old}}}
    world.site.api.patch(API_VERSION, "ProRLJob", JOB, change, world.namespace)
    world.write_job(schedule={"totalSteps": 99_999})  # a failed job is taken up again when it is edited
    wait_for_step(world, saved_step(world) + 2)


def test_a_finished_job_leaves_its_outcome_and_the_learner_s_log(world: ClusterWorld) -> None:
    world.write_job(schedule={"totalSteps": 10})
    world.start()
    status = world.wait_until_over()
    assert succeeded(status) is ConditionStatus.TRUE
    wait_for(lambda: not names_of(world, ("v1", "ConfigMap")), "the plan is gone")
    kept = {kind: names_of(world, kind) for kind in CHILDREN}
    assert kept == {kind: {"fake-learner-1"} if kind[1] == "Job" else set() for kind in CHILDREN}
    assert [pod["status"]["phase"] for pod in world.pods()] == ["Succeeded"]
    assert condition(world, ConditionType.SUCCEEDED) == (ConditionStatus.TRUE, "Succeeded", "all 10 steps are done")
    over = (ConditionStatus.FALSE, "NotWanted", "0 of 1 ready; the run is over")
    wait_for(lambda: condition(world, ConditionType.ROLLOUT_READY) == over, "nobody waits for servers")


def test_ttl_removes_a_finished_job_with_all_that_is_left(world: ClusterWorld) -> None:
    world.write_job(schedule={"totalSteps": 5}, ttlSecondsAfterFinished=3)
    world.start()

    def gone() -> bool:
        try:
            world.job()
        except ApiException as error:
            return bool(error.status == 404)
        return False

    wait_for(gone, "the job is removed")
    world.is_created = False
    wait_for(lambda: not world.pods(), "its pods are collected")


def test_suspension_saves_and_leaves_no_pod(world: ClusterWorld) -> None:
    world.write_job(schedule=LONG, checkpoint={"everySteps": 1000})
    world.start()
    wait_for_step(world, 8)
    world.write_job(schedule=LONG, checkpoint={"everySteps": 1000}, suspend=True)
    status = world.wait_until_over()
    stopped = saved_step(world)
    assert stopped >= 8
    assert status.condition(ConditionType.SUSPENDED).reason == "Suspended"  # type: ignore[union-attr]
    assert f"the checkpoint of step {stopped}" in message(status, ConditionType.SUSPENDED)
    wait_for(lambda: not world.pods() and not world.processes(), "no pod is left")


def test_servers_are_scaled_while_the_learner_trains_on(world: ClusterWorld) -> None:
    world.write_job(schedule=LONG)
    world.start()
    wait_for_step(world, 1)
    learner = uids(world.living_pods(Role.LEARNER))
    world.site.definitions.set_scale("prorljobs", world.namespace, JOB, 3)
    wait_for(lambda: len(world.living_pods(Role.ROLLOUT)) == 3, "three rollout servers")
    wait_for(lambda: message(world.status, ConditionType.ROLLOUT_READY) == "3 of 3 ready", "all are ready")
    world.write_job(schedule=LONG, rollout={"replicas": 1}, sandbox={"replicas": 2})
    wait_for(
        lambda: (len(world.living_pods(Role.ROLLOUT)), len(world.living_pods(Role.SANDBOX))) == (1, 2),
        "one rollout server and two sandboxes",
    )
    assert uids(world.living_pods(Role.LEARNER)) == learner
    assert sum(world.status.restarts.values()) == 0


def test_a_learner_s_restart_leaves_the_servers_alone(world: ClusterWorld) -> None:
    world.write_job(schedule=LONG)
    world.start()
    wait_for_step(world, 6)
    servers = uids(world.living_pods(Role.ROLLOUT) + world.living_pods(Role.SANDBOX))
    (world.control / "exit-learner-0").write_text("-9")
    wait_for(lambda: names_of(world, ("batch/v1", "Job")) >= {learner_job_name(JOB, 2)}, "attempt 2")
    wait_for_step(world, 12)
    assert uids(world.living_pods(Role.ROLLOUT) + world.living_pods(Role.SANDBOX)) == servers


@pytest.fixture
def upgraded(site: Site, operator: Part) -> Iterator[Part]:
    """The same operator with newer images, to be started in its place."""
    part = site.operator(OPERATOR, {f"PRORL_IMAGE_{role.name}": f"example.invalid/{role}:2" for role in Role})
    yield part
    part.kill()


def images(pods: list[Object]) -> set[str]:
    return {pod["spec"]["containers"][0]["image"] for pod in pods}


def test_an_operator_s_upgrade_touches_children_only_at_the_next_attempt(
    world: ClusterWorld, operator: Part, upgraded: Part
) -> None:
    world.write_job(schedule=LONG)
    world.start()
    wait_for_step(world, 2)
    before = uids(world.living_pods())
    operator.stop()
    upgraded.launch()
    world.site.wait_for_leader(OPERATOR)
    world.write_job(schedule=LONG, sandbox={"replicas": 2})
    wait_for(lambda: len(world.living_pods(Role.SANDBOX)) == 2, "the new operator acts")
    assert uids(world.living_pods()) > before
    assert {image.rpartition(":")[2] for image in images(world.living_pods())} == {"1"}
    (world.control / "exit-learner-0").write_text("1")
    wait_for(lambda: {image.rpartition(":")[2] for image in images(world.living_pods())} == {"2"}, "all are new")
    upgraded.stop()
    operator.launch()
    world.site.wait_for_leader(OPERATOR)
