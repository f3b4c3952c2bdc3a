"""An API that refuses, forgets, lags and breaks off: in the end everything is as it is without faults."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from prorl_api.resets import ResetCondition
from prorl_api.spec.values import Role
from prorl_api.status import ConditionStatus
from tests.conformance.cluster_fixtures import site
from tests.conformance.cluster_world import ClusterWorld
from tests.conformance.fault_proxy import Faults, proxied_kubeconfig
from tests.conformance.site import Site
from tests.conformance.world import applied_by_the_learner, metrics, succeeded, wait_for, wait_for_step
from tests.testbed.ports import ReservedPort
from tests.testbed.processes import Part
from tests.testbed.tools import ROOT

pytestmark = pytest.mark.chaos

__all__ = ["site"]

NAME = "operator-faulty"
CASES = {
    "none": Faults(),
    "conflicts": Faults(refused={409: 0.05}),
    "gone": Faults(gone_watches=0.5),
    "too-many-requests": Faults(refused={429: 0.1}),
    "internal-errors": Faults(refused={500: 0.05}),
    "lost-answers": Faults(lost_answers=0.05),
    "dropped-watches": Faults(dropped_watches=0.2),
    "slow": Faults(slow=0.1, slow_seconds=3.0),
    "stale-reads": Faults(late_events_seconds=2.0),
    "everything": Faults(
        refused={409: 0.01, 429: 0.02, 500: 0.01, 503: 0.01},
        lost_answers=0.02,
        gone_watches=0.1,
        dropped_watches=0.05,
        late_events_seconds=0.5,
        slow=0.02,
    ),
}
"""A pass that begins an attempt makes about twenty calls and is repeated as a whole, so shares are small."""
_numbers = itertools.count()


class Unreliable:
    """An operator behind a proxy, started again when it ends, as its Deployment would."""

    def __init__(self, site: Site) -> None:
        self.faults = site.cluster.folder / "faults.json"
        Faults().write(self.faults)
        self._port = ReservedPort()
        allowed = site.cluster.kubeconfig_of(
            "system:serviceaccount:prorl-system:prorl-operator", ["system:serviceaccounts"]
        )
        module = ["-m", "tests.conformance.fault_proxy", str(allowed), str(self._port.number), str(self.faults)]
        self._proxy = Part("fault-proxy", ["env", "-C", str(ROOT), sys.executable, *module], site.cluster.folder)
        config = proxied_kubeconfig(Path(site.cluster.folder / "proxied.kubeconfig"), self._port.number)
        self.operator = site.operator(NAME, kubeconfig=config)
        self._ended = threading.Event()
        self._keeper = threading.Thread(target=self._keep)

    def start(self) -> None:
        """Start both."""
        self._proxy.launch()
        self._keeper.start()

    def close(self) -> None:
        """End both."""
        self._ended.set()
        self._keeper.join()
        self.operator.kill()
        self._proxy.kill()
        self._port.release()

    def _keep(self) -> None:
        while not self._ended.wait(0.5):
            self.operator.launch()


@pytest.fixture(scope="module")
def unreliable(site: Site) -> Iterator[Unreliable]:
    made = Unreliable(site)
    made.start()
    site.wait_for_leader(NAME)
    yield made
    made.close()


@pytest.fixture
def faulty(site: Site, unreliable: Unreliable) -> Iterator[Callable[[Faults], ClusterWorld]]:
    """Makes the API unreliable, and a world in it."""
    worlds: list[ClusterWorld] = []

    def make(faults: Faults) -> ClusterWorld:
        worlds.append(ClusterWorld(site, f"faulty-{next(_numbers)}", [unreliable.operator]))
        faults.write(unreliable.faults)
        return worlds[-1]

    yield make
    Faults().write(unreliable.faults)
    for world in worlds:
        world.delete()
        wait_for(lambda world=world: not world.processes(), "nothing is left running")  # type: ignore[misc]


@pytest.mark.parametrize("case", CASES)
def test_the_end_is_the_same_as_without_faults(faulty: Callable[[Faults], ClusterWorld], case: str) -> None:
    world = faulty(CASES[case])
    (world.control / "step-seconds").write_text("0.1")
    triggers = [{"name": "often", "interval": {"everySteps": 40}}]
    reset = {"mode": "automatic", "cooldownSteps": 0, "triggers": triggers}
    restarts = {"maxRestarts": 10}
    world.write_job(schedule={"totalSteps": 10_000}, referenceReset=reset, restarts=restarts)
    world.start()
    wait_for_step(world, 12)
    os.kill(world.pid(Role.LEARNER), signal.SIGKILL)
    wait_for(lambda: len(world.resets) >= 2, "two resets are asked for")
    world.write_job(schedule={"totalSteps": 10_000}, referenceReset={"mode": "disabled"}, restarts=restarts)
    wait_for(lambda: all(record.condition.is_final for record in world.resets), "all resets are settled")
    last = metrics(world)[-1]["step"] + 100  # ten seconds on: the learner must hear of it before it gets there
    world.write_job(schedule={"totalSteps": last}, referenceReset={"mode": "disabled"}, restarts=restarts)
    status = world.wait_until_over()
    assert (succeeded(status), status.step, status.attempt) == (ConditionStatus.TRUE, last, 2)
    assert [number for number, _ in itertools.groupby(line["attempt"] for line in metrics(world))] == [1, 2]
    assert status.restarts == {"learner": 1, "rollout": 0, "sandbox": 0}
    wait_for(lambda: not world.children("v1", "ConfigMap"), "the plan is gone")
    assert world.children("apps/v1", "Deployment") == []
    assert [job["metadata"]["name"] for job in world.children("batch/v1", "Job")] == ["fake-learner-2"]
    records = world.resets
    assert [record.number for record in records] == list(range(1, len(records) + 1))
    applied = {record.uid for record in records if record.condition is ResetCondition.APPLIED}
    assert applied == set(applied_by_the_learner(world))
    assert applied
