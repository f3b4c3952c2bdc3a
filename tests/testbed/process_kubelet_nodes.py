"""Nodes whose pods are local processes, added to a control plane.

    with control_plane(folder) as cluster:
        nodes = ProcessNodes(cluster, {"web": ["python3", "-m", "http.server"]})
        kubelet = nodes.add("process-0")
        kubelet.freeze()  # the node is lost; its processes go on

Everything ends with the cluster.
"""

from __future__ import annotations

import json
import random
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from tests.testbed.control_plane import ControlPlane
from tests.testbed.fake_nodes import ready_nodes
from tests.testbed.layout import ADMIN_GROUPS
from tests.testbed.process_kubelet import KubeletSettings
from tests.testbed.processes import Part
from tests.testbed.tools import ROOT
from tests.testbed.waiting import wait_until

CAPACITY = {"cpu": "1000", "memory": "1000Gi", "ephemeral-storage": "1000Gi", "pods": "1000"}
_PORT = 8000
_ADDRESSES_A_NODE = 4096


class ProcessNodes:
    """All nodes of one cluster whose pods are processes, and the proxy of its Services."""

    def __init__(self, cluster: ControlPlane, commands: Mapping[str, Sequence[str]]) -> None:
        """Start the proxy.

        Args:
            cluster: Whose nodes.
            commands: Container name to program; `{namespace}` and `{pod}` in its words are filled in. `OWN_COMMAND`
                runs what the container itself says.
        """
        self._cluster = cluster
        self._commands = {name: list(words) for name, words in commands.items()}
        self._prefix, self._guard = _free_prefix()
        self._kubelets: dict[str, Part] = {}
        self.claims = cluster.folder / "claims"
        """Holds a folder for every PersistentVolumeClaim, by namespace and name."""
        proxy_user = cluster.kubeconfig_of("process-services", ADMIN_GROUPS)
        self.proxy = _part("services", "process_kubelet_services", [str(proxy_user), self._services], cluster)
        self.proxy.launch()

    @property
    def _services(self) -> str:
        return f"127.{self._prefix + 1}"

    def add(self, name: str, capacity: Mapping[str, str] | None = None) -> Part:
        """Start a node and wait until it is Ready; `capacity` is over that of `CAPACITY`. Its kubelet."""
        folder = self._cluster.folder / "nodes" / name
        folder.mkdir(parents=True)
        block = len(self._kubelets) * _ADDRESSES_A_NODE
        settings = KubeletSettings(
            node=name,
            kubeconfig=str(self._cluster.kubeconfig_of(f"system:node:{name}", ["system:nodes"])),
            folder=str(folder),
            claims=str(self.claims),
            first_address=f"127.{self._prefix}.{block // 256}.0",
            services=self._services,
            commands=self._commands,
            capacity={**CAPACITY, **(capacity or {})},
        )
        path = folder / "settings.json"
        path.write_text(json.dumps(asdict(settings)))
        kubelet = self._kubelets[name] = _part(f"kubelet-{name}", "process_kubelet", [str(path)], self._cluster)
        kubelet.launch()
        api = self._cluster.api()
        wait_until(f"node {name} to be Ready", lambda: name in ready_nodes(api))
        return kubelet

    def pid_of(self, node: str, pod: str, uid: str) -> int | None:
        """The main process of a pod as it was last started; None if it never was."""
        try:
            return int((self._cluster.folder / "nodes" / node / "pods" / f"{pod}-{uid[:8]}" / "pid").read_text())
        except FileNotFoundError:
            return None

    def log_of(self, node: str, namespace: str, pod: str) -> Path:
        """What a pod's process wrote."""
        return self._cluster.folder / "nodes" / node / "logs" / namespace / f"{pod}.log"

    def close(self) -> None:
        """Give the addresses back; processes end with the cluster."""
        for part in (*self._kubelets.values(), self.proxy):
            part.kill()
        self._guard.close()


def _part(name: str, module: str, arguments: Sequence[str], cluster: ControlPlane) -> Part:
    # `env -C`: a part starts in the cluster's folder, and the module is found from the repository's.
    command = ["env", "-C", str(ROOT), sys.executable, "-m", f"tests.testbed.{module}", *arguments]
    return Part(name, command, cluster.folder)


def _free_prefix() -> tuple[int, socket.socket]:
    """The second byte of addresses that no other cluster of this machine uses, and the socket that keeps them ours."""
    candidates = list(range(16, 240, 2))
    random.shuffle(candidates)
    for byte in candidates:
        guard = socket.socket()
        try:
            guard.bind((f"127.{byte}.255.254", _PORT))
        except OSError:
            guard.close()
            continue
        return byte, guard
    raise OSError("every prefix of 127.0.0.0/8 for process nodes is taken")
