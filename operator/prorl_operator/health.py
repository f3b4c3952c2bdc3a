"""`/healthz`, `/readyz` and `/metrics` of the operator."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from prorl_api.process.connections import BoundedConnection, ConnectionLimits, ConnectionTable
from prorl_operator.telemetry import Telemetry
from prorl_operator.watch.child_watches import ChildWatches
from prorl_operator.watch.handlers import Watches

STALE_SECONDS = 90.0
"""The leader renews its Lease every two seconds; kopf renews silent streams after 70 s. Beyond this the watches are
dead, and so is every decision that is made on them: the kubelet is to start the process anew."""


CHILDREN_STALE_SECONDS = 300.0
"""A watch of children is begun anew after 100 s of silence, and tried again at most 30 s after a failure."""

LIFE_SECONDS = 20.0
"""Of a connection: probes and scrapes are one short question each, whoever asks."""
MAX_CONNECTIONS = 128
"""At once; the oldest make room."""


def create_app(
    watches: Watches, children: ChildWatches, telemetry: Telemetry, is_serving: Callable[[], bool]
) -> web.Application:
    """Return the application.

    Args:
        watches: Whose age is the health.
        children: Likewise.
        telemetry: The metrics.
        is_serving: Whether the Lease is seen: its holder is this process or another.
    """

    async def healthz(_: web.Request) -> web.Response:
        age = time.monotonic() - watches.last_event
        if age > STALE_SECONDS:
            return web.Response(status=503, text=f"no event for {age:.0f} s: the watches are dead\n")
        if (silence := children.silent_seconds) > CHILDREN_STALE_SECONDS:
            return web.Response(status=503, text=f"children have not been watched for {silence:.0f} s: see the log\n")
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        if not is_serving():
            return web.Response(status=503, text="indexes are being filled\n")
        return web.Response(text="ok\n")

    async def metrics(_: web.Request) -> web.Response:
        telemetry.watch_age.set(time.monotonic() - watches.last_event)
        telemetry.children_age.set(children.silent_seconds)
        body = generate_latest(telemetry.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    return app


@asynccontextmanager
async def served(
    app: web.Application, host: str, port: int, *, life_seconds: float = LIFE_SECONDS
) -> AsyncIterator[tuple[str, int]]:
    """Serve the application on an address; the address. What is half-sent or slow ends with its connection's life."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    answering = runner.server
    assert answering is not None
    table = ConnectionTable(ConnectionLimits(max_connections=MAX_CONNECTIONS, max_waiting=MAX_CONNECTIONS))
    listening = await asyncio.get_running_loop().create_server(
        lambda: BoundedConnection(answering(), table, life_seconds=life_seconds), host, port
    )
    try:
        yield listening.sockets[0].getsockname()[:2]
    finally:
        listening.close()
        await runner.cleanup()
