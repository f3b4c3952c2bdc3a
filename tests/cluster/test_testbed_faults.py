"""The test cluster's parts can be lost and come back, and nothing of a cluster outlives it."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from kubernetes.client import ApiException, CoreV1Api
from urllib3.exceptions import HTTPError, MaxRetryError

from tests.cluster.objects import has_condition, make_config_map, make_pod
from tests.testbed.api import Object
from tests.testbed.control_plane import ControlPlane, control_plane
from tests.testbed.errors import TestbedError
from tests.testbed.processes import processes_of
from tests.testbed.tools import CACHE, ROOT
from tests.testbed.waiting import wait_until


@pytest.fixture(scope="module")
def spare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A cluster to break; each test leaves it whole."""
    with control_plane(tmp_path_factory.mktemp("spare") / "cluster") as cluster:
        yield cluster


def test_a_killed_api_server_comes_back_at_its_address_with_its_data(spare: ControlPlane) -> None:
    api = spare.api()
    api.create(make_config_map("kept"), "default")

    spare.apiserver.kill()
    with pytest.raises(MaxRetryError):
        api.get("v1", "ConfigMap", "kept", "default")
    spare.apiserver.start()

    assert api.get("v1", "ConfigMap", "kept", "default")["data"] == {"a": "b"}


def test_data_survives_the_killing_of_the_store(spare: ControlPlane) -> None:
    api = spare.api()
    api.create(make_config_map("stored"), "default")

    spare.etcd.kill()
    spare.etcd.start()

    kept = wait_until(
        "the API server to find the store again",
        lambda: api.get("v1", "ConfigMap", "stored", "default"),
        passing=(ApiException, HTTPError),
    )
    assert kept["data"] == {"a": "b"}


def test_an_api_server_ends_in_order_although_it_is_watched(spare: ControlPlane) -> None:
    spare.apiserver.stop()
    assert spare.apiserver.pid is None

    spare.apiserver.start()
    assert spare.api().list("v1", "Namespace")


def test_nobody_else_gets_the_port_of_a_killed_part(spare: ControlPlane) -> None:
    port = int(spare.url.rsplit(":", 1)[1])
    spare.apiserver.kill()

    with pytest.raises(OSError, match="in use") as refused, socket.socket() as stranger:
        stranger.bind(("127.0.0.1", port))

    assert refused.value.errno == errno.EADDRINUSE
    spare.apiserver.start()


def test_a_frozen_api_server_answers_nothing_until_it_thaws(spare: ControlPlane) -> None:
    api = spare.api()
    spare.apiserver.freeze()
    with pytest.raises(MaxRetryError):
        CoreV1Api(spare.client()).list_namespace(_request_timeout=0.5)
    spare.apiserver.thaw()

    assert api.list("v1", "Namespace")


def test_a_user_of_the_cluster_cannot_read_the_store(spare: ControlPlane) -> None:
    client = spare.client()
    configuration = client.configuration
    store = next(word for word in spare.apiserver.command if word.startswith("--etcd-servers=")).split("=", 1)[1]
    context = ssl.create_default_context(cafile=str(spare.folder / "pki-etcd" / "ca.crt"))
    context.load_cert_chain(configuration.cert_file, configuration.key_file)

    with httpx.Client(verify=context, trust_env=False) as outsider, pytest.raises(httpx.TransportError):
        outsider.get(f"{store}/health")


def test_a_pod_waits_for_a_node_that_has_what_it_asks_for(spare: ControlPlane) -> None:
    api = spare.api()
    spare.add_fake_nodes(["plain"])
    api.create(make_pod("hungry", requests={"nvidia.com/gpu": "8"}), "default")

    def pod() -> Object:
        return api.get("v1", "Pod", "hungry", "default")

    wait_until("the scheduler to give up for now", lambda: has_condition(pod(), "PodScheduled", "False"))
    spare.add_fake_nodes(["big"], {"nvidia.com/gpu": "8"})

    wait_until("the pod to run", lambda: pod()["status"]["phase"] == "Running")
    assert pod()["spec"]["nodeName"] == "big"


def test_clusters_side_by_side_share_nothing(cluster: ControlPlane, spare: ControlPlane) -> None:
    spare.api().create(make_config_map("mine"), "default")

    seen = cluster.api().list("v1", "ConfigMap", "default")
    assert "mine" not in {item["metadata"]["name"] for item in seen}

    stranger = cluster.client()
    stranger.configuration.host = spare.url
    with pytest.raises(MaxRetryError, match="certificate verify failed"):
        CoreV1Api(stranger).list_namespace()


def test_a_cluster_starts_in_seconds_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "cluster"
    started = time.monotonic()
    with control_plane(folder, fake_nodes=1):
        seconds = time.monotonic() - started
        assert len(processes_of(folder)) == 5

    assert seconds < 60  # about 5 on two cores
    assert not processes_of(folder)
    assert not folder.exists()


def test_a_cluster_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    folder = tmp_path / "cluster"
    program = (
        "import pathlib, sys\n"
        "from tests.testbed.control_plane import control_plane\n"
        f"with control_plane(pathlib.Path({str(folder)!r})):\n"
        "    print('up', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == "up\n"
        assert len(processes_of(folder)) == 4
        starter.kill()

    wait_until("the reaper to end everything", lambda: not processes_of(folder) and not folder.exists())


def test_a_part_that_does_not_start_shows_its_log(tmp_path: Path) -> None:
    folder = tmp_path / "cluster"
    flags = {"kube-apiserver": {"--no-such-flag": "1"}}

    with (
        pytest.raises(TestbedError, match=r"kube-apiserver ended while starting[\s\S]*unknown flag: --no-such-flag"),
        control_plane(folder, changed_flags=flags),
    ):
        pass

    assert not folder.exists()


def test_the_command_line_brings_a_cluster_up_and_down() -> None:
    name = f"test-{os.getpid()}"

    def testbed(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tests.testbed", *words, "--name", name]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    homeless = testbed("up", "--image", "localhost/prorl/operator:0.1.0")
    assert homeless.returncode == 1
    assert "need a real node" in homeless.stderr
    try:
        assert testbed("up").returncode == 0
        parts = [line.split()[0] for line in testbed("status").stdout.splitlines()]
        assert sorted(parts) == ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok"]
        again = testbed("up")
        assert again.returncode == 1
        assert "is there already" in again.stderr
        script = f"{testbed('env').stdout}\nkubectl get nodes --output name"
        listed = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
        assert listed.stdout.split() == ["node/fake-0", "node/fake-1"]
    finally:
        ended = testbed("down")

    assert ended.stdout.startswith("5 processes ended")
    assert testbed("status").returncode == 1
    assert not (CACHE / "clusters" / name).exists()
