"""The fixture that runs a test at every level of isolation that can be had here.

async def test_something(isolation: Isolation) -> None:
    outcome = await isolation.run(python("print(42)"))
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from prorl_reward_sandbox.execution.isolation import Isolation
from tests.unit.reward_sandbox.isolation_levels import LEVELS, make_level


@pytest.fixture(params=[name for name in LEVELS if name != "namespaces in a restricted pod"])
async def isolation(request: pytest.FixtureRequest) -> AsyncIterator[Isolation]:
    """One slot of each level in turn."""
    level = make_level(request.param)
    await level.start()
    yield level
    await level.close()
