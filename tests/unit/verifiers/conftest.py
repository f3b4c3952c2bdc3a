"""What every test of verifiers needs."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def alarms_reach_the_verifier() -> Iterator[None]:
    """hypothesis measures garbage collection by a callback, once a test module imports it. An alarm that goes off there
    is lost, and with it the verifier's time limit; a worker process has no such callbacks."""
    kept = gc.callbacks[:]
    gc.callbacks.clear()
    yield
    gc.callbacks[:] = kept
