"""Keeps this server known to the learner, and pulls the weights the learner wants of it.

The learner may be away for any time; heartbeats go on for ever, and only changes are logged.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import NoReturn

from prorl_api.errors import TransientError
from prorl_api.process.api_error import ApiError
from prorl_api.process.fence import AttemptFence
from prorl_api.wire.learner import MemberAnswer, MemberHeartbeat
from prorl_api.wire.rollout import LoadWeightsRequest
from prorl_rollout_server.learner_client import MAX_WAIT_SECONDS, LearnerClient
from prorl_rollout_server.service import RolloutService

FIRST_WAIT_SECONDS = 0.5
MAX_PULL_WAIT_SECONDS = 60.0
_logger = logging.getLogger(__name__)


class Registration:
    """The loop that sends one process's heartbeats.

    Args:
        address: Base URL under which the learner reaches this server.
    """

    def __init__(self, learner: LearnerClient, service: RolloutService, fence: AttemptFence, address: str) -> None:
        self._learner = learner
        self._service = service
        self._fence = fence
        self._address = address
        self._is_known: bool | None = None
        self._pull: asyncio.Task[None] | None = None
        self._pull_wait = 0.0
        self._no_pull_before = 0.0

    async def run(self) -> NoReturn:
        """Heartbeat for ever; failures only slow it down."""
        failed_wait = FIRST_WAIT_SECONDS
        while True:
            loads_before = self._service.num_loads_begun
            try:
                answer = await self._beat()
            except TransientError as error:
                self._note(known=False, reason=str(error))
                await asyncio.sleep(failed_wait)
                failed_wait = min(2 * failed_wait, MAX_WAIT_SECONDS)
                continue
            failed_wait = FIRST_WAIT_SECONDS
            self._note(known=True, reason="")
            self._fence.advance(answer.attempt)
            # An answer given before weights came by another way is out of date: the next one counts.
            if self._service.num_loads_begun == loads_before:
                self._follow(answer)
            await asyncio.sleep(answer.heartbeat_seconds)

    async def _beat(self) -> MemberAnswer:
        service = self._service
        heartbeat = MemberHeartbeat(
            address=self._address, ready=service.ready, weights_id=service.weights_id, refused=service.refused
        )
        return await self._learner.heartbeat(service.incarnation, heartbeat)

    def _follow(self, answer: MemberAnswer) -> None:
        service = self._service
        if answer.weights_id is None or not answer.sources or answer.weights_id == service.weights_id:
            return
        if service.refused is not None and service.refused.weights_id == answer.weights_id:
            return  # the same bytes in the same engine would give the same numbers again
        if service.is_starting or service.is_loading or time.monotonic() < self._no_pull_before:
            return
        request = LoadWeightsRequest(weights_id=answer.weights_id, sources=answer.sources)
        self._pull = asyncio.create_task(self._load(request), name=f"pull {answer.weights_id}")

    async def _load(self, request: LoadWeightsRequest) -> None:
        try:
            await self._service.load(request)
        except ApiError:
            # The holder logged it. What was asked for may be whole gigabytes, so tries get rarer.
            self._pull_wait = min(max(FIRST_WAIT_SECONDS, 2 * self._pull_wait), MAX_PULL_WAIT_SECONDS)
            self._no_pull_before = time.monotonic() + self._pull_wait
        else:
            self._pull_wait = 0.0

    def _note(self, *, known: bool, reason: str) -> None:
        if known is self._is_known:
            return
        self._is_known = known
        if known:
            _logger.info("registered at the learner as %s", self._address)
        else:
            _logger.warning("the learner does not know this server; trying on: %s", reason)
