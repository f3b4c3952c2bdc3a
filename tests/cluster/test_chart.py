"""The chart in a real cluster: what an install, an upgrade and an uninstall do, and that the operator can start on it.

A cluster of this module's own: definitions belong to the whole cluster, and other tests install theirs without Helm.
"""

from __future__ import annotations

import base64
import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.client import ApiException

from prorl_api import API_VERSION
from prorl_operator.manifests import Images
from prorl_operator.manifests.context import OPERATOR_LABELS
from prorl_operator.settings import OperatorSettings
from prorl_operator.signals.endpoints import Endpoint, Endpoints
from tests.cluster.helm import ALL_ON, CHART, Helm
from tests.testbed.control_plane import ControlPlane, control_plane
from tests.testbed.errors import TestbedError

NAMESPACE = "prorl-system"
NAME = "prorl-prorl-operator"
KEY_SECRET = f"{NAME}-token-key"
DEFINITIONS = {"prorljobs.prorl.dev", "prorlresets.prorl.dev"}
INSTALL = ("upgrade", "--install", "prorl", str(CHART), "--namespace", NAMESPACE, "--wait", "--timeout", "60s")


@pytest.fixture(scope="module")
def own_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    folder = tmp_path_factory.mktemp("chart") / "cluster"
    with control_plane(folder, fake_nodes=2) as cluster:
        cluster.create_namespace(NAMESPACE, {"pod-security.kubernetes.io/enforce": "restricted"})
        for team in ("team-a", "team-b"):
            cluster.create_namespace(team)
        yield cluster


@pytest.fixture(scope="module")
def helm(own_cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return Helm(own_cluster.kubeconfig, tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="module")
def installed(own_cluster: ControlPlane, helm: Helm) -> ControlPlane:
    """The release `prorl` with default values. Tests leave it installed."""
    helm(*INSTALL)
    return own_cluster


def token_key(cluster: ControlPlane) -> str:
    return str(cluster.api().get("v1", "Secret", KEY_SECRET, NAMESPACE)["data"]["key"])


def definitions(cluster: ControlPlane) -> dict[str, str]:
    """Our definitions: name to uid."""
    found = cluster.api().list("apiextensions.k8s.io/v1", "CustomResourceDefinition")
    return {item["metadata"]["name"]: item["metadata"]["uid"] for item in found if item["spec"]["group"] == "prorl.dev"}


def create_reset(cluster: ControlPlane, name: str) -> str:
    """An object whose loss would show; its uid."""
    metadata = {"name": name, "namespace": "team-a"}
    body = {"apiVersion": API_VERSION, "kind": "ProRLReset", "metadata": metadata, "spec": {"jobName": "demo"}}
    return str(cluster.api().create(body, "team-a")["metadata"]["uid"])


def reset_uid(cluster: ControlPlane, name: str) -> str:
    return str(cluster.api().get(API_VERSION, "ProRLReset", name, "team-a")["metadata"]["uid"])


def the(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The only object of a kind."""
    [found] = [item for item in objects if item["kind"] == kind]
    return found


@pytest.mark.parametrize("values", [(), ("--values", str(ALL_ON))], ids=["default", "all-on"])
def test_every_rendered_object_passes_the_api_server_s_strict_validation(
    own_cluster: ControlPlane, helm: Helm, values: tuple[str, ...]
) -> None:
    api = own_cluster.api()
    objects = [item for item in helm.objects(*values) if not item["apiVersion"].startswith("monitoring.coreos.com/")]
    assert len(objects) > 10
    for item in objects:
        namespace = item["metadata"].get("namespace")
        stored = api.apply(item, "test", namespace, dryRun="All", fieldValidation="Strict")
        assert stored["metadata"]["name"] == item["metadata"]["name"]


def test_an_install_runs_two_operators_in_a_restricted_namespace(installed: ControlPlane) -> None:
    deployment = installed.api().get("apps/v1", "Deployment", NAME, NAMESPACE)
    assert deployment["status"]["readyReplicas"] == 2
    pods = installed.api().list("v1", "Pod", NAMESPACE)
    assert len(pods) == 2
    assert len({pod["spec"]["nodeName"] for pod in pods}) == 2
    assert all(OPERATOR_LABELS.items() <= pod["metadata"]["labels"].items() for pod in pods)


def test_an_install_establishes_both_definitions_with_the_text_of_their_files(installed: ControlPlane) -> None:
    assert set(definitions(installed)) == DEFINITIONS
    for path in (CHART / "files/crds").glob("*.yaml"):
        plain = yaml.load(path.read_text(), Loader=yaml.CSafeLoader)
        name = plain["metadata"]["name"]
        stored = installed.api().get("apiextensions.k8s.io/v1", "CustomResourceDefinition", name)
        assert stored["spec"]["versions"] == plain["spec"]["versions"]
        assert stored["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
        conditions = {item["type"]: item["status"] for item in stored["status"]["conditions"]}
        assert conditions["Established"] == "True"
        assert "NonStructuralSchema" not in conditions


def test_the_key_has_64_characters_and_cannot_be_changed_in_place(installed: ControlPlane) -> None:
    assert len(base64.b64decode(token_key(installed))) == 64
    with pytest.raises(ApiException) as caught:
        installed.api().patch("v1", "Secret", KEY_SECRET, {"data": {"key": "b3RoZXI="}}, NAMESPACE)
    assert caught.value.status == 422


def test_an_upgrade_keeps_key_definitions_and_jobs_and_takes_new_values(installed: ControlPlane, helm: Helm) -> None:
    before = (token_key(installed), definitions(installed), create_reset(installed, "upgraded"))
    helm(*INSTALL, "--set", "replicas=1", "--set", "watchNamespaces={team-a}")
    after = (token_key(installed), definitions(installed), reset_uid(installed, "upgraded"))
    assert after == before
    assert installed.api().get("apps/v1", "Deployment", NAME, NAMESPACE)["spec"]["replicas"] == 1
    helm(*INSTALL, "--reset-values")


def test_an_upgrade_brings_a_changed_definition(installed: ControlPlane, helm: Helm, tmp_path: Path) -> None:
    changed = tmp_path / "prorl-operator"
    shutil.copytree(CHART, changed)
    file = changed / "files/crds/prorlresets.yaml"
    file.write_text(file.read_text().replace("- prr\n", "- prr\n    - prrr\n"))
    helm(*(str(changed) if word == str(CHART) else word for word in INSTALL))
    stored = installed.api().get("apiextensions.k8s.io/v1", "CustomResourceDefinition", "prorlresets.prorl.dev")
    assert stored["spec"]["names"]["shortNames"] == ["prr", "prrr"]
    helm(*INSTALL)


def test_an_uninstall_leaves_jobs_definitions_and_key_and_a_new_install_takes_them_up(
    installed: ControlPlane, helm: Helm
) -> None:
    before = (token_key(installed), definitions(installed), create_reset(installed, "kept"))
    helm("uninstall", "prorl", "--namespace", NAMESPACE, "--wait")
    assert (token_key(installed), definitions(installed), reset_uid(installed, "kept")) == before
    names = [item["metadata"]["name"] for item in installed.api().list("apps/v1", "Deployment", NAMESPACE)]
    assert names == []
    roles = installed.api().list("rbac.authorization.k8s.io/v1", "ClusterRole")
    assert not [item for item in roles if item["metadata"]["name"].startswith(NAME)]
    helm(*INSTALL)
    assert (token_key(installed), definitions(installed), reset_uid(installed, "kept")) == before


def test_monitors_without_their_definitions_fail_the_install_and_say_so(installed: ControlPlane, helm: Helm) -> None:
    with pytest.raises(TestbedError, match="ServiceMonitor"):
        helm(*INSTALL, "--set", "monitoring.serviceMonitor.enabled=true,monitoring.namespace=monitoring")
    assert installed.api().get("apps/v1", "Deployment", NAME, NAMESPACE)["status"]["readyReplicas"] == 2


def test_the_operator_starts_on_what_the_chart_tells_it(helm: Helm, tmp_path: Path) -> None:
    values = {"watchNamespaces": ["a", "b"], "workers": 3, "clusterDomain": "corp.local", "logLevel": "WARNING"}
    objects = helm.objects("--values", str(ALL_ON), *(word for pair in values.items() for word in _set(*pair)))
    pod = the(objects, "Deployment")["spec"]["template"]["spec"]
    [container] = pod["containers"]
    fields = {"metadata.namespace": NAMESPACE, "metadata.name": "pod-1"}
    environment = {
        item["name"]: item["value"] if "value" in item else fields[item["valueFrom"]["fieldRef"]["fieldPath"]]
        for item in container["env"]
    }
    [mount] = [item for item in container["volumeMounts"] if item["name"] == "token-key"]
    [volume] = [item for item in pod["volumes"] if item["name"] == "token-key"]
    [item] = volume["secret"]["items"]
    file = tmp_path / item["path"]
    file.write_bytes(base64.b64decode(the(objects, "Secret")["data"][item["key"]]))
    assert environment["PRORL_OPERATOR_KEY_FILE"] == f"{mount['mountPath']}/{item['path']}"
    settings = OperatorSettings.from_environment({**environment, "PRORL_OPERATOR_KEY_FILE": str(file)})
    assert settings == OperatorSettings(
        namespaces=("a", "b"),
        own_namespace=NAMESPACE,
        identity="pod-1",
        lease_name=NAME,
        token_key=file.read_bytes(),
        images=Images(
            learner="registry.example.com/team/prorl/learner:0.1.0",
            rollout="registry.example.com/team/prorl/rollout-server:0.1.0",
            sandbox="registry.example.com/team/prorl/reward-sandbox:0.1.0",
            pull_secrets=("registry-login",),
        ),
        cluster_domain="corp.local",
        monitoring_namespace="monitoring",
        workers=3,
        prometheus=Endpoints(
            named={
                "main": Endpoint(
                    name="main",
                    url="https://prometheus.monitoring.svc:9090",
                    interval=30.0,
                    namespaces=("team-a",),
                    headers=(("X-Scope-OrgID", "research"),),
                    secret_headers=(("X-Key", "header-1"),),
                    folder=Path("/etc/prorl-prometheus/main"),
                ),
                "other": Endpoint(
                    name="other",
                    url="http://victoria.monitoring.svc:8428",
                    interval=15.0,  # the PodMonitor's
                    folder=Path("/etc/prorl-prometheus/other"),
                ),
            },
            allowed_urls=("http://prometheus.team-a.svc:9090",),
            interval=15.0,
        ),
        http_port=container["ports"][0]["containerPort"],
        log_level=logging.WARNING,
    )


def test_a_dashboard_in_its_folder_becomes_a_config_map_with_its_very_text(helm: Helm, tmp_path: Path) -> None:
    changed = tmp_path / "prorl-operator"
    shutil.copytree(CHART, changed)
    text = json.dumps({"title": "{{ braces }} stay", "panels": [{"expr": 'kl{job="$job"}'}]}, indent=2)
    (changed / "files/dashboards").mkdir(exist_ok=True)
    (changed / "files/dashboards/a-test.json").write_text(text)
    show = ("--show-only", "templates/dashboards.yaml")
    objects = helm.objects("--set", "monitoring.dashboards.enabled=true", *show, chart=changed)
    [found] = [item for item in objects if item["metadata"]["name"] == f"{NAME}-dashboard-a-test"]
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(found["data"]["a-test.json"]) == json.loads(text)


def _set(name: str, value: Any) -> tuple[str, str]:
    return ("--set-json", f"{name}={json.dumps(value)}")
