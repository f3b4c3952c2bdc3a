"""The operator's one port: whoever opens connections there keeps nobody from asking, and the process none of them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest
import uvloop
from aiohttp import web

from prorl_operator.health import MAX_CONNECTIONS, served

LIFE_SECONDS = 1.5
Address = tuple[str, int]


def make_app() -> web.Application:
    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz)])
    return app


@pytest.fixture
async def address() -> AsyncIterator[Address]:
    async with served(make_app(), "127.0.0.1", 0, life_seconds=LIFE_SECONDS) as where:
        yield where


async def is_alive(address: Address) -> bool:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    return answer.startswith(b"HTTP/1.1 200")


async def test_a_probe_is_answered(address: Address) -> None:
    assert await is_alive(address)


async def test_a_thousand_half_sent_requests_keep_no_probe_waiting_and_are_ended(address: Address) -> None:
    connections = []
    for _ in range(700):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET /healthz HTTP/1.1\r\nX-Slow: ")
        connections.append((reader, writer))
    assert await is_alive(address)
    begun = time.monotonic()
    for reader, _ in connections:
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(LIFE_SECONDS + 3):
                await reader.read()
    assert time.monotonic() - begun < LIFE_SECONDS + 3
    assert len(connections) > 5 * MAX_CONNECTIONS
    for _, writer in connections:
        writer.close()
    assert await is_alive(address)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\nxx",
        b"POST /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
    ],
    ids=["silence", "kept alive", "a body", "chunks"],
)
async def test_no_connection_outlives_its_time(address: Address, sent: bytes) -> None:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(sent)
    begun = time.monotonic()
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(LIFE_SECONDS + 3):
            await reader.read()
    assert time.monotonic() - begun < LIFE_SECONDS + 2
    writer.close()


async def test_headers_without_end_are_refused(address: Address) -> None:
    reader, writer = await asyncio.open_connection(*address)
    answer = b""
    with contextlib.suppress(ConnectionError):
        writer.write(b"GET /healthz HTTP/1.1\r\n" + b"X: a\r\n" * 200_000)
        answer = await reader.read()
    assert not answer.startswith(b"HTTP/1.1 200")
    writer.close()
    assert await is_alive(address)


def test_it_answers_on_uvloop_which_the_operator_runs_on() -> None:
    async def probed() -> bool:
        async with served(make_app(), "127.0.0.1", 0, life_seconds=LIFE_SECONDS) as where:
            opened = [await asyncio.open_connection(*where) for _ in range(2 * MAX_CONNECTIONS)]
            alive = await is_alive(where)
            for _, writer in opened:
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()
            return alive

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(probed())
