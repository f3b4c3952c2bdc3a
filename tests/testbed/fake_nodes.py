"""Nodes without machines: kwok plays the kubelet, so that pods run in the API only.

A fake pod is Running and Ready at once, stays so until it is deleted or told how to end (`EXIT_CODE_ANNOTATION`),
and its containers do nothing. Deleted pods vanish at once, without a grace period.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.testbed.api import Api, Object
from tests.testbed.build import command_path
from tests.testbed.processes import Part
from tests.testbed.tools import KWOK

EXIT_CODE_ANNOTATION = "testbed.prorl.dev/exit-code"
"""Put on a fake pod it ends all its containers with that code; the pod is then Succeeded (0) or Failed."""
DEFAULT_CAPACITY: Mapping[str, str] = {"cpu": "32", "memory": "256Gi", "pods": "110"}
"""What one fake node offers."""
_STAGES = Path(__file__).parent / "pod-stages.yaml"


def kwok(folder: Path, kubeconfig: Path, pod_cidr: str | None = None) -> Part:
    """The process that keeps all fake nodes and their pods alive; killing it is the loss of all of them at once.

    Args:
        folder: The cluster's.
        kubeconfig: Of who may do everything.
        pod_cidr: Where the addresses of fake pods come from, such as `127.250.0.1/16`, where a test can answer for
            them; None: kwok's own choice, where nobody answers.
    """
    command = [
        str(command_path(KWOK, "kwok")),
        f"--kubeconfig={kubeconfig}",
        f"--config={_STAGES}",
        "--manage-nodes-with-label-selector=type=kwok",
        "--node-lease-duration-seconds=40",  # as the kubelet's: the node counts as lost soon after kwok is killed
        *([f"--cidr={pod_cidr}"] if pod_cidr else []),
    ]
    return Part("kwok", command, folder)


def node(name: str, capacity: Mapping[str, str] = DEFAULT_CAPACITY) -> Object:
    """A Node object that kwok will care for.

    Args:
        name: The node's name.
        capacity: Resources, such as `{"nvidia.com/gpu": "8"}`, over those of `DEFAULT_CAPACITY`.
    """
    resources = {**DEFAULT_CAPACITY, **capacity}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"type": "kwok", "kubernetes.io/hostname": name}},
        "status": {"allocatable": resources, "capacity": resources},
    }


def ready_nodes(api: Api) -> set[str]:
    """Names of the nodes that are Ready and take pods: a new one is tainted until the node controller has seen it."""
    return {item["metadata"]["name"] for item in api.list("v1", "Node") if _is_ready(item)}


def _is_ready(item: Object) -> bool:
    conditions = item["status"].get("conditions", ())
    if any(taint["key"].startswith("node.kubernetes.io/") for taint in item["spec"].get("taints") or ()):
        return False
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
