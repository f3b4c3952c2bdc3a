"""What `bench_operator` measures in: a control plane with fake nodes, fake learners, and real operator processes."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import psutil
import tenacity
from kubernetes.client import ApiException
from kubernetes.dynamic import DynamicClient
from prometheus_client.parser import text_string_to_metric_families

from prorl_api import API_VERSION
from prorl_api.names import API_PORT
from tests.bench.bench_operator_figures import Counts
from tests.bench.bench_operator_jobs import IMAGES
from tests.cluster.definitions import install
from tests.testbed.api import Object
from tests.testbed.control_plane import ControlPlane, control_plane
from tests.testbed.ports import ReservedPort
from tests.testbed.processes import Part
from tests.testbed.tools import ROOT
from tests.testbed.waiting import wait_until

NAMESPACE, LEASE = "prorl-system", "prorl-operator"
PODS_PER_JOB = 5


class OperatorProcess:
    """`python -m prorl_operator` as a process of the cluster."""

    def __init__(self, cluster: ControlPlane, name: str, key: Path, namespaces: str, prometheus: str) -> None:
        self._port = ReservedPort()
        port = self._port.number
        self._port.release()  # the operator binds it alone
        settings = {
            "KUBECONFIG": str(cluster.kubeconfig),
            "PRORL_OPERATOR_NAMESPACE": NAMESPACE,
            "PRORL_OPERATOR_LEASE": LEASE,
            "PRORL_OPERATOR_IDENTITY": name,
            "PRORL_OPERATOR_KEY_FILE": str(key),
            "PRORL_OPERATOR_HTTP_ADDRESS": f"127.0.0.1:{port}",
            "PRORL_WATCH_NAMESPACES": namespaces,
            "PRORL_PROMETHEUS": json.dumps({"endpoints": [{"name": "main", "url": prometheus}]}),
            "PRORL_IMAGE_LEARNER": IMAGES.learner,
            "PRORL_IMAGE_ROLLOUT": IMAGES.rollout,
            "PRORL_IMAGE_SANDBOX": IMAGES.sandbox,
        }
        words = [f"{variable}={value}" for variable, value in settings.items()]
        self._part = Part(name, ["env", *words, sys.executable, "-m", "prorl_operator"], cluster.folder)
        self._url = f"http://127.0.0.1:{port}"

    def start(self, *, until_leading: bool = True) -> None:
        """Start it; returns when it leads, or else when its indexes are filled."""
        self._part.launch()
        wanted = "prorl_operator_leader 1.0" if until_leading else "prorl_operator_leader 0.0"
        wait_until(
            "the operator to be there",
            lambda: httpx.get(f"{self._url}/readyz").is_success and wanted in httpx.get(f"{self._url}/metrics").text,
            passing=(httpx.HTTPError,),
        )

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self._part.pid is not None, f"the operator has ended; its log is {self._part.log}"
        return self._part.pid

    def cpu_parts(self) -> tuple[float, float]:
        """CPU seconds of user and of system since its start."""
        times = psutil.Process(self.pid).cpu_times()
        return float(times.user), float(times.system)

    def cpu(self) -> float:
        """CPU seconds since its start."""
        return sum(self.cpu_parts())

    def rss(self) -> float:
        """Resident memory in MiB."""
        return float(psutil.Process(self.pid).memory_info().rss) / 2**20

    def calls(self) -> Counts:
        """Calls of the API by its own count; the Lease, which another client renews, is not among them."""
        found: Counts = {}
        for family in text_string_to_metric_families(httpx.get(f"{self._url}/metrics").text):
            for sample in family.samples:
                if sample.name == "prorl_operator_api_calls_total":
                    key = (sample.labels["verb"], sample.labels["resource"])
                    found[key] = found.get(key, 0) + sample.value
        return found

    def passes(self) -> float:
        """Passes over jobs so far."""
        return self._total("prorl_operator_reconcile_total")

    def queries(self) -> float:
        """Queries of a Prometheus so far."""
        return self._total("prorl_operator_prometheus_queries_total")

    def _total(self, name: str) -> float:
        families = text_string_to_metric_families(httpx.get(f"{self._url}/metrics").text)
        return sum(sample.value for family in families for sample in family.samples if sample.name == name)

    def kill(self) -> None:
        """SIGKILL."""
        self._part.kill()

    def stop(self) -> None:
        """SIGTERM."""
        self._part.stop()


class World:
    """A running cluster and its fake learners."""

    def __init__(self, cluster: ControlPlane, learners: subprocess.Popen[bytes], control_port: int) -> None:
        self.cluster, self.api = cluster, cluster.api()
        self._client: Any = cluster.client()
        discovered = str(cluster.folder / "bench-discovery.json")
        self._dynamic: Any = cast("Any", DynamicClient)(self._client, cache_file=discovered)
        self._learners, self._control = learners, f"http://127.0.0.1:{control_port}"
        self.definitions = install(cluster.client())
        self.key = cluster.folder / "token-key"
        self.key.write_text(secrets.token_hex(32))
        cluster.create_namespace(NAMESPACE)

    def operator(self, name: str, namespace: str) -> OperatorProcess:
        """An operator that serves one namespace; not started yet."""
        return OperatorProcess(self.cluster, name, self.key, namespace, self._control)

    def script(self, what: str, namespace: str, jobs: int) -> subprocess.Popen[str]:
        """Start `bench_operator_jobs`."""
        where = ["--kubeconfig", str(self.cluster.kubeconfig), "--namespace", namespace, "--key", str(self.key)]
        command = [sys.executable, "-m", "tests.bench.bench_operator_jobs", what, *where, "--jobs", str(jobs)]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)

    def learner_counts(self) -> dict[str, int]:
        """What the fake learners have counted."""
        counts: dict[str, int] = httpx.get(f"{self._control}/counts", timeout=30).json()
        return counts

    def learner_cpu(self) -> float:
        """CPU seconds of the fake learners."""
        times = psutil.Process(self._learners.pid).cpu_times()
        return float(times.user + times.system)

    def make_namespace(self, name: str) -> None:
        """With the claim that the jobs name, bound."""
        self.cluster.create_namespace(name)
        capacity, modes = {"storage": "10Gi"}, ["ReadWriteMany"]
        volume = {
            "capacity": capacity,
            "accessModes": modes,
            "hostPath": {"path": "/nowhere"},
            "claimRef": {"namespace": name, "name": "runs"},
        }
        claim = {
            "accessModes": modes,
            "resources": {"requests": capacity},
            "storageClassName": "",
            "volumeName": name,
        }
        self.api.create({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": volume})
        meta = {"name": "runs"}
        self.api.create({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": claim}, name)

    def drop_namespace(self, name: str) -> None:
        """Delete it, and wait until everything in it is gone."""
        self.api.delete("v1", "Namespace", name)

        def is_gone() -> bool:
            try:
                self.api.get("v1", "Namespace", name)
            except ApiException as error:
                return bool(error.status == 404)
            return False

        wait_gently(f"namespace {name} to be gone", is_gone)

    def count(self, api_version: str, kind: str, namespace: str) -> int:
        """How many objects there are; the server counts."""
        found = self._list(api_version, kind, namespace, "?limit=1")
        return len(found["items"]) + int(found["metadata"].get("remainingItemCount", 0))

    def jobs(self, namespace: str) -> list[Object]:
        """Every ProRLJob."""
        items: list[Object] = self._list(API_VERSION, "ProRLJob", namespace)["items"]
        return items

    def _list(self, api_version: str, kind: str, namespace: str, query: str = "") -> Object:
        """The plain answer: wrapping hundreds of objects would cost more than what is measured."""
        path = self._dynamic.resources.get(api_version=api_version, kind=kind).path(namespace=namespace)
        url = f"{self._client.configuration.host}{path}{query}"

        def ask() -> Object:
            answer: Object = json.loads(self._client.call_api("GET", url, {"Accept": "application/json"}).read())
            return answer

        # A server that has too much to do says so in an object of kind Status.
        patiently = tenacity.Retrying(
            stop=tenacity.stop_after_delay(300),
            wait=tenacity.wait_fixed(1),
            retry=tenacity.retry_if_result(lambda answer: "items" not in answer),
        )
        return patiently(ask)


@contextlib.contextmanager
def make_world(folder: Path, jobs: int) -> Iterator[World]:
    """A cluster with room for so many jobs at a time, and learners that answer for them."""
    number = PODS_PER_JOB * jobs + 200
    second_byte, guard = _free_second_byte()
    prefix = f"127.{second_byte}"
    with guard, control_plane(folder, fake_pod_cidr=f"{prefix}.0.0/16") as cluster:
        room = {"cpu": "100000", "memory": "100000Gi", "pods": str(number)}
        cluster.add_fake_nodes(["fake-0", "fake-1"], room)
        control = ReservedPort()
        control.release()
        words = ["--prefix", prefix, "--addresses", str(number), "--control-port", str(control.number)]
        command = [sys.executable, "-m", "tests.bench.bench_operator_learners", *words]
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as learners:
            assert learners.stdout is not None
            if learners.stdout.readline().strip() != b"ready":
                raise RuntimeError(f"the fake learners did not come up: exit code {learners.wait()}")
            try:
                yield World(cluster, learners, control.number)
            finally:
                learners.kill()


def wait_gently(what: str, check: Callable[[], bool]) -> None:
    """Ask a few times a second, half an hour at most: asking costs what is measured here."""
    gently = tenacity.Retrying(
        stop=tenacity.stop_after_delay(1800),
        wait=tenacity.wait_fixed(0.25),
        retry=tenacity.retry_if_result(lambda answer: not answer),
    )
    try:
        gently(check)
    except tenacity.RetryError as error:
        raise TimeoutError(f"waited half an hour for {what}") from error


def result_of(script: subprocess.Popen[str]) -> dict[str, float]:
    """What a script has measured, once it ends."""
    output, _ = script.communicate()
    if script.returncode != 0:
        raise RuntimeError(f"bench_operator_jobs ended with exit code {script.returncode}; its error is above")
    result: dict[str, float] = json.loads(output)
    return result


def _free_second_byte() -> tuple[int, socket.socket]:
    """Of addresses in 127.0.0.0/8 that no other benchmark uses; the socket keeps them."""
    for byte in range(241, 255):  # below are those of the testbed's process nodes
        guard = socket.socket()
        try:
            guard.bind((f"127.{byte}.255.254", API_PORT))
        except OSError:
            guard.close()
            continue
        return byte, guard
    raise OSError("every prefix from 127.241 to 127.254 is taken by another benchmark")
