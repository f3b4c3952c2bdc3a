"""scheduler-plugins in a control plane: coscheduling scheduler, controller of PodGroups, their definition."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.testbed.build import command_path
from tests.testbed.control_plane import ControlPlane
from tests.testbed.errors import TestbedError
from tests.testbed.processes import Part
from tests.testbed.toolchain import go_command, go_environment
from tests.testbed.tools import SCHEDULER_PLUGINS
from tests.testbed.waiting import wait_until

SCHEDULER_NAME = "scheduler-plugins-scheduler"
"""As in scheduler-plugins' own chart."""
RETRY_SECONDS = 5
"""After which refused pods are tried again, whatever happens; looked at every 30 s. By default it is 5 minutes, and
room that becomes free wakes only the pods that lacked it, not their siblings."""
DEFINITION = "config/crd/bases/scheduling.x-k8s.io_podgroups.yaml"
"""In the module."""


@contextmanager
def coscheduling(cluster: ControlPlane) -> Iterator[None]:
    """The definition is there and both parts run, beside the cluster's own scheduler; at the end they are killed."""
    api, crd = cluster.api(), definition()
    api.create(crd)
    name = crd["metadata"]["name"]
    wait_until(f"{name} to be established", lambda: _is_established(api.get(crd["apiVersion"], crd["kind"], name)))
    config = cluster.folder / "coscheduling.yaml"
    config.write_text(yaml.safe_dump(scheduler_configuration(cluster.kubeconfig)))
    scheduler = [str(command_path(SCHEDULER_PLUGINS, "coscheduling-scheduler")), f"--config={config}"]
    controller = ["env", f"KUBECONFIG={cluster.kubeconfig}"]
    controller += [str(command_path(SCHEDULER_PLUGINS, "coscheduling-controller")), "--metricsAddr=0", "--probeAddr=0"]
    parts = [
        Part(
            "coscheduling-scheduler",
            [*scheduler, "--secure-port=0", f"--pod-max-in-unschedulable-pods-duration={RETRY_SECONDS}s"],
            cluster.folder,
        ),
        Part("coscheduling-controller", controller, cluster.folder),
    ]
    try:
        for part in parts:
            part.launch()
        yield
    finally:
        for part in parts:
            part.kill()


def definition() -> dict[str, Any]:
    """PodGroup's CustomResourceDefinition, from the module that the programs are built of.

    Raises:
        TestbedError: The module cannot be had.
    """
    command = [str(go_command()), "list", "-m", "-f", "{{.Dir}}", SCHEDULER_PLUGINS.module]
    environment = go_environment(os.environ)
    for needed in (["go", "mod", "download", SCHEDULER_PLUGINS.module], None):
        asked = subprocess.run(
            command, cwd=SCHEDULER_PLUGINS.folder, env=environment, capture_output=True, text=True, check=False
        )
        path = Path(asked.stdout.strip()) / DEFINITION
        if asked.stdout.strip() and path.exists():
            found: dict[str, Any] = yaml.safe_load(path.read_text())
            return found
        if needed is not None:  # the programs were built elsewhere, or the cache of modules was cleaned
            words = [command[0], *needed[1:]]
            subprocess.run(words, cwd=SCHEDULER_PLUGINS.folder, env=environment, capture_output=True, check=False)
    raise TestbedError(f"{DEFINITION} of {SCHEDULER_PLUGINS.module} cannot be had: {asked.stderr}")


def scheduler_configuration(kubeconfig: Path) -> dict[str, Any]:
    """One profile with the plugin, as the module's own example has it."""
    name = "Coscheduling"
    return {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "leaderElection": {"leaderElect": False},
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "profiles": [
            {
                "schedulerName": SCHEDULER_NAME,
                "plugins": {
                    "multiPoint": {"enabled": [{"name": name}]},
                    "queueSort": {"enabled": [{"name": name}], "disabled": [{"name": "*"}]},
                },
                "pluginConfig": [{"name": name, "args": {"permitWaitingTimeSeconds": 10}}],
            }
        ],
    }


def _is_established(crd: dict[str, Any]) -> bool:
    conditions = (crd.get("status") or {}).get("conditions") or ()
    return any((item["type"], item["status"]) == ("Established", "True") for item in conditions)
