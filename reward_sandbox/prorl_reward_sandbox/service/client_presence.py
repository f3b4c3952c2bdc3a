"""What happens to a request besides its work: the client may leave, the queue may be full."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request

from prorl_api.process.api_error import ApiError
from prorl_api.wire.base import ErrorKind
from prorl_reward_sandbox.workers.fair_queue import QueueFullError

_RETRY_SECONDS = 1.0

T = TypeVar("T")


async def unless_disconnected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Await the work, but cancel it when the client goes away.

    Raises:
        ApiError: `busy` if the queue is full; `cancelled`, which nobody will read, if the client is gone.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ApiError(ErrorKind.CANCELLED, "the client disconnected")
        return task.result()
    except QueueFullError as error:
        message = f"the queue is full: {error}"
        raise ApiError(ErrorKind.BUSY, message, retryable=True, retry_after_seconds=_RETRY_SECONDS) from error
    finally:
        gone.cancel()
        task.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
