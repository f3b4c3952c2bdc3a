"""The table of attacks against a sandbox as a job has it: its image, the operator's own pod, a namespace that enforces
the restricted profile, a real kubelet.

What an attack leaves behind is looked for from the node, in all processes and folders of the pod. As root, after
`make cluster-build node-packages images`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from prorl_api.names import API_PORT
from prorl_api.wire.isolation import IsolationReport
from prorl_api.wire.sandbox import ExecuteRequest, ExecuteResponse, ExecutionLimits, ProgramTest, Verdict
from prorl_operator.manifests import Images, sandbox_deployment
from tests.e2e.pods import container_status, run_pod
from tests.integration.attacks import confinement, resources
from tests.integration.attacks.attack import CONTAINED, Attack
from tests.testbed.api import Api
from tests.testbed.control_plane import ControlPlane
from tests.testbed.images import built_image
from tests.testbed.node import Node
from tests.testbed.waiting import wait_until

sys.path.insert(0, str(Path(__file__).parents[1] / "unit/operator"))
from manifest_builders import make_context

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

IMAGE = "localhost/prorl/reward-sandbox:0.1.0"
LEVEL = "landlock"
"""What the restricted profile allows."""
ATTACKS = [
    attack
    for attack in (*resources.ATTACKS, *confinement.ATTACKS)
    if attack.is_held_by(LEVEL) and attack.language == "python"  # the image has no compiler
]
MOST_TELLING = (
    "fork bomb that goes on when it is refused",
    "memory split over sixteen processes",
    "an orphan in a session of its own that ignores every signal",
    "ten gigabytes in the temporary folder",
    "folders of other runs",
    "every port of this machine",
    "signals to every process",
    "a mount namespace of its own",
    "setuid programs",
    "capabilities",
)
_OVERHEAD_SECONDS = 5.0
"""Beyond the wall limit, on a busy machine: the queue, killing, reaping, cleaning up."""
_WRITABLE = ("tmp", "dev/shm", "var/tmp", "run/lock")


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """One look into the pod from outside."""

    num_processes: int
    num_descriptors: int
    files: frozenset[str]
    mounts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxPod:
    """The pod under attack."""

    client: httpx.Client
    container: str
    """The id by which control groups are named."""
    api: Api
    namespace: str
    report: IsolationReport

    @property
    def num_restarts(self) -> int:
        """Of its container."""
        return int(container_status(self.api.get("v1", "Pod", "sandbox", self.namespace))["restartCount"])

    def execute(self, request: ExecuteRequest) -> ExecuteResponse:
        """Have a program judged."""
        answer = self.client.post("/v1/execute", json=request.model_dump(mode="json")).raise_for_status()
        return ExecuteResponse.model_validate(answer.json())

    def look(self) -> Traces:
        """What is in it now."""
        pids = [name for name in os.listdir("/proc") if name.isdigit() and self._is_inside(name)]
        root = min(pids, key=_depth)
        files = {
            entry.path.partition("/root")[2]
            for folder in _WRITABLE
            if os.path.isdir(f"/proc/{root}/root/{folder}")
            for entry in os.scandir(f"/proc/{root}/root/{folder}")
        }
        return Traces(
            num_processes=len(pids),
            num_descriptors=sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids),
            files=frozenset(files),
            mounts=Path(f"/proc/{root}/mounts").read_text().count("\n"),
        )

    def is_as(self, before: Traces) -> bool:
        """Whether nothing is there that was not there before."""
        try:
            now = self.look()
        except (OSError, ValueError):
            return False  # something ended while it was looked at
        return (
            now.num_processes <= before.num_processes
            and now.num_descriptors <= before.num_descriptors
            and now.files <= before.files
            and now.mounts == before.mounts
        )

    def _is_inside(self, pid: str) -> bool:
        try:
            return self.container in Path(f"/proc/{pid}/cgroup").read_text()
        except OSError:
            return False


def _depth(pid: str) -> tuple[int, int]:
    """Least for the first process of a container: how many pid namespaces deep, and its number in the deepest."""
    status = Path(f"/proc/{pid}/status").read_text()
    numbers = next(line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:"))
    return len(numbers), int(numbers[-1])


@pytest.fixture(scope="module")
def image(node: Node, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Known to the node."""
    archive = built_image(IMAGE, tmp_path_factory.mktemp("image"))
    node.import_image(archive)
    archive.unlink()
    return IMAGE


@pytest.fixture(scope="module")
def pod(cluster: ControlPlane, image: str) -> Iterator[SandboxPod]:
    """As the operator makes it, where nothing but the restricted profile is let in."""
    cluster.create_namespace("attacked")
    enforced = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    cluster.api().patch("v1", "Namespace", "attacked", enforced)
    with sandbox(cluster.api(), "attacked", image) as found:
        yield found


@pytest.fixture(scope="module")
def privileged_pod(cluster: ControlPlane, image: str) -> Iterator[SandboxPod]:
    """The same with all rights."""
    cluster.create_namespace("trusted")
    rights = {"privileged": True, "runAsUser": 0, "runAsNonRoot": False, "allowPrivilegeEscalation": True}
    with sandbox(cluster.api(), "trusted", image, **rights) as found:
        yield found


@contextlib.contextmanager
def sandbox(api: Api, namespace: str, image: str, **rights: object) -> Iterator[SandboxPod]:
    """A ready sandbox, with other rights if any are given."""
    images = Images(learner="unused", rollout="unused", sandbox=image)
    context = dataclasses.replace(make_context(images=images), namespace=namespace)
    template = sandbox_deployment(context, 1)["spec"]["template"]
    spec = template["spec"]
    (main,) = spec["containers"]
    main["imagePullPolicy"] = "Never"
    main["resources"]["requests"]["cpu"] = "100m"  # the node is small
    if rights:
        spec["securityContext"] = {}
        main["securityContext"] = rights
    metadata = {"name": "sandbox", "labels": template["metadata"]["labels"]}
    ready = run_pod(api, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}, namespace)
    container = container_status(ready)["containerID"].rpartition("/")[2]
    headers = {"Authorization": f"Bearer {context.token('learner', 'sandbox')}"}
    url = f"http://{ready['status']['podIP']}:{API_PORT}"
    with httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=120) as client:
        report = IsolationReport.model_validate(client.get("/v1/isolation").raise_for_status().json())
        found = SandboxPod(client=client, container=container, api=api, namespace=namespace, report=report)
        with ThreadPoolExecutor(8) as threads:  # a runner keeps files open from its first run on
            rewards = list(threads.map(lambda _: found.execute(_clean()).reward, range(16)))
        assert rewards == [1.0] * 16
        yield found
    api.delete("v1", "Namespace", namespace)


def _clean() -> ExecuteRequest:
    test = ProgramTest(expected_stdout="499500")
    return ExecuteRequest(source="print(sum(range(1000)))", tests=(test,), total_wall_seconds=60.0)


def test_the_restricted_profile_allows_the_second_level(pod: SandboxPod) -> None:
    assert pod.report.level == LEVEL
    assert pod.report.keeps_off_network
    assert any("namespaces" in reason for reason in pod.report.missing)


def test_a_privileged_pod_has_the_first_level(privileged_pod: SandboxPod) -> None:
    assert (privileged_pod.report.level, privileged_pod.report.missing) == ("namespaces", ())


@pytest.mark.parametrize("attack", [pytest.param(attack, id=attack.name) for attack in ATTACKS])
def test_an_attack_gets_a_verdict_and_nothing_else(pod: SandboxPod, attack: Attack) -> None:
    hold(pod, attack)


@pytest.mark.parametrize("name", MOST_TELLING)
def test_an_attack_on_a_privileged_pod_gets_no_further(privileged_pod: SandboxPod, name: str) -> None:
    """Some of them: the level itself is attacked with all of them by tests/integration."""
    (attack,) = (attack for attack in (*resources.ATTACKS, *confinement.ATTACKS) if attack.name == name)
    hold(privileged_pod, attack)


def hold(pod: SandboxPod, attack: Attack) -> None:
    """Attack, and check what must hold for every attack."""
    before, began = pod.look(), time.monotonic()
    limits = ExecutionLimits(**attack.limits)
    test = ProgramTest(stdin=attack.stdin, expected_stdout=CONTAINED)
    response = pod.execute(
        ExecuteRequest(
            source=attack.source,
            tests=(test,),
            limits=limits,
            total_wall_seconds=limits.wall_seconds,
        )
    )
    seconds = time.monotonic() - began

    (result,) = response.tests
    said = (result.verdict, result.stdout[:300], result.stderr[-300:], result.detail)
    assert result.verdict in attack.verdicts, said
    assert (response.reward == 1.0) == (result.verdict is Verdict.CORRECT), said
    assert response.isolation_level == pod.report.level
    assert seconds < limits.wall_seconds + _OVERHEAD_SECONDS
    wait_until("nothing to be left", lambda: pod.is_as(before), timeout_seconds=10)
    assert pod.execute(_clean()).reward == 1.0
    assert pod.num_restarts == 0
