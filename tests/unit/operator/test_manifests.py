"""The objects of a job: names, owners, addresses, what each role is told, and that all of it is the same every time."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from manifest_builders import (
    UID,
    all_objects,
    environment,
    find,
    main_container,
    make_context,
    templates,
    texts,
)

from prorl_api.manifest import validate_job
from prorl_api.names import LEARNER_GLIBC_TUNABLES, ROLLOUT_GLIBC_TUNABLES
from prorl_api.process.tokens import derive_token, digest_of
from prorl_api.settings import RolloutServerSettings, SandboxSettings
from prorl_operator.manifests import (
    Images,
    JobContext,
    base_objects,
    learner_job,
    rollout_deployment,
    sandbox_deployment,
)

ROLES = ("learner", "rollout", "sandbox")
PRESENTED = ("learner-to-rollout", "learner-to-sandbox", "rollout-to-learner")


def token(direction: str) -> str:
    return derive_token(b"k" * 32, UID, *direction.split("-to-"))


def selects(selector: dict[str, str], labels: dict[str, str]) -> bool:
    return selector.items() <= labels.items()


def pod_labels(context: JobContext, role: str, attempt: int = 1, index: int = 0) -> dict[str, str]:
    """Labels of a pod as it will be; Kubernetes adds the completion index."""
    labels = dict(templates(context, attempt)[role]["metadata"]["labels"])
    return labels | ({"batch.kubernetes.io/job-completion-index": str(index)} if role == "learner" else {})


def test_the_same_job_gives_the_same_objects() -> None:
    assert json.dumps(all_objects(make_context(), 3)) == json.dumps(all_objects(make_context(), 3))


def test_every_object_belongs_to_the_job_and_goes_with_it() -> None:
    owner = {
        "apiVersion": "prorl.dev/v1alpha1", "kind": "ProRLJob", "name": "demo", "uid": UID, "controller": True,
        "blockOwnerDeletion": True,
    }  # fmt: skip
    for item in all_objects(make_context()):
        assert item["metadata"]["ownerReferences"] == [owner]
        assert item["metadata"]["namespace"] == "research"


def test_every_object_says_whose_and_what_it_is() -> None:
    for item in all_objects(make_context()):
        labels = item["metadata"]["labels"]
        assert labels["prorl.dev/job"] == labels["app.kubernetes.io/instance"] == "demo"
        assert labels["prorl.dev/role"] == labels["app.kubernetes.io/component"]
        assert labels["prorl.dev/role"] in ROLES
        assert labels["app.kubernetes.io/name"] == "prorl"
        assert labels["app.kubernetes.io/managed-by"] == "prorl-operator"


def test_no_two_objects_share_kind_and_name() -> None:
    identities = [(item["kind"], item["metadata"]["name"]) for item in all_objects(make_context())]
    assert len(set(identities)) == len(identities)


def test_names_fit_for_the_longest_job_its_last_attempt_and_its_last_pod() -> None:
    context = make_context({"metadata.name": "j" * 40, "spec.learner.replicas": 1024})
    for item in all_objects(context, 99999):
        assert len(item["metadata"]["name"]) <= 63
        assert all(len(value) <= 63 for value in item["metadata"]["labels"].values())
    host = f"{learner_job(context, 99999)['metadata']['name']}-1023"
    assert len(host) <= 63
    assert len(templates(context, 99999)["learner"]["spec"]["subdomain"]) <= 63


def test_the_plan_comes_first_and_is_the_job_as_it_runs() -> None:
    context = make_context()
    plan = base_objects(context, 4)[0]
    assert (plan["kind"], plan["metadata"]["name"]) == ("ConfigMap", "demo-plan")
    assert plan["metadata"]["labels"]["prorl.dev/attempt"] == "4"
    assert validate_job(json.loads(plan["data"]["job.json"])) == context.job


def test_the_learner_reads_the_plan_from_a_folder_that_is_updated() -> None:
    template = templates(make_context())["learner"]
    (mount,) = (item for item in main_container(template, "learner")["volumeMounts"] if item["name"] == "plan")
    assert mount == {"name": "plan", "mountPath": "/etc/prorl", "readOnly": True}
    assert {"name": "plan", "configMap": {"name": "demo-plan"}} in template["spec"]["volumes"]
    assert environment(template, "learner")["PRORL_MANIFEST"] == "/etc/prorl/job.json"


@pytest.mark.parametrize("role", ["rollout", "sandbox"])
def test_nobody_else_mounts_the_plan(role: str) -> None:
    assert "demo-plan" not in set(texts(templates(make_context())[role]))


def test_the_secret_holds_what_pods_present_and_nothing_else() -> None:
    secret = find(base_objects(make_context(), 1), "Secret", "demo-tokens")
    held = {name: base64.b64decode(text).decode() for name, text in secret["data"].items()}
    assert held == {name: token(name) for name in PRESENTED}


def test_no_token_stands_anywhere_else_and_the_operators_nowhere() -> None:
    context = make_context()
    for item in all_objects(context):
        found = set(texts(item)) if item["kind"] != "Secret" else set()
        assert not any(token(direction) in text for direction in PRESENTED for text in found)
        assert not any(token("body-to-learner") in text for text in texts(item))
    assert "k" * 32 not in repr(context)


@pytest.mark.parametrize(
    ("role", "presents", "accepts"),
    [
        ("learner", ["learner-to-rollout", "learner-to-sandbox"], ["body-to-learner", "rollout-to-learner"]),
        ("rollout", ["rollout-to-learner"], ["learner-to-rollout"]),
        ("sandbox", [], ["learner-to-sandbox"]),
    ],
)
def test_a_role_presents_and_accepts_the_tokens_of_its_directions(
    role: str, presents: list[str], accepts: list[str]
) -> None:
    variables = environment(templates(make_context())[role], role)
    held = {name: item["secretKeyRef"] for name, item in variables.items() if name.startswith("PRORL_TOKEN_")}
    assert held == {
        f"PRORL_TOKEN_{direction.rpartition('-')[2].upper()}": {"name": "demo-tokens", "key": direction}
        for direction in presents
    }
    entries = [f"{direction.partition('-')[0]}={digest_of(token(direction))}" for direction in accepts]
    assert variables["PRORL_ACCEPTED_TOKEN_SHA256"] == ",".join(entries)


def test_a_sandbox_pod_refers_to_no_secret_and_has_no_service_account() -> None:
    template = templates(make_context())["sandbox"]
    assert not {"secretKeyRef", "secretRef", "secret", "projected", "serviceAccountName"} & set(texts(template))
    assert template["spec"]["automountServiceAccountToken"] is False


def test_the_learners_service_selects_rank_0_of_the_current_attempt_alone() -> None:
    context = make_context({"spec.learner.replicas": 2})
    spec = find(base_objects(context, 7), "Service", "demo-learner")["spec"]
    assert selects(spec["selector"], pod_labels(context, "learner", 7, 0))
    assert not selects(spec["selector"], pod_labels(context, "learner", 7, 1))
    assert not selects(spec["selector"], pod_labels(context, "learner", 6, 0))
    assert (spec["publishNotReadyAddresses"], spec["ports"][0]["port"]) == (True, 8000)


def test_the_ranks_service_gives_every_learner_pod_a_name_before_it_is_ready() -> None:
    context = make_context({"spec.learner.replicas": 2})
    spec = find(base_objects(context, 7), "Service", "demo-learner-ranks")["spec"]
    assert all(selects(spec["selector"], pod_labels(context, "learner", 7, index)) for index in (0, 1))
    assert (spec["clusterIP"], spec["publishNotReadyAddresses"]) == ("None", True)
    assert templates(context, 7)["learner"]["spec"]["subdomain"] == "demo-learner-ranks"


def test_a_learner_of_one_pod_needs_no_name_for_its_ranks() -> None:
    services = [body for body in base_objects(make_context(), 7) if body["kind"] == "Service"]
    assert {body["metadata"]["name"] for body in services} == {"demo-learner", "demo-sandbox"}


def test_the_sandbox_service_selects_ready_sandboxes() -> None:
    context = make_context()
    spec = find(base_objects(context, 1), "Service", "demo-sandbox")["spec"]
    assert selects(spec["selector"], pod_labels(context, "sandbox"))
    assert "publishNotReadyAddresses" not in spec
    assert not any(selects(spec["selector"], pod_labels(context, role)) for role in ("learner", "rollout"))


def test_addresses_are_those_of_the_services() -> None:
    found = templates(make_context(cluster_domain="example.org"))
    learner, rollout = environment(found["learner"], "learner"), environment(found["rollout"], "rollout")
    assert learner["PRORL_SANDBOX_URLS"] == "http://demo-sandbox.research.svc.example.org:8000"
    assert rollout["PRORL_LEARNER_URL"] == "http://demo-learner.research.svc.example.org:8000"
    assert learner["PRORL_ADVERTISED_URL"] == rollout["PRORL_LEARNER_URL"]


def test_a_rollout_server_advertises_its_pods_address_which_stands_before_its_use() -> None:
    env = main_container(templates(make_context())["rollout"], "rollout")["env"]
    names = [item["name"] for item in env]
    assert environment(templates(make_context())["rollout"], "rollout")["PRORL_ADVERTISED_URL"] == (
        "http://$(PRORL_POD_IP):8000"
    )
    assert names.index("PRORL_POD_IP") < names.index("PRORL_ADVERTISED_URL")


@pytest.mark.parametrize("role", ROLES)
def test_a_component_listens_on_every_address_of_its_pod(role: str) -> None:
    assert environment(templates(make_context())[role], role)["PRORL_LISTEN_ADDRESS"] == ":8000"


def test_a_new_attempt_changes_nothing_of_servers_and_sandboxes() -> None:
    context = make_context()
    for build in (rollout_deployment, sandbox_deployment):
        assert build(context, 1) == build(context, 2)


def test_the_number_of_servers_changes_nothing_of_their_pods() -> None:
    before, after = make_context(), make_context({"spec.rollout.replicas": 9, "spec.sandbox.replicas": 5})
    assert rollout_deployment(after, 1)["spec"]["replicas"] == 9
    assert sandbox_deployment(after, 1)["spec"]["replicas"] == 5
    for role in ("rollout", "sandbox"):
        assert templates(before)[role] == templates(after)[role]


@pytest.mark.parametrize("role", ["rollout", "sandbox"])
def test_a_deployment_selects_its_own_pods_alone(role: str) -> None:
    context = make_context()
    selector = find(all_objects(context), "Deployment", f"demo-{role}")["spec"]["selector"]["matchLabels"]
    assert [other for other in ROLES if selects(selector, pod_labels(context, other))] == [role]


def test_rollout_servers_are_replaced_in_place_since_gpus_cannot_surge() -> None:
    rolling = rollout_deployment(make_context(), 1)["spec"]["strategy"]["rollingUpdate"]
    assert rolling == {"maxSurge": 0, "maxUnavailable": 1}


def test_waiting_for_weights_never_restarts_a_rollout_server() -> None:
    main = main_container(templates(make_context())["rollout"], "rollout")
    assert main["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert main["startupProbe"]["httpGet"]["path"] == main["livenessProbe"]["httpGet"]["path"] == "/healthz"


def test_servers_and_sandboxes_are_told_their_settings() -> None:
    found = templates(make_context({"spec.rollout.threads": 3, "spec.sandbox.workers": 5}))
    rollout = environment(found["rollout"], "rollout")["PRORL_ROLLOUT_SETTINGS"]
    sandbox = environment(found["sandbox"], "sandbox")["PRORL_SANDBOX_SETTINGS"]
    assert RolloutServerSettings.model_validate_json(rollout).threads == 3
    assert SandboxSettings.model_validate_json(sandbox).workers == 5


def test_the_learners_job_is_one_gang_that_is_never_repeated_by_kubernetes() -> None:
    job = learner_job(make_context({"spec.learner.replicas": 4}), 3)
    assert job["metadata"]["name"] == "demo-learner-3"
    assert job["metadata"]["labels"]["prorl.dev/attempt"] == "3"
    template = job["spec"].pop("template")
    assert job["spec"] == {
        "completionMode": "Indexed",
        "completions": 4,
        "parallelism": 4,
        "backoffLimit": 0,
        "podReplacementPolicy": "TerminatingOrFailed",
    }
    assert template["spec"]["restartPolicy"] == "Never"
    assert template["spec"]["terminationGracePeriodSeconds"] == 120


@pytest.mark.parametrize("role", ["learner", "rollout", "sandbox"])
def test_a_pod_leaves_a_lost_node_after_half_a_minute(role: str) -> None:
    tolerations = templates(make_context())[role]["spec"]["tolerations"]
    assert [(item["key"], item["effect"], item["tolerationSeconds"]) for item in tolerations] == [
        ("node.kubernetes.io/unreachable", "NoExecute", 30),
        ("node.kubernetes.io/not-ready", "NoExecute", 30),
    ]


def test_the_learner_is_told_its_run_and_attempt() -> None:
    variables = environment(templates(make_context(), 5)["learner"], "learner")
    assert variables["PRORL_RUN_DIR"] == "/runs/demo"
    assert variables["PRORL_RUN_UID"] == UID
    assert variables["PRORL_ATTEMPT"] == "5"
    assert "PRORL_ADOPT_RUN" not in variables


def test_only_the_learner_waits_to_be_asked_once_more() -> None:
    found = {
        role: environment(pod, role).get("PRORL_FINAL_REPORT_SECONDS")
        for role, pod in templates(make_context()).items()
    }
    assert found == {"learner": "20", "rollout": None, "sandbox": None}


def test_a_run_to_adopt_is_handed_on() -> None:
    variables = environment(templates(make_context(adopt_run="old"))["learner"], "learner")
    assert variables["PRORL_ADOPT_RUN"] == "old"


def test_ranks_in_one_pod_meet_within_it() -> None:
    context = make_context({"spec.learner.processesPerReplica": 2})
    variables = environment(templates(context)["learner"], "learner")
    assert variables["PRORL_RENDEZVOUS"] == "127.0.0.1:29500"
    assert (variables["PRORL_LEARNER_REPLICAS"], variables["PRORL_PROCESSES_PER_REPLICA"]) == ("1", "2")


def test_ranks_in_several_pods_meet_at_the_first_by_the_name_kubernetes_gives_it() -> None:
    variables = environment(templates(make_context({"spec.learner.replicas": 2}), 5)["learner"], "learner")
    name = "demo-learner-5-0.demo-learner-ranks.research.svc.cluster.local"
    assert variables["PRORL_RENDEZVOUS"] == f"{name}:29500"


@pytest.mark.parametrize(
    ("resources", "tuned"), [(None, True), ({"limits": {"cpu": 8}}, True), ({"limits": {"nvidia.com/gpu": 1}}, False)]
)
@pytest.mark.parametrize(
    ("role", "tunables"), [("learner", LEARNER_GLIBC_TUNABLES), ("rollout", ROLLOUT_GLIBC_TUNABLES)]
)
def test_the_allocator_is_tuned_on_cpu_only(role: str, tunables: str, resources: Any, tuned: bool) -> None:
    context = make_context({f"spec.{role}.resources": resources} if resources else {})
    found = environment(templates(context)[role], role).get("GLIBC_TUNABLES")
    assert found == (tunables if tuned else None)


def test_resources_are_handed_on_as_text() -> None:
    context = make_context({"spec.rollout.resources": {"limits": {"nvidia.com/gpu": 1, "memory": "64Gi"}}})
    main = main_container(templates(context)["rollout"], "rollout")
    assert main["resources"] == {"limits": {"nvidia.com/gpu": "1", "memory": "64Gi"}}


def test_a_sandbox_has_a_memory_limit_even_when_none_is_given() -> None:
    main = main_container(templates(make_context({"spec.sandbox.workers": 2}))["sandbox"], "sandbox")
    # 1 GiB for the service, and for each of 2 workers 2 GiB of its own and 512 MiB for a program.
    assert main["resources"]["limits"] == {"memory": f"{1024 + 2 * (2048 + 512)}Mi"}


def test_volumes_are_mounted_into_the_roles_that_they_name() -> None:
    volume = {"name": "data", "claimName": "c", "mountPath": "/data", "roles": ["rollout", "learner"]}
    found = templates(make_context({"spec.volumes.2": volume}))
    mounts = {role: [item["mountPath"] for item in main_container(found[role], role)["volumeMounts"]] for role in ROLES}
    assert [role for role in ROLES if "/data" in mounts[role]] == ["learner", "rollout"]
    assert [role for role in ROLES if "/runs" in mounts[role]] == ["learner"]


def test_a_read_only_volume_is_mounted_so() -> None:
    template = templates(make_context())["learner"]
    claim = {"claimName": "shared-models", "readOnly": True}
    assert {"name": "volume-models", "persistentVolumeClaim": claim} in template["spec"]["volumes"]
    mount = {"name": "volume-models", "mountPath": "/models", "readOnly": True}
    assert mount in main_container(template, "learner")["volumeMounts"]


@pytest.mark.parametrize("role", ROLES)
def test_every_mount_has_its_volume_and_every_writable_folder_its_limit(role: str) -> None:
    spec = templates(make_context())[role]["spec"]
    names = [volume["name"] for volume in spec["volumes"]]
    mounts = [mount["name"] for mount in spec["containers"][0]["volumeMounts"]]
    assert sorted(mounts) == sorted(set(names)) == sorted(names)
    assert all(volume["emptyDir"]["sizeLimit"] for volume in spec["volumes"] if "emptyDir" in volume)


@pytest.mark.parametrize("role", ROLES)
def test_caches_lie_in_writable_folders(role: str) -> None:
    template = templates(make_context())[role]
    variables = environment(template, role)
    volumes = {volume["name"] for volume in template["spec"]["volumes"] if "emptyDir" in volume}
    mounts = main_container(template, role)["volumeMounts"]
    writable = tuple(mount["mountPath"] for mount in mounts if mount["name"] in volumes)
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR"):
        assert variables[name].startswith(writable)


@pytest.mark.parametrize("role", ROLES)
def test_pods_run_without_privileges(role: str) -> None:
    spec = templates(make_context())[role]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == spec["securityContext"]["fsGroup"] == 65532
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }


def test_images_are_pulled_as_the_installation_says() -> None:
    images = Images(learner="a", rollout="b", sandbox="c", pull_policy="Always", pull_secrets=("registry",))
    context = make_context(images=images)
    for role, image in zip(ROLES, "abc", strict=True):
        spec = templates(context)[role]["spec"]
        assert spec["imagePullSecrets"] == [{"name": "registry"}]
        assert (spec["containers"][0]["image"], spec["containers"][0]["imagePullPolicy"]) == (image, "Always")


def test_the_sandboxes_runtime_class_is_theirs_alone() -> None:
    found = templates(make_context({"spec.sandbox.runtimeClassName": "gvisor"}))
    assert [role for role in ROLES if found[role]["spec"].get("runtimeClassName") == "gvisor"] == ["sandbox"]


def test_servers_and_sandboxes_are_drained_one_at_a_time_and_the_learner_freely() -> None:
    context = make_context()
    budgets = [item for item in base_objects(context, 1) if item["kind"] == "PodDisruptionBudget"]
    assert [item["metadata"]["name"] for item in budgets] == ["demo-rollout", "demo-sandbox"]
    for item in budgets:
        assert item["spec"]["maxUnavailable"] == 1
        assert item["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
        assert not selects(item["spec"]["selector"]["matchLabels"], pod_labels(context, "learner"))


def test_autoscalers_leave_the_learner_in_place() -> None:
    assert templates(make_context())["learner"]["metadata"]["annotations"] == {
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
        "karpenter.sh/do-not-disrupt": "true",
    }
