"""Clients that are slow, many, or gone, against a real server on a real socket, over both of uvicorn's protocols."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import resource
import socket
import struct
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import uvloop
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

sys.path.insert(0, str(Path(__file__).parent))
from http_server_kit import AUTHORIZED, Service, ask, is_alive, served

from prorl_api.process.bodies import BodyLimits
from prorl_api.process.connections import ConnectionLimits

LIMITS = ConnectionLimits(max_waiting=64, header_seconds=1.0, linger_seconds=0.5, stalled_seconds=1.0)
BODIES = BodyLimits(max_bytes=4 * 2**20, total_bytes=8 * 2**20, body_seconds=1.5, room_seconds=3.0)
MIB = 2**20


@pytest.fixture(params=[H11Protocol, HttpToolsProtocol], ids=["h11", "httptools"])
def protocol(request: pytest.FixtureRequest) -> type:
    found: type = request.param
    return found


@pytest.fixture
async def service(protocol: type) -> AsyncIterator[Service]:
    async with served(protocol, LIMITS, BODIES) as running:
        yield running


def post(length: int, sent: int, path: str = "/v1/take") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{AUTHORIZED}Content-Length: {length}\r\n\r\n"
    return head.encode() + b"x" * sent


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def gone(writers: list[asyncio.StreamWriter]) -> None:
    for writer in writers:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def eventually(what: str, holds: object, seconds: float = 5.0) -> None:
    assert callable(holds)
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, what
        await asyncio.sleep(0.02)


async def test_three_thousand_half_sent_requests_are_ended_and_keep_nobody_waiting(service: Service) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    num_clients = 3000 if hard >= 8192 or hard == resource.RLIM_INFINITY else 500
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)) if hard > 0 else 8192, hard))
    writers = []
    try:
        for _ in range(num_clients):
            _, writer = await asyncio.open_connection(*service.address)
            writer.write(b"POST /v1/take HTTP/1.1\r\nHost: x\r\nX-Slow: ")
            writers.append(writer)
        assert await is_alive(service.address)
        assert service.num_connections <= LIMITS.max_waiting + 1
        await eventually("half-sent requests stay open", lambda: service.num_connections == 0)
        assert await is_alive(service.address)
    finally:
        await gone(writers)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_headers_that_come_a_byte_at_a_time_are_cut_off(service: Service) -> None:
    reader, writer = await asyncio.open_connection(*service.address)
    begun = time.monotonic()
    with contextlib.suppress(ConnectionError):
        for byte in b"GET /healthz HTTP/1.1\r\nX-Slow: " + b"a" * 1000:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.05)
            if reader.at_eof() or writer.is_closing():
                break
    assert time.monotonic() - begun < 3.0
    await gone([writer])


async def test_a_connection_that_says_nothing_is_ended(service: Service) -> None:
    assert await ask(service.address, b"", 4.0) == b""
    await eventually("it stays open", lambda: service.num_connections == 0, 0.5)


async def test_the_next_request_of_a_kept_connection_has_its_time_too(service: Service) -> None:
    """Idle time ends with the first byte; then the headers' time begins."""
    reader, writer = await asyncio.open_connection(*service.address)
    writer.write(post(0, 0))
    await reader.readuntil(b"\r\n\r\n0")
    begun = time.monotonic()
    writer.write(b"GET /heal")
    with contextlib.suppress(ConnectionError):
        assert await reader.read() == b""
    assert time.monotonic() - begun < 3.0
    await gone([writer])


async def test_a_kept_connection_is_used_again_and_again(service: Service) -> None:
    reader, writer = await asyncio.open_connection(*service.address)
    for number in range(5):
        writer.write(post(number, number))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert await reader.readexactly(1) == str(number).encode()
        await asyncio.sleep(0.4)  # in all longer than the time for headers
    await gone([writer])


@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.1\r\nX: " + b"a" * 2**20,
        b"GET /healthz HTTP/1.1\r\n" + b"X: a\r\n" * 2**18,
        b"GET /" + b"a" * 2**20,
        b"a" * 2**20,
    ],
    ids=["one header", "many headers", "path", "method"],
)
async def test_headers_without_end_are_cut_off_long_before_their_time(service: Service, head: bytes) -> None:
    begun = time.monotonic()
    await ask(service.address, head, 4.0)
    assert time.monotonic() - begun < 0.9
    assert await is_alive(service.address)


async def test_headers_behind_a_body_are_counted_too(service: Service) -> None:
    chunked = f"POST /v1/take HTTP/1.1\r\nHost: x\r\n{AUTHORIZED}Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
    before = resident_bytes()
    begun = time.monotonic()
    await ask(service.address, chunked.encode() + b"X: a\r\n" * 2**19, 4.0)
    assert time.monotonic() - begun < 3.0
    assert resident_bytes() - before < 64 * MIB
    assert await is_alive(service.address)


async def test_sixty_slow_bodies_take_no_more_memory_than_is_set_aside(service: Service) -> None:
    gc.collect()
    before = resident_bytes()
    writers = []
    for _ in range(60):
        _, writer = await asyncio.open_connection(*service.address)
        writer.transport.set_write_buffer_limits(0)
        writer.write(post(4 * MIB, MIB // 2))
        writers.append(writer)
    await asyncio.sleep(0.3)
    assert await is_alive(service.address)
    # The test's own send buffers are in this process as well: 30 MiB.
    assert resident_bytes() - before < (8 + 30 + 30) * MIB
    assert service.bodies == []
    await eventually("slow bodies stay", lambda: service.num_connections == 0, 12.0)
    await gone(writers)


async def test_a_body_that_stops_in_the_middle_is_refused_in_words(service: Service) -> None:
    answer = await ask(service.address, post(1000, 10), 6.0)
    assert answer.startswith(b"HTTP/1.1 422")
    assert b"the body did not arrive within 1.5 s" in answer


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "in chunks"])
async def test_a_body_that_is_too_large_is_refused_in_words(service: Service, announced: bool) -> None:
    if announced:
        request = post(5 * MIB, 1000)
    else:
        head = f"POST /v1/take HTTP/1.1\r\nHost: x\r\n{AUTHORIZED}Transfer-Encoding: chunked\r\n\r\n"
        request = head.encode() + (b"100000\r\n" + b"x" * 2**20 + b"\r\n") * 5 + b"0\r\n\r\n"
    answer = await ask(service.address, request, 6.0)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b'"too_large"' in answer
    assert service.bodies == []


async def test_a_body_without_a_token_is_not_read(service: Service) -> None:
    request = post(4 * MIB, 100).replace(b"secret", b"wrong!")
    begun = time.monotonic()
    answer = await ask(service.address, request, 6.0)
    assert answer.startswith(b"HTTP/1.1 401")
    assert time.monotonic() - begun < 1.4  # answered at once, and not kept for the rest of the body
    assert service.bodies == []


async def test_large_bodies_wait_for_memory_and_small_ones_do_not(service: Service) -> None:
    holders = [asyncio.create_task(ask(service.address, post(4 * MIB, 4 * MIB, "/v1/hold"), 8.0)) for _ in range(2)]
    await eventually("they are not held", lambda: len(service.bodies) == 2)
    begun = time.monotonic()
    small = await ask(service.address, post(100, 100), 1.0)
    assert small.startswith(b"HTTP/1.1 200")
    refused = await ask(service.address, post(MIB, MIB), 8.0)
    assert refused.startswith(b"HTTP/1.1 429")
    assert b"retry-after: 1" in refused.lower()
    assert 2.5 < time.monotonic() - begun < 7.0
    service.let_go.set()
    assert [answer.startswith(b"HTTP/1.1 200") for answer in await asyncio.gather(*holders)] == [True, True]


async def test_memory_that_was_set_aside_is_given_back(service: Service) -> None:
    for _ in range(6):  # three times what there is
        assert (await ask(service.address, post(4 * MIB, 4 * MIB), 1.0)).startswith(b"HTTP/1.1 200")
    assert service.bodies == [4 * MIB] * 6


async def test_a_client_that_leaves_logs_no_traceback(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for request in (
        post(1000, 10),
        post(0, 0, "/v1/hold"),
        b"GET /v1/large HTTP/1.1\r\nHost: x\r\n" + AUTHORIZED.encode() + b"\r\n",
        b"POST /v1/take HTTP/1.1\r\nHost: x\r\n" + AUTHORIZED.encode() + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"GET /hea",
    ):
        reader, writer = await asyncio.open_connection(*service.address)
        writer.write(request)
        await asyncio.sleep(0.1)
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # leaves with a reset
        writer.transport.abort()
        del reader
    await asyncio.sleep(0.3)
    assert await is_alive(service.address)
    assert [record.getMessage() for record in caplog.records if record.exc_info or "Traceback" in record.message] == []
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_who_reads_nothing_of_the_answer_is_cut_off(service: Service) -> None:
    request = f"GET /v1/large HTTP/1.1\r\nHost: x\r\n{AUTHORIZED}\r\n"
    _, writer = await asyncio.open_connection(*service.address, limit=1)
    writer.write(request.encode())
    await eventually("it is not answered", lambda: service.num_connections == 1)
    await eventually("it stays open", lambda: service.num_connections == 0, 4.0)
    await gone([writer])


async def test_thousands_of_requests_at_once_on_one_connection_are_not_queued(service: Service) -> None:
    before = resident_bytes()
    many = b"GET /healthz HTTP/1.1\r\n\r\n" * 200_000
    await ask(service.address, many, 2.0)
    assert resident_bytes() - before < 64 * MIB
    assert await is_alive(service.address)


async def test_nobody_is_whom_a_header_says(service: Service) -> None:
    assert service.server.config.proxy_headers is False


async def test_a_slash_at_the_end_leads_nowhere_else(service: Service) -> None:
    request = f"POST /v1/take/ HTTP/1.1\r\nHost: elsewhere.example\r\n{AUTHORIZED}Connection: close\r\n\r\n"
    answer = await ask(service.address, request)
    assert answer.startswith(b"HTTP/1.1 404")
    assert b"location" not in answer.lower()


def test_limits_hold_on_uvloop_too(protocol: type) -> None:
    """Its transports are no `asyncio.Transport`, and services run on it where it is installed."""

    async def half_sent() -> None:
        async with served(protocol, LIMITS, BODIES) as service:
            connections = [await asyncio.open_connection(*service.address) for _ in range(200)]
            assert await is_alive(service.address)
            assert service.num_connections <= LIMITS.max_waiting + 1
            assert (await ask(service.address, post(1000, 1000), 1.0)).startswith(b"HTTP/1.1 200")
            await eventually("they stay open", lambda: service.num_connections == 0)
            await gone([writer for _, writer in connections])

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(half_sent())
