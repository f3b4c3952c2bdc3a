"""How tests are shared out where several processes run them (`pytest -n`): by files, but a real cluster to one of them.

Tests of a file share fixtures, and those of tests/cluster a Kubernetes API. What may run beside others is said in the
Makefile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import LoadScopeScheduling

CLUSTER = "tests/cluster"


@pytest.hookimpl(optionalhook=True)  # an environment of trackers has no pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Give each process a file at a time, in the order in which folders are named, and the cluster's all to one."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):  # type: ignore[misc]
        """Work units are files, and the folder of the cluster."""

        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.partition("::")[0]
            return CLUSTER if path.startswith(f"{CLUSTER}/") else path

    config.option.loadscopereorder = False
    return ByFile(config, log)
