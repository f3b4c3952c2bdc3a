"""What is wrong with a job in a cluster: each fault by its field, all at once, and with what to do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from manifest_builders import all_objects, main_container, make_cluster_job, make_context, templates

from prorl_api.manifest import read_job
from prorl_operator.manifests import cluster_faults

sys.path.insert(0, str(Path(__file__).parents[1] / "api"))
from api_builders import REMOVED, make_source

SANDBOX = "spec.sandbox.podTemplate"
LEARNER = "spec.learner.podTemplate"
FULL = Path(__file__).parents[1] / "api/data/full.yaml"


def paths_of(changes: dict[str, Any]) -> list[str]:
    return [fault.path for fault in cluster_faults(make_cluster_job(changes))]


def main(role: str, **fields: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": role, **fields}]}}


def test_a_job_for_a_cluster_has_no_fault() -> None:
    assert cluster_faults(make_cluster_job()) == []
    assert cluster_faults(read_job(FULL)) == []


@pytest.mark.parametrize(
    ("changes", "path", "wanted"),
    [
        ({"spec.checkpoint.volume": REMOVED}, "spec.checkpoint.volume", "name the volume"),
        ({"spec.volumes.1.mountPath": "/models/"}, "spec.volumes[1].mountPath", "choose another path"),
        ({"spec.volumes.1.mountPath": "/"}, "spec.volumes[1].mountPath", "a folder of its own"),
        ({"spec.volumes.1.mountPath": "/etc/prorl/runs"}, "spec.volumes[1].mountPath", "outside /etc/prorl"),
        ({"spec.volumes.1.mountPath": "/runs:a"}, "spec.volumes[1].mountPath", "without `:`"),
        ({"spec.volumes.0.roles": ["learner", "sandbox"], "spec.volumes.0.readOnly": False}, "spec.volumes[0].readOnly",
         "model-written programs"),
        ({"spec.model.path": "./model"}, "spec.model.path", "(/models, /runs), or a hub name"),
        ({"spec.model.path": "/elsewhere/base"}, "spec.model.path", "absolute path in a volume"),
        ({"spec.model.path": "/models/../secret"}, "spec.model.path", "absolute path in a volume"),
        ({"spec.initFrom": {"run": "../before"}}, "spec.initFrom.run", "absolute path in a volume"),
        ({"spec.data.sources.1": make_source("rows", jsonl="rows/*.jsonl")}, "spec.data.sources[1].jsonl", "absolute"),
        ({"spec.data.sources.1": make_source("own", domain="custom", jsonl="/runs/x.jsonl", reward="own:score")},
         "spec.data.sources[1].reward", "a ConfigMap can be mounted with `spec.learner.podTemplate`"),
        ({"spec.learner.resources": {"limits": {"nvidia.com/gpu": 8}}}, "spec.learner.processesPerReplica", "8: each"),
        ({"spec.rollout.resources": {"limits": {"nvidia.com/gpu": "2"}}}, "spec.rollout.tensorParallelSize", "2: each"),
        ({"spec.learner.gradientCheckpointing": True, "spec.learner.offloadActivations": True},
         "spec.learner.offloadActivations", "no GPU to offload from"),
        ({"spec.sandbox.runtimeClassName": "gvisor", f"{SANDBOX}.spec.runtimeClassName": "kata"},
         f"{SANDBOX}.spec.runtimeClassName", "is gvisor"),
        ({"spec.monitoring": {"prometheus": "main", "signals": [{"name": "kl", "query": "judged"}]}},
         "spec.monitoring.signals[0].name", "none of the learner's metrics"),
        ({"spec.monitoring": {"prometheus": "main", "signals": [{"name": "a", "query": "avg("}]}},
         "spec.monitoring.signals[0].query", "no PromQL: unclosed left parenthesis"),
    ],
)  # fmt: skip
def test_a_job_that_cannot_run_in_a_cluster_is_told_why(changes: dict[str, Any], path: str, wanted: str) -> None:
    (fault,) = cluster_faults(make_cluster_job(changes))
    assert fault.path == path
    assert wanted in fault.want


@pytest.mark.parametrize(
    "changes",
    [
        {"spec.model.path": "owner/model-1.5b"},
        {"spec.model.path": "/models"},
        {"spec.data.sources.1": make_source("rows", jsonl="/models/**/*.jsonl")},
        {"spec.initFrom": {"run": "/runs/before"}},
        {"spec.volumes.0.roles": ["learner", "sandbox"]},
        {"spec.learner.resources": {"limits": {"nvidia.com/gpu": 2}}, "spec.learner.processesPerReplica": 2},
        {"spec.model.path": "/x/base", LEARNER: main("learner", volumeMounts=[{"name": "v", "mountPath": "/x"}])},
        {SANDBOX: {"spec": {"automountServiceAccountToken": False, "hostNetwork": False, "hostUsers": False}}},
        {SANDBOX: {"spec": {"securityContext": {"runAsUser": None, "seccompProfile": {"type": "Localhost"}}}}},
        {SANDBOX: {"spec": {"volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "4Gi"}}]}}},
        {LEARNER: {"spec": {"hostNetwork": True, "serviceAccountName": "trainer"}}},
        {LEARNER: main("learner", securityContext={"privileged": True}, image="mine")},
    ],
    ids=str,
)  # fmt: skip
def test_what_can_hold_has_no_fault(changes: dict[str, Any]) -> None:
    assert paths_of(changes) == []


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ({"spec": {"restartPolicy": "Always"}}, "spec.restartPolicy"),
        ({"spec": {"subdomain": "mine"}}, "spec.subdomain"),
        ({"kind": "Pod"}, "kind"),
        ({"metadata": {"name": "mine"}}, "metadata.name"),
        ({"metadata": {"labels": {"prorl.dev/role": "rollout"}}}, "metadata.labels[prorl.dev/role]"),
        ({"metadata": {"annotations": {"x.prorl.dev/y": "z"}}}, "metadata.annotations[x.prorl.dev/y]"),
        ({"metadata": {"labels": {"app.kubernetes.io/name": "x"}}}, "metadata.labels[app.kubernetes.io/name]"),
        ({"metadata": {"labels": {"batch.kubernetes.io/x": "y"}}}, "metadata.labels[batch.kubernetes.io/x]"),
        (main("learner", env=[{"name": "PRORL_ATTEMPT", "value": "9"}]), "spec.containers[0].env[0]"),
        (main("learner", env=[{"name": "RANK", "value": "9"}]), "spec.containers[0].env[0]"),
        (main("learner", resources={"limits": {}}), "spec.containers[0].resources"),
        (main("sidecar"), "spec.containers[0].image"),
        ({"spec": {"initContainers": [{"name": "learner"}]}}, "spec.initContainers[0].name"),
        ({"spec": {"volumes": [{"name": "plan", "emptyDir": {}}]}}, "spec.volumes[0].name"),
        ({"spec": {"volumes": [{"name": "volume-runs", "emptyDir": {}}]}}, "spec.volumes[0].name"),
        ({"spec": 3}, "spec"),
        ({"metadata": {"labels": ["a"]}}, "metadata.labels"),
        ({"spec": {"containers": {"name": "x"}}}, "spec.containers"),
        ({"spec": {"containers": [{"image": "x"}]}}, "spec.containers[0]"),
        (main("learner", env=["A=b"]), "spec.containers[0].env[0]"),
        (main("learner", volumeMounts=[{"name": "x"}]), "spec.containers[0].volumeMounts[0]"),
        ({"spec": {"tolerations": "all"}}, "spec.tolerations"),
        ({"spec": {"securityContext": []}}, "spec.securityContext"),
    ],
    ids=str,
)  # fmt: skip
def test_a_learners_template_may_not_take_what_the_operator_relies_on(template: dict[str, Any], path: str) -> None:
    assert paths_of({LEARNER: template}) == [f"{LEARNER}.{path}"]


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ({"spec": {"hostNetwork": True}}, "spec.hostNetwork"),
        ({"spec": {"hostPID": True}}, "spec.hostPID"),
        ({"spec": {"hostIPC": True}}, "spec.hostIPC"),
        ({"spec": {"shareProcessNamespace": True}}, "spec.shareProcessNamespace"),
        ({"spec": {"automountServiceAccountToken": True}}, "spec.automountServiceAccountToken"),
        ({"spec": {"serviceAccountName": "cloud"}}, "spec.serviceAccountName"),
        ({"spec": {"volumes": [{"name": "h", "hostPath": {"path": "/"}}]}}, "spec.volumes[0].hostPath"),
        ({"spec": {"volumes": [{"name": "s", "secret": {"secretName": "x"}}]}}, "spec.volumes[0].secret"),
        ({"spec": {"volumes": [{"name": "p", "projected": {}}]}}, "spec.volumes[0].projected"),
        ({"spec": {"volumes": [{"name": "c", "persistentVolumeClaim": {"claimName": "x"}}]}},
         "spec.volumes[0].persistentVolumeClaim"),
        (main("sandbox", securityContext={"privileged": True}), "spec.containers[0].securityContext.privileged"),
        (main("sandbox", securityContext=None), "spec.containers[0].securityContext"),
        (main("sandbox", securityContext={"allowPrivilegeEscalation": None}),
         "spec.containers[0].securityContext.allowPrivilegeEscalation"),
        (main("sandbox", securityContext={"readOnlyRootFilesystem": False}),
         "spec.containers[0].securityContext.readOnlyRootFilesystem"),
        (main("sandbox", securityContext={"capabilities": {"add": ["NET_RAW"]}}),
         "spec.containers[0].securityContext.capabilities.add"),
        (main("sandbox", securityContext={"capabilities": {"drop": None}}),
         "spec.containers[0].securityContext.capabilities.drop"),
        (main("sandbox", securityContext={"procMount": "Unmasked"}), "spec.containers[0].securityContext.procMount"),
        (main("side", image="i", securityContext={"privileged": True}),
         "spec.containers[0].securityContext.privileged"),
        ({"spec": {"initContainers": [{"name": "i", "image": "i", "securityContext": {"privileged": True}}]}},
         "spec.initContainers[0].securityContext.privileged"),
        ({"spec": {"securityContext": {"seccompProfile": {"type": "Unconfined"}}}},
         "spec.securityContext.seccompProfile.type"),
        ({"spec": {"securityContext": {"runAsNonRoot": None}}}, "spec.securityContext.runAsNonRoot"),
        (main("sandbox", env=[{"name": "A", "valueFrom": {"secretKeyRef": {"name": "x", "key": "y"}}}]),
         "spec.containers[0].env[0].valueFrom.secretKeyRef"),
        (main("sandbox", envFrom=[{"secretRef": {"name": "x"}}]), "spec.containers[0].envFrom[0].secretRef"),
        (main("sandbox", ports=[{"containerPort": 9, "hostPort": 9}]), "spec.containers[0].ports[0].hostPort"),
    ],
    ids=str,
)  # fmt: skip
def test_a_sandbox_template_may_not_weaken_what_holds_model_written_programs(
    template: dict[str, Any], path: str
) -> None:
    assert paths_of({SANDBOX: template}) == [f"{SANDBOX}.{path}"]


def test_all_faults_are_told_at_once() -> None:
    found = paths_of(
        {
            "spec.checkpoint.volume": REMOVED,
            "spec.model.path": "./model",
            SANDBOX: {"spec": {"hostNetwork": True, "hostPID": True}},
            LEARNER: {"metadata": {"labels": {"prorl.dev/job": "x"}}},
        }
    )
    assert set(found) == {
        "spec.checkpoint.volume",
        f"{LEARNER}.metadata.labels[prorl.dev/job]",
        "spec.model.path",
        f"{SANDBOX}.spec.hostNetwork",
        f"{SANDBOX}.spec.hostPID",
    }


def test_a_job_with_every_field_can_be_built() -> None:
    context = make_context()
    full = type(context)(
        job=read_job(FULL), uid=context.uid, namespace="n", images=context.images, token_key=context.token_key
    )
    assert len(all_objects(full, 2)) == 14


def test_a_reward_function_in_a_mounted_config_map_can_be_read() -> None:
    volumes = [{"name": "rewards", "configMap": {"name": "own"}}]
    mounts = main("learner", volumeMounts=[{"name": "rewards", "mountPath": "/rewards"}])
    template = {"spec": {**mounts["spec"], "volumes": volumes}}
    own = make_source("own", domain="custom", jsonl="/runs/x.jsonl", reward="/rewards/grade.py:score")
    changes = {"spec.data.sources.1": own, LEARNER: template}
    assert cluster_faults(make_cluster_job(changes)) == []
    pods = templates(make_context(changes))
    mounted = {
        role: [mount["mountPath"] for mount in main_container(pod, role)["volumeMounts"] if mount["name"] == "rewards"]
        for role, pod in pods.items()
    }
    assert mounted == {"learner": ["/rewards"], "rollout": [], "sandbox": []}, (
        "the function travels; the judges mount none"
    )
    assert volumes[0] in pods["learner"]["spec"]["volumes"]
