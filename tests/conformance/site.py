"""A cluster made ready for the real operator: definitions, its rights out of the chart, nodes for processes."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from kubernetes.client import ApiException, CoreV1Api

from tests.cluster.definitions import install
from tests.conformance.jobs import COMPONENT
from tests.testbed.api import Api
from tests.testbed.build import command_path
from tests.testbed.commands import run
from tests.testbed.control_plane import ControlPlane, control_plane
from tests.testbed.process_kubelet_nodes import ProcessNodes
from tests.testbed.processes import Part
from tests.testbed.tools import HELM, ROOT
from tests.testbed.waiting import wait_until

NAMESPACE = "prorl-system"
RELEASE = "prorl-operator"
NODE = "process-0"
ROLES = ("learner", "rollout", "sandbox")
_SERVICE_ACCOUNT = f"system:serviceaccount:{NAMESPACE}:{RELEASE}"
FAST_NODE_LOSS = {
    "kube-controller-manager": {"--node-monitor-grace-period": "6s", "--node-monitor-period": "1s"},
}
"""A silent node counts as lost after seconds."""


class Site:
    """Starts operators and says what they said. `site` makes one."""

    def __init__(
        self,
        cluster: ControlPlane,
        component: Path = COMPONENT,
        commands: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Install everything but the operator.

        Args:
            cluster: Where.
            component: The program of every role, told which.
            commands: As of `ProcessNodes`, instead of it.
        """
        self.cluster = cluster
        self.api: Api = cluster.api()
        self.definitions = install(cluster.client())
        self.control = cluster.folder / "control"
        """Holds a control folder for the components of each namespace."""
        programs = {role: [sys.executable, str(component), role, str(self.control / "{namespace}")] for role in ROLES}
        self.nodes = ProcessNodes(cluster, commands or programs)
        self.kubelet = self.nodes.add(NODE)
        cluster.create_namespace(NAMESPACE)
        self.rights = [self.api.create(item, item["metadata"].get("namespace")) for item in _rights()]
        self.key = cluster.folder / "token-key"
        self.key.write_text(secrets.token_hex(32))

    def operator(
        self, name: str, variables: Mapping[str, str] | None = None, *, kubeconfig: Path | None = None
    ) -> Part:
        """An operator that is not started yet; its log is `operator_log(name)`.

        Args:
            name: Its identity in the Lease.
            variables: More settings, or other ones.
            kubeconfig: Of whom it is, instead of the chart's service account.
        """
        config = kubeconfig or self.cluster.kubeconfig_of(_SERVICE_ACCOUNT, ["system:serviceaccounts"])
        settings = {
            "KUBECONFIG": str(config),
            "PRORL_OPERATOR_NAMESPACE": NAMESPACE,
            "PRORL_OPERATOR_LEASE": RELEASE,
            "PRORL_OPERATOR_IDENTITY": name,
            "PRORL_OPERATOR_KEY_FILE": str(self.key),
            "PRORL_OPERATOR_HTTP_ADDRESS": "127.0.0.1:0",
            **{f"PRORL_IMAGE_{role.upper()}": f"example.invalid/{role}:1" for role in ROLES},
            **(variables or {}),
        }
        words = [f"{key}={value}" for key, value in settings.items()]
        return Part(name, ["env", *words, sys.executable, "-m", "prorl_operator"], self.cluster.folder)

    def operator_log(self, name: str) -> str:
        """What an operator wrote, over all its starts."""
        return (self.cluster.logs / f"{name}.log").read_text()

    def leader(self) -> str | None:
        """Who holds the Lease."""
        try:
            lease = self.api.get("coordination.k8s.io/v1", "Lease", RELEASE, NAMESPACE)
        except ApiException as error:
            if error.status == 404:
                return None
            raise
        holder: str | None = lease["spec"].get("holderIdentity")
        return holder

    def wait_for_leader(self, *names: str) -> str:
        """Who of them leads, once one does."""
        return wait_until(f"one of {names} to lead", lambda: ((found := self.leader()) in names and found) or "")

    def add_capacity(self, node: str, amounts: Mapping[str, str]) -> None:
        """Have a node offer more, such as `{"nvidia.com/gpu": "1"}`."""
        body = {"status": {"capacity": dict(amounts), "allocatable": dict(amounts)}}
        CoreV1Api(self.cluster.client()).patch_node_status(node, body)

    def forget_status(self, namespace: str, job: str) -> None:
        """Have a job be without a status."""
        body = self.definitions.read("prorljobs", namespace, job)
        self.definitions.replace_status("prorljobs", namespace, {**body, "status": {}})

    def make_claim(self, namespace: str, name: str) -> Path:
        """A bound claim; its folder on this machine."""
        volume = f"{namespace}-{name}"
        capacity = {"storage": "10Gi"}
        claim: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name},
            "spec": {
                "accessModes": ["ReadWriteMany"],
                "resources": {"requests": capacity},
                "storageClassName": "",
                "volumeName": volume,
            },
        }
        self.api.create(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": volume},
                "spec": {
                    "capacity": capacity,
                    "accessModes": ["ReadWriteMany"],
                    "persistentVolumeReclaimPolicy": "Retain",
                    "hostPath": {"path": "/nowhere"},
                    "claimRef": {"namespace": namespace, "name": name},
                },
            }
        )
        self.api.create(claim, namespace)
        folder = self.nodes.claims / namespace / name
        folder.mkdir(parents=True)
        return folder

    def close(self) -> None:
        """Let go of the nodes; processes end with the cluster."""
        self.nodes.close()


def _rights() -> list[dict[str, Any]]:
    """The chart's roles and bindings."""
    options = ["--namespace", NAMESPACE, "--kube-version", "1.34.0", "--show-only", "templates/rbac.yaml"]
    chart = str(ROOT / "charts/prorl-operator")
    text = run([str(command_path(HELM, "helm")), "template", RELEASE, chart, *options])
    return [item for item in yaml.safe_load_all(text) if item]


@contextmanager
def site(
    folder: Path,
    changed_flags: Mapping[str, Mapping[str, str]] | None = None,
    component: Path = COMPONENT,
    commands: Mapping[str, Sequence[str]] | None = None,
) -> Iterator[Site]:
    """A cluster with everything but an operator; all of it is gone afterwards.

    With TESTBED_KEEP=1 the folder stays: `logs/` tells what every part did.
    """
    keep = "TESTBED_KEEP" in os.environ
    with control_plane(folder, changed_flags=changed_flags or FAST_NODE_LOSS, keep_folder=keep) as cluster:
        made = Site(cluster, component, commands)
        try:
            yield made
        finally:
            made.close()


def started(operators: Sequence[Part]) -> None:
    """Start several operators."""
    for operator in operators:
        operator.launch()
