"""What the learner says that it is doing while it publishes."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, cast

import pytest

from prorl_api.wire.learner import EARLY_PHASES, LearnerPhase
from prorl_trainer.live_spec import LiveSpec
from prorl_trainer.loop import Learner
from prorl_trainer.parts import LearnerParts
from prorl_trainer.service.shared_status import SharedStatus
from prorl_trainer.storage.checkpoints import LearnerState
from tests.unit.trainer.trainer_builders import make_shared_status, make_spec


class Io:
    """An event loop that is done at once."""

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(coroutine)

    def submit(self, coroutine: Coroutine[Any, Any, Any]) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(asyncio.run(coroutine))
        return future


class Rollouts:
    """Servers, of which none may be there yet; remembers what the learner was doing meanwhile."""

    def __init__(self, shared_status: SharedStatus, *served: int) -> None:
        self.seen: list[LearnerPhase] = []
        self._shared_status, self._served = shared_status, list(served)

    async def publish(self, *_: object) -> int:
        self.seen.append(self._shared_status.status.phase)
        return self._served.pop(0)

    async def wait_ready(self) -> None:
        self.seen.append(self._shared_status.status.phase)


@pytest.mark.parametrize("found_at_once", [0, 1])
def test_a_run_has_not_begun_before_the_first_weights_are_served(found_at_once: int) -> None:
    async def want(*_: object) -> None:
        return

    shared_status = make_shared_status(1, 10)
    rollouts = Rollouts(shared_status, found_at_once, 1)
    published = SimpleNamespace(manifest=SimpleNamespace(weights_id=None))
    parts = SimpleNamespace(
        shared_status=shared_status,
        io=Io(),
        rollouts=rollouts,
        want=want,
        engine=SimpleNamespace(served_weights=lambda _: [], logprobs=lambda _: [-0.5]),
        probe_tokens=(1, 2),
        publisher=SimpleNamespace(publish=lambda *_: published, sources=lambda _: ()),
    )
    state = SimpleNamespace(step=0)
    live = SimpleNamespace(spec=make_spec())
    learner = Learner(cast("LiveSpec", live), cast("LearnerParts", parts), cast("LearnerState", state))
    learner._publish(LearnerPhase.WAITING_FOR_ROLLOUT)
    assert set(rollouts.seen) <= EARLY_PHASES, "a job that is told to run would be told to start again"
    learner._publish(LearnerPhase.PUBLISHING)
    assert rollouts.seen[-1] is LearnerPhase.PUBLISHING
