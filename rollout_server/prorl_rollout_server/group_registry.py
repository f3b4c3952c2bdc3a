"""Which groups run and which finished lately, so that a request repeated by its id is never sampled twice."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable

from prorl_api.process.api_error import ApiError
from prorl_api.wire.base import ErrorKind
from prorl_api.wire.rollout import GenerateRequest
from prorl_rollout_server.groups import Group, GroupOutcome

MAX_FINISHED_GROUPS = 1024
MAX_FINISHED_BYTES = 256 * 2**20
"""Memory for answers that may be asked for again."""
REJOIN_SECONDS = 30.0
"""A client that lost its connection has this long to come back before its group is cancelled."""

_logger = logging.getLogger(__name__)


class GroupRegistry:
    """All groups of this process by request id, for use on one event loop."""

    def __init__(self, rejoin_seconds: float = REJOIN_SECONDS) -> None:
        self._rejoin_seconds = rejoin_seconds
        self._running: dict[str, Group] = {}
        self._finished: OrderedDict[str, Group] = OrderedDict()
        self._finished_bytes = 0
        self._cancellations: set[asyncio.Task[None]] = set()

    @property
    def num_running(self) -> int:
        """Groups being sampled."""
        return len(self._running)

    def find(self, request: GenerateRequest) -> Group | None:
        """Find the group of this very request, if it runs or finished lately.

        Raises:
            ApiError: `bad_request` if the id belongs to a different request.
        """
        group = self._running.get(request.request_id) or self._finished.get(request.request_id)
        if group is not None and group.request != request:
            message = f"request id {request.request_id} was used with another body; every request needs its own id"
            raise ApiError(ErrorKind.BAD_REQUEST, message)
        return group

    def start(self, group: Group, on_end: Callable[[Group], None]) -> None:
        """Enter a new group and begin to sample; `on_end` is called once when it ended."""

        def finish(ended: Group) -> None:
            self._finish(ended)
            on_end(ended)

        self._running[group.request.request_id] = group
        group.start(finish)

    async def listen(self, group: Group) -> AsyncIterator[bytes]:
        """Give the group's lines; when the last listener leaves early, cancel the group after a grace."""
        group.listeners += 1
        try:
            async for line in group.lines():
                yield line
        finally:
            group.listeners -= 1
            if group.listeners == 0 and group.outcome is None:
                asyncio.get_running_loop().call_later(self._rejoin_seconds, self._cancel_if_abandoned, group)

    async def cancel(self, request_id: str) -> bool:
        """Cancel or forget a group; return whether the id was known."""
        forgotten = self._forget(request_id)
        group = self._running.get(request_id)
        if group is not None:
            await group.cancel()
        return forgotten or group is not None

    async def cancel_all(self) -> None:
        """Cancel every group, at the end of the process."""
        await asyncio.gather(*(group.cancel() for group in list(self._running.values())))

    def forget_finished(self) -> None:
        """Forget finished groups: answers of old weights are not given again."""
        self._finished.clear()
        self._finished_bytes = 0

    def _finish(self, group: Group) -> None:
        request_id = group.request.request_id
        self._running.pop(request_id, None)
        # A group that was cancelled or failed is worth another try under the same id.
        if group.outcome is GroupOutcome.DONE:
            self._finished[request_id] = group
            self._finished_bytes += group.num_bytes
        while len(self._finished) > MAX_FINISHED_GROUPS or self._finished_bytes > MAX_FINISHED_BYTES:
            self._forget(next(iter(self._finished)))

    def _forget(self, request_id: str) -> bool:
        group = self._finished.pop(request_id, None)
        if group is not None:
            self._finished_bytes -= group.num_bytes
        return group is not None

    def _cancel_if_abandoned(self, group: Group) -> None:
        if group.listeners or group.outcome is not None:
            return
        _logger.info("nobody came back for a group; cancelling it", extra={"request_id": group.request.request_id})
        task = asyncio.create_task(group.cancel())
        self._cancellations.add(task)
        task.add_done_callback(self._cancellations.discard)
