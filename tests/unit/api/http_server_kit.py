"""A real HTTP server of ours on a real socket, and clients that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import uvicorn
from fastapi import FastAPI, Request

from prorl_api.process import connections, http_guard
from prorl_api.process.bodies import BodyLimits
from prorl_api.process.connections import ConnectionLimits, limited_config
from prorl_api.process.fence import AttemptFence
from prorl_api.process.http_guard import Rights
from prorl_api.process.tokens import AcceptedTokens, digest_of

TOKEN = "secret"
AUTHORIZED = f"Authorization: Bearer {TOKEN}\r\n"


@dataclass(slots=True)
class Service:
    """A server that runs."""

    address: tuple[str, int]
    server: uvicorn.Server
    bodies: list[int] = field(default_factory=list)
    """Length of every body that reached an endpoint."""
    let_go: asyncio.Event = field(default_factory=asyncio.Event)
    """Ends what `/v1/hold` waits for."""

    @property
    def num_connections(self) -> int:
        """Open ones."""
        return len(self.server.server_state.connections)


def make_app(bodies: list[int], let_go: asyncio.Event, limits: BodyLimits, rights: Rights | None) -> FastAPI:
    app = FastAPI()
    http_guard.install(app, AcceptedTokens([digest_of(TOKEN)]), AttemptFence(), rights=rights, limits=limits)

    @app.get("/healthz")
    async def healthz() -> str:
        return "ok"

    @app.post("/v1/take")
    async def take(request: Request) -> int:
        bodies.append(len(await request.body()))
        return bodies[-1]

    @app.post("/v1/hold")
    async def hold(request: Request) -> int:
        bodies.append(len(await request.body()))
        await let_go.wait()
        return 0

    @app.get("/v1/large")
    async def large() -> str:
        return "x" * 32 * 2**20

    return app


@contextlib.asynccontextmanager
async def served(
    protocol: type, limits: ConnectionLimits, bodies: BodyLimits, rights: Rights | None = None
) -> AsyncIterator[Service]:
    """The application on a free port, over one of uvicorn's two HTTP protocols."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=4096)
    received: list[int] = []
    let_go = asyncio.Event()
    config = limited_config(
        make_app(received, let_go, bodies, rights), limits, log_config=None, lifespan="off", timeout_graceful_shutdown=2
    )
    config.http = type("Limited", (connections._LimitedProtocol, protocol), {"table": config.http.table})  # type: ignore[union-attr]
    server = uvicorn.Server(config)
    running = asyncio.create_task(server._serve(sockets=[listening]))
    while not server.started:  # noqa: ASYNC110  # uvicorn has no event for it
        await asyncio.sleep(0.01)
    try:
        yield Service(listening.getsockname()[:2], server, received, let_go)
    finally:
        let_go.set()
        server.should_exit = True
        await running


async def ask(address: tuple[str, int], text: str | bytes, seconds: float = 10.0) -> bytes:
    """Send bytes on a connection of one's own, and read until the server ends it or is silent for so long."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(text.encode() if isinstance(text, str) else text)
    answer = b""
    with contextlib.suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(seconds):
            while block := await reader.read(65536):
                answer += block
    writer.close()
    return answer


async def is_alive(address: tuple[str, int]) -> bool:
    """Whether a well-behaved client is answered soon."""
    answer = await ask(address, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 5.0)
    return answer.startswith(b"HTTP/1.1 200")
