"""A real Kubernetes API for the tests of this folder. `make cluster-build` makes what it needs, once.

`cluster` is shared by all tests: stay in your own `namespace`, and kill nothing. A test that breaks things, or wants
other flags, starts one of its own (about five seconds):

    with control_plane(tmp_path / "cluster", fake_nodes=1) as cluster:
        cluster.apiserver.kill()

`cluster.api()` speaks plain dicts; `cluster.client()` is the official client for everything else.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Generator, Iterator

import pytest

from tests.conformance.cluster_world import ClusterWorld
from tests.conformance.last_seen import last_seen
from tests.testbed.api import Api
from tests.testbed.control_plane import ControlPlane, control_plane

_numbers = itertools.count()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane with all its controllers and two fake nodes, on which pods run until told how to end.

    It is gone after the last test. With TESTBED_KEEP=1 the folder stays, whose `logs/` tell what every part did.
    """
    folder = tmp_path_factory.mktemp("testbed") / "cluster"
    with control_plane(folder, fake_nodes=2, keep_folder="TESTBED_KEEP" in os.environ) as shared:
        yield shared


@pytest.fixture
def api(cluster: ControlPlane) -> Api:
    """The administrator's view of the shared cluster, in plain dicts."""
    return cluster.api()


@pytest.fixture
def namespace(cluster: ControlPlane) -> Iterator[str]:
    """A namespace of this test's own; its deletion starts when the test ends and is not waited for."""
    name = f"test-{next(_numbers)}"
    cluster.create_namespace(name)
    yield name
    cluster.api().delete("v1", "Namespace", name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell of a failed test what its world looked like: the job, its resets and the ends of logs."""
    del call
    report = yield
    world = getattr(item, "funcargs", {}).get("world")
    if report.when == "call" and report.failed and isinstance(world, ClusterWorld):
        report.sections += last_seen(world)
    return report
