"""Connections of an HTTP server: how many at once, and how long one may take over what it sends and reads.

A server that waits for ever for the rest of a request gives its descriptors and memory to whoever opens connections.
`limited_config` makes a uvicorn configuration whose connections are kept in a `ConnectionTable`; other servers put
`BoundedConnection` around theirs. Neither needs to know who calls: a connection that carries no request yet, or none
any more, gives way to newer ones once there are too many, the one that has waited longest first.
"""

from __future__ import annotations

import asyncio
import resource
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import uvicorn


_MAX_PIPELINED = 16
"""Requests that came before the answer to an earlier one; no client of ours sends any."""
_MAX_HEADERS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """Of one server."""

    max_connections: int = 4096
    """At once; never more than three quarters of the descriptors that the process may have."""
    max_waiting: int = 256
    """Of them without a request that is being answered: half-sent, idle, or done with."""
    header_seconds: float = 10.0
    """From a request's first byte, or from the connection's beginning, to the end of its headers."""
    header_bytes: int = 64 * 2**10
    """Request line and headers together."""
    linger_seconds: float = 2.0
    """For the rest of a body that nobody wanted any more, so that its sender gets to read the answer."""
    stalled_seconds: float = 120.0
    """For a reader of an answer that takes nothing. A model that compiles may hold its process up for a minute."""


class ConnectionTable:
    """The open connections of one server."""

    def __init__(self, limits: ConnectionLimits) -> None:
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self.limits = limits
        self.max_connections = min(limits.max_connections, max(16, descriptors * 3 // 4))
        self._busy: set[Any] = set()
        self._waiting: dict[Any, asyncio.Transport] = {}

    def __len__(self) -> int:
        return len(self._busy) + len(self._waiting)

    def waits(self, connection: object, transport: asyncio.Transport) -> None:
        """Return a connection is new, or its request was answered. Those that have waited longest make room for it."""
        self._busy.discard(connection)
        self._waiting.pop(connection, None)
        self._waiting[connection] = transport
        while self._waiting and (len(self._waiting) > self.limits.max_waiting or len(self) > self.max_connections):
            oldest = next(iter(self._waiting))
            self._waiting.pop(oldest).abort()

    def works(self, connection: object) -> None:
        """Its request is being answered."""
        if self._waiting.pop(connection, None) is not None:
            self._busy.add(connection)

    def ended(self, connection: object) -> None:
        """Note that it is closed."""
        self._busy.discard(connection)
        self._waiting.pop(connection, None)


class BoundedConnection(asyncio.Protocol):
    """Around a protocol whose requests are short and have no bodies: it lives for a while, whatever comes of it."""

    def __init__(self, inner: asyncio.Protocol, table: ConnectionTable, *, life_seconds: float) -> None:
        self._inner = inner
        self._table = table
        self._life_seconds = life_seconds
        self._end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin it, and set its end."""
        transport = cast("asyncio.Transport", transport)  # uvloop's are none by name
        self._end = asyncio.get_running_loop().call_later(self._life_seconds, transport.abort)
        self._inner.connection_made(transport)
        self._table.waits(self, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that it ended."""
        if self._end is not None:
            self._end.cancel()
        self._table.ended(self)
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass it on, as all that follows."""
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """See `data_received`."""
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        """See `data_received`."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """See `data_received`."""
        self._inner.resume_writing()


class _LimitedProtocol(asyncio.Protocol):
    """Before one of uvicorn's protocols in the order of methods: the same with limits."""

    table: ConnectionTable
    transport: asyncio.Transport
    cycle: Any
    loop: asyncio.AbstractEventLoop

    _deadline: asyncio.TimerHandle | None = None
    _stall: asyncio.TimerHandle | None = None
    _header_bytes = 0
    _num_headers = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's are none by name
        super().connection_made(transport)
        self._await_headers()
        self.table.waits(self, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._set_deadline(None)
        self.resume_writing()
        self.table.ended(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        is_between = before is None or (before.response_complete and not before.more_body)
        if is_between and self._deadline is None:  # kept alive: the next request begins
            self._await_headers()
        super().data_received(data)
        if len(getattr(self, "pipeline", ())) > _MAX_PIPELINED:
            self.transport.abort()
        if self.cycle is not before:
            self._header_bytes = 0
            self._set_deadline(None)
            if not self.cycle.response_complete:
                self.table.works(self)
        elif is_between:
            self._header_bytes += len(data)
            if self._header_bytes > self.table.limits.header_bytes:
                self.transport.abort()

    def on_message_begin(self) -> None:
        self._num_headers = 0
        super().on_message_begin()  # type: ignore[misc]

    def on_header(self, name: bytes, value: bytes) -> None:
        """Of httptools, which counts neither headers nor what comes as such behind a body."""
        self._num_headers += 1
        if self._num_headers > _MAX_HEADERS:
            raise ValueError(f"more than {_MAX_HEADERS} headers")
        super().on_header(name, value)  # type: ignore[misc]

    def on_response_complete(self) -> None:
        super().on_response_complete()  # type: ignore[misc]
        if self.transport.is_closing():
            return
        # uvicorn starts the next of several requests that came at once: then there is one that is answered.
        if self.cycle.response_complete:
            self.table.waits(self, self.transport)
        if self.cycle.more_body and self.cycle.response_complete:
            self._set_deadline(self.table.limits.linger_seconds)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stall is None:
            self._stall = self.loop.call_later(self.table.limits.stalled_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _await_headers(self) -> None:
        self._header_bytes = 0
        self._set_deadline(self.table.limits.header_seconds)

    def _set_deadline(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self.transport.abort)


def limited_config(app: Any, limits: ConnectionLimits | None = None, **more: Any) -> uvicorn.Config:
    """Return a uvicorn configuration whose connections are bounded.

    It speaks HTTP alone, and believes no header about who
    the caller is.

    Args:
        app: The application.
        limits: None: the usual ones.
        more: Further settings of uvicorn's.
    """
    import uvicorn
    from uvicorn.protocols.http.auto import AutoHTTPProtocol

    table = ConnectionTable(limits or ConnectionLimits())
    protocol = type("LimitedHttpProtocol", (_LimitedProtocol, AutoHTTPProtocol), {"table": table})
    return uvicorn.Config(
        app, http=protocol, ws="none", access_log=False, proxy_headers=False, server_header=False, **more
    )
