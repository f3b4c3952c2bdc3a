"""Refuse request bodies that are too large before they fill the memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prorl_api.process.asgi import error_response
from prorl_api.wire.base import ErrorInfo, ErrorKind

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyLimit:
    """ASGI middleware that collects a body up to a limit and answers `too_large` beyond it."""

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its body already here, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if announced.isdigit() and int(announced) > self._max_bytes:
            await self._refuse(scope, receive, send)
            return
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return  # the client is gone
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._max_bytes:
                await self._refuse(scope, receive, send)
                return
        await self._app(scope, _replay(bytes(body), receive), send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = f"the body is larger than {self._max_bytes} bytes; send fewer items a request"
        await error_response(ErrorInfo(kind=ErrorKind.TOO_LARGE, message=message))(scope, receive, send)


def _replay(body: bytes, receive: Receive) -> Receive:
    """First the collected body, then whatever comes, which can only be the disconnection."""
    collected: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return collected.pop() if collected else await receive()

    return next_message
