"""Edits of a running job, specs that cannot be run, what holds a job up: told in conditions, healed without help."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from kubernetes.client import ApiException

from prorl_api import API_VERSION
from prorl_api.errors import ExitCode
from prorl_api.resets import ResetCondition
from prorl_api.spec.values import Role
from prorl_api.status import ConditionStatus, ConditionType
from tests.cluster.definitions import refusal
from tests.conformance.cluster_fixtures import OPERATOR, make_world, operator, site, world
from tests.conformance.cluster_world import BASE, JOB, ClusterWorld
from tests.conformance.jobs import make_job
from tests.conformance.site import NODE, RELEASE
from tests.conformance.world import message, metrics, saved_step, succeeded, wait_for, wait_for_step
from tests.testbed.processes import Part

__all__ = ["make_world", "operator", "site", "world"]

LONG: dict[str, Any] = {"totalSteps": 100_000}


def accepted(world: ClusterWorld) -> tuple[ConditionStatus, str]:
    found = world.status.condition(ConditionType.ACCEPTED)
    return (found.status, found.reason) if found is not None else (ConditionStatus.UNKNOWN, "")


def refusals(world: ClusterWorld) -> list[dict[str, Any]]:
    """Events about the job's spec, as `kubectl describe` shows them."""
    selector = f"involvedObject.kind=ProRLJob,involvedObject.name={JOB},reason=NotAccepted"
    return world.site.api.list("v1", "Event", world.namespace, fieldSelector=selector)


def plan(world: ClusterWorld) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        world.site.api.get("v1", "ConfigMap", f"{JOB}-plan", world.namespace)["data"]["job.json"]
    )
    return found


def ask_for_reset(world: ClusterWorld, name: str, **spec: Any) -> None:
    """Create an object, as a person does."""
    wanted = {"jobName": JOB, **spec}
    body = {"apiVersion": API_VERSION, "kind": "ProRLReset", "metadata": {"name": name}, "spec": wanted}
    world.site.definitions.create("prorlresets", world.namespace, body)


def stands_at(world: ClusterWorld, name: str) -> tuple[str, str]:
    """Reason and message of the object's summary, or of its end."""
    status = world.site.definitions.read("prorlresets", world.namespace, name).get("status", {})
    by_type = {item["type"]: item for item in status.get("conditions", [])}
    reason = by_type.get("Applied", {}).get("reason", "")
    return reason, by_type.get(reason, by_type.get("Applied", {})).get("message", "")


def test_resets_of_a_job_or_a_step_that_does_not_exist_say_so_and_hold_nothing_up(world: ClusterWorld) -> None:
    ask_for_reset(world, "too-early")
    wait_for(lambda: stands_at(world, "too-early")[0] == "NoJob", "it is told that there is no job")
    assert stands_at(world, "too-early")[1].startswith(f"spec.jobName: there is no ProRLJob {JOB} in namespace")
    ask_for_reset(world, "too-late", applyAtStep=100_001)
    world.write_job(schedule=LONG)
    world.start()
    wait_for(lambda: stands_at(world, "too-early")[0] == "Applied", "the job has come, and takes it up")
    assert stands_at(world, "too-late") == (
        "Expired",
        "spec.applyAtStep: got 100001, after the run's last step 100000 (the job's spec.schedule.totalSteps); "
        "create another reset, for a step of the run or without one",
    )
    wait_for_step(world, metrics(world)[-1]["step"] + 2)


def test_a_live_edit_reaches_the_running_learner(world: ClusterWorld) -> None:
    world.write_job(schedule=LONG)
    world.start()
    wait_for_step(world, 2)
    triggers = [{"name": "often", "interval": {"everySteps": 5}}]
    reset = {"mode": "automatic", "cooldownSteps": 0, "triggers": triggers}
    world.write_job(schedule={"totalSteps": 400}, referenceReset=reset)
    wait_for(lambda: any(record.condition is ResetCondition.APPLIED for record in world.resets), "a reset is applied")
    status = world.wait_until_over()
    assert (succeeded(status), status.step, status.attempt) == (ConditionStatus.TRUE, 400, 1)


def test_an_edit_for_the_next_attempt_waits_and_then_holds(world: ClusterWorld) -> None:
    world.write_job(schedule=LONG)
    world.start()
    wait_for_step(world, 6)
    world.write_job(schedule=LONG, rollout={"dtype": "float32", "maxCompletionTokens": 65})
    wait_for(lambda: accepted(world) == (ConditionStatus.TRUE, "WaitsForNextAttempt"), "the edit is said to wait")
    said = message(world.status, ConditionType.ACCEPTED)
    assert "spec.rollout.dtype, spec.rollout.maxCompletionTokens (the engines are sized when they start)" in said
    assert plan(world)["spec"]["rollout"]["dtype"] == "bfloat16"
    assert plan(world)["spec"]["rollout"]["maxCompletionTokens"] == 64
    assert world.status.attempt == 1
    (world.control / "exit-learner-0").write_text("1")
    wait_for(lambda: world.status.attempt == 2, "the next attempt")
    wait_for(lambda: accepted(world) == (ConditionStatus.TRUE, "Valid"), "it waits no more")
    assert plan(world)["spec"]["rollout"]["dtype"] == "float32"
    assert plan(world)["spec"]["rollout"]["maxCompletionTokens"] == 65


def test_a_job_that_failed_for_lack_of_room_goes_on_with_an_edit(world: ClusterWorld) -> None:
    world.write_job(schedule=LONG)
    world.start()
    wait_for_step(world, 6)
    (world.control / "exit-learner-0").write_text(str(ExitCode.STORAGE.value))
    status = world.wait_until_over()
    assert (succeeded(status), status.attempt) == (ConditionStatus.FALSE, 1)
    said = message(status)
    assert "make room" in said
    assert "in a cluster: edit the spec" in said
    step = saved_step(world)
    assert step > 0
    world.write_job(schedule={"totalSteps": 400})
    wait_for(lambda: world.status.attempt == 2, "the next attempt")
    status = world.wait_until_over()
    assert (succeeded(status), status.step, status.attempt) == (ConditionStatus.TRUE, 400, 2)
    assert next(line["step"] for line in metrics(world) if line["attempt"] == 2) == step + 1


def test_a_fixed_field_cannot_be_edited(world: ClusterWorld) -> None:
    world.write_job(schedule=LONG)
    world.start()
    with pytest.raises(ApiException) as caught:
        world.write_job(schedule=LONG, seed=9)
    assert "seed" in refusal(caught.value).message
    with pytest.raises(ApiException) as caught:
        world.write_job(schedule=LONG, learner={"precision": "float32"})
    assert "precision" in refusal(caught.value).message


def test_a_spec_that_cannot_run_creates_nothing_names_every_fault_and_heals_by_an_edit(world: ClusterWorld) -> None:
    bad = {
        "data": {"sources": [{"name": "m", "domain": "math", "jsonl": "/elsewhere/m.jsonl"}]},
        "sandbox": {"podTemplate": {"spec": {"hostNetwork": True}}},
        "rollout": {"tensorParallelSize": 2, "resources": {"limits": {"nvidia.com/gpu": 1}}},
    }
    world.write_job(**bad)
    world.start()
    wait_for(lambda: accepted(world) == (ConditionStatus.FALSE, "Invalid"), "it is refused")
    said = message(world.status, ConditionType.ACCEPTED)
    for path in ("spec.data.sources[0].jsonl", "spec.sandbox.podTemplate", "spec.rollout.tensorParallelSize"):
        assert path in said
    assert message(world.status) == "nothing was created; correct the spec"
    (event,) = refusals(world)
    assert event["type"] == "Warning"
    assert event["message"].startswith(said[:200])
    for path in ("spec.data.sources[0].jsonl", "spec.sandbox.podTemplate", "spec.rollout.tensorParallelSize"):
        assert path in event["message"]
    for kind in (("v1", "Pod"), ("v1", "ConfigMap"), ("apps/v1", "Deployment"), ("batch/v1", "Job")):
        assert world.children(*kind) == []
    healed = make_job(JOB, BASE, {"schedule": {"totalSteps": 3}})["spec"]
    # The data sources of a job are fixed: it heals as far as edits are allowed.
    healed["data"] = copy.deepcopy(bad["data"])
    healed["data"]["sources"][0]["jsonl"] = "/elsewhere/m.jsonl"
    healed["volumes"] += [{"name": "data", "claimName": "runs", "mountPath": "/elsewhere", "roles": ["learner"]}]
    world.replace_spec(healed)
    status = world.wait_until_over()
    assert (succeeded(status), status.step) == (ConditionStatus.TRUE, 3)
    assert accepted(world) == (ConditionStatus.TRUE, "Valid")
    assert len(refusals(world)) == 1


def test_a_faulty_edit_leaves_the_run_alone(world: ClusterWorld) -> None:
    world.write_job(schedule=LONG)
    world.start()
    wait_for_step(world, 2)
    world.write_job(schedule=LONG, sandbox={"podTemplate": {"spec": {"hostNetwork": True}}})
    wait_for(lambda: accepted(world) == (ConditionStatus.FALSE, "Invalid"), "the edit is refused")
    step = world.status.step
    wait_for_step(world, step + 5)
    assert len(world.living_pods()) == 3
    assert ["spec.sandbox.podTemplate" in event["message"] for event in refusals(world)] == [True]
    world.write_job(schedule=LONG)
    wait_for(lambda: accepted(world) == (ConditionStatus.TRUE, "Valid"), "it is taken back")


def test_a_missing_claim_is_named_with_its_remedy_and_its_creation_heals(
    make_world: Callable[..., ClusterWorld],
) -> None:
    world = make_world(claims=False)
    world.write_job(schedule={"totalSteps": 5})
    world.start()

    def held() -> bool:
        said = message(world.status, ConditionType.LEARNER_READY)
        return "models" in said and "create the PersistentVolumeClaim" in said

    wait_for(held, "the claim is named")
    for name in ("models", "runs"):
        world.site.make_claim(world.namespace, name)
    assert succeeded(world.wait_until_over()) is ConditionStatus.TRUE


def test_a_missing_gpu_is_named_with_its_remedy_and_a_node_that_has_it_heals(world: ClusterWorld) -> None:
    gpu = {"limits": {"nvidia.com/gpu": 1}}
    world.write_job(schedule={"totalSteps": 5}, rollout={"resources": gpu})
    world.start()

    def held() -> bool:
        said = message(world.status, ConditionType.ROLLOUT_READY)
        return "Insufficient nvidia.com/gpu" in said and "add nodes" in said

    wait_for(held, "the missing GPU is named")
    world.site.add_capacity(NODE, {"nvidia.com/gpu": "1"})
    assert succeeded(world.wait_until_over()) is ConditionStatus.TRUE


@pytest.mark.parametrize(
    ("role", "kind"), [(Role.LEARNER, ConditionType.LEARNER_READY), (Role.SANDBOX, ConditionType.SANDBOX_READY)]
)
def test_a_quota_is_named_and_its_removal_heals(world: ClusterWorld, role: Role, kind: ConditionType) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    world.site.api.create(quota, world.namespace)
    world.write_job(schedule={"totalSteps": 5})
    world.start()
    wait_for(lambda: "exceeded quota" in message(world.status, kind), f"the quota is named for the {role}")
    assert "raise the namespace's ResourceQuota" in message(world.status, kind)
    world.site.api.delete("v1", "ResourceQuota", "none", world.namespace)
    assert succeeded(world.wait_until_over()) is ConditionStatus.TRUE


@pytest.mark.parametrize(
    ("group", "resource", "verb"),
    [("apps", "deployments", "patch"), ("apps", "deployments", "create"), ("batch", "jobs", "create")],
)
def test_a_right_that_is_missing_is_named_in_the_log_and_its_return_heals(
    world: ClusterWorld, operator: Part, group: str, resource: str, verb: str
) -> None:
    (role,) = (item for item in world.site.rights if item["kind"] == "ClusterRole")
    rules = copy.deepcopy(role["rules"])
    for rule in rules:
        if (rule["apiGroups"], rule["resources"]) == ([group], [resource]):
            rule["verbs"] = [word for word in rule["verbs"] if word != verb]
    said = len(world.site.operator_log(OPERATOR))
    name = role["metadata"]["name"]
    assert name.startswith(RELEASE)
    world.site.api.patch("rbac.authorization.k8s.io/v1", "ClusterRole", name, {"rules": rules})
    try:
        world.write_job(schedule={"totalSteps": 5})
        world.start()
        wait_for(
            lambda: f"lacks verb `{verb}` on {resource}" in world.site.operator_log(OPERATOR)[said:],
            "the missing verb is named",
        )
    finally:
        world.site.api.patch("rbac.authorization.k8s.io/v1", "ClusterRole", name, {"rules": role["rules"]})
    assert succeeded(world.wait_until_over()) is ConditionStatus.TRUE
