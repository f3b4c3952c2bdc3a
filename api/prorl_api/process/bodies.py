"""Request bodies of an HTTP service: how large, how slow, and how many of them at once.

A body is collected before the application sees the request, so that one who sends slowly or leaves holds up nobody and
reaches no endpoint. Memory for it is set aside before its first byte is read; while there is none, nothing is read, and
the sender waits in its own send buffer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prorl_api.process.api_error import ApiError
from prorl_api.wire.base import ErrorKind

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope

_READ_WITHOUT_ASKING = 16 * 2**10
"""Bodies up to here are set nothing aside for: a probe or a stop never waits behind large ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyLimits:
    """Of one service."""

    max_bytes: int = 2**20
    """Of one body; more is `too_large`."""
    total_bytes: int = 16 * 2**20
    """Of all bodies of requests that are not answered yet."""
    body_seconds: float = 60.0
    """For a body to arrive, once it is read; a slower one is refused."""
    room_seconds: float = 60.0
    """How long a request waits for memory before it is answered `busy`."""


class ClientLeft(Exception):
    """The connection ended before the body did: there is nobody to answer."""


class Bodies:
    """Takes the bodies of one service."""

    def __init__(self, limits: BodyLimits) -> None:
        self._limits = limits
        self._room = _Room(limits.total_bytes)

    @contextlib.asynccontextmanager
    async def taken(self, scope: Scope, receive: Receive) -> AsyncIterator[bytes]:
        """Return the whole body; its memory counts until the context ends.

        Raises:
            ApiError: It is too large, too slow, or there was no memory for it in time.
            ClientLeft: The client is gone.
        """
        limits, announced = self._limits, _announced(scope)
        if announced is not None and announced > limits.max_bytes:
            raise self._too_large()
        wanted = limits.max_bytes if announced is None else announced
        num_bytes = 0 if wanted <= _READ_WITHOUT_ASKING else min(wanted, limits.total_bytes)
        try:
            async with asyncio.timeout(limits.room_seconds):
                await self._room.take(num_bytes)
        except TimeoutError:
            message = f"no memory for {wanted} bytes became free within {limits.room_seconds:g} s; send less at once"
            raise ApiError(ErrorKind.BUSY, message, retryable=True, retry_after_seconds=1.0) from None
        try:
            yield await self._collected(receive)
        finally:
            self._room.give_back(num_bytes)

    async def _collected(self, receive: Receive) -> bytes:
        limits, body, more = self._limits, bytearray(), True
        try:
            async with asyncio.timeout(limits.body_seconds):
                while more:
                    message = await receive()
                    if message["type"] != "http.request":
                        raise ClientLeft
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > limits.max_bytes:
                        raise self._too_large()
        except TimeoutError:
            message_text = f"the body did not arrive within {limits.body_seconds:g} s"
            raise ApiError(ErrorKind.BAD_REQUEST, message_text, retryable=True) from None
        return bytes(body)

    def _too_large(self) -> ApiError:
        message = f"the body is larger than {self._limits.max_bytes} bytes; send fewer items a request"
        return ApiError(ErrorKind.TOO_LARGE, message)


def replay(body: bytes, receive: Receive) -> Receive:
    """First the collected body, then whatever comes, which can only be the disconnection."""
    collected: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return collected.pop() if collected else await receive()

    return next_message


def _announced(scope: Scope) -> int | None:
    """Bytes that the body will have; None: it does not say, as with chunks. No body counts as 0."""
    headers = scope["headers"]
    if any(name == b"transfer-encoding" for name, _ in headers):
        return None
    lengths = [value for name, value in headers if name == b"content-length"]
    return int(lengths[0]) if lengths and lengths[0].isdigit() and len(lengths[0]) < 19 else 0


class _Room:
    """Memory to set aside, in the order of asking."""

    def __init__(self, num_bytes: int) -> None:
        self._free = num_bytes
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, num_bytes: int) -> None:
        """Wait until there is room."""
        if num_bytes == 0 or (not self._waiting and num_bytes <= self._free):
            self._free -= num_bytes
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((num_bytes, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it was granted in the same moment
                self._free += num_bytes
            self._serve()
            raise

    def give_back(self, num_bytes: int) -> None:
        """Its owner is done."""
        self._free += num_bytes
        self._serve()

    def _serve(self) -> None:
        while self._waiting:
            num_bytes, turn = self._waiting[0]
            if not turn.done():
                if num_bytes > self._free:
                    return
                self._free -= num_bytes
                turn.set_result(None)
            self._waiting.popleft()
