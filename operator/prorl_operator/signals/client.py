"""Asks one Prometheus over HTTP: time-outs, bounded answers, no redirects. What an answer means the brain says."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any

import aiohttp
import msgspec

from prorl_control.signals.answers import AnswerError, RawSeries, matrix, refused, shown
from prorl_control.signals.reading import SignalReason
from prorl_operator.signals.endpoints import Endpoint

TIMEOUT = aiohttp.ClientTimeout(total=20.0, sock_connect=5.0)
MAX_BYTES = 64 * 2**20
_LARGE = 2**18
"""An answer of more bytes is decoded beside the event loop."""
_OK = 200
_QUERY_TIMEOUT = "15s"
_AS_ASKED = {"nocache": "1", "latency_offset": "1ms"}
"""For VictoriaMetrics, which else rounds the times and hides the last 30 s; others pass over what they do not know."""


class PrometheusClient:
    """One Prometheus, or what speaks its API."""

    def __init__(self, http: aiohttp.ClientSession, endpoint: Endpoint) -> None:
        self._http = http
        self._endpoint = endpoint

    async def samples(self, query: str, at: float) -> list[RawSeries]:
        """Ask for a range of raw samples that ends at a time.

        Raises:
            AnswerError: There is no usable answer.
        """
        return await self._matrix("/api/v1/query", {"query": query, "time": f"{at:.3f}"})

    async def evaluated(self, query: str, start: float, end: float, step: float) -> list[RawSeries]:
        """Ask for a query's value at fixed times.

        Raises:
            AnswerError: There is no usable answer.
        """
        times = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:.3f}"}
        return await self._matrix("/api/v1/query_range", {"query": query, **times, **_AS_ASKED})

    async def _matrix(self, path: str, form: Mapping[str, str]) -> list[RawSeries]:
        status, body = await self._post(path, {**form, "timeout": _QUERY_TIMEOUT})
        if len(body) > MAX_BYTES:
            raise AnswerError(SignalReason.BAD_ANSWER, f"its answer has more than {MAX_BYTES} bytes")
        if len(body) > _LARGE:
            return await asyncio.to_thread(_read, status, body)
        return _read(status, body)

    async def _post(self, path: str, form: Mapping[str, str]) -> tuple[int, bytes]:
        """Post a form, since a query for a hundred jobs is longer than an address may be."""
        try:
            headers = {**self._endpoint.request_headers(), "Accept-Encoding": "identity"}
            trust: ssl.SSLContext | bool = self._endpoint.trust() or True
        except (OSError, ValueError) as error:
            message = f"the credentials mounted for {self._endpoint.name} cannot be used: {shown(str(error))}"
            raise AnswerError(SignalReason.UNAUTHORIZED, message) from None
        try:
            async with self._http.post(
                self._endpoint.url + path, data=form, headers=headers, ssl=trust, allow_redirects=False, timeout=TIMEOUT
            ) as answer:
                return answer.status, await _bounded(answer)
        except TimeoutError:
            raise AnswerError(SignalReason.UNREACHABLE, f"no answer within {TIMEOUT.total:.0f} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise AnswerError(SignalReason.UNREACHABLE, shown(str(error)) or type(error).__name__) from None


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    """Return the body, up to one byte more than is taken.

    Raises:
        ValueError: It is packed, which nobody asked for: a small one may unpack to any size.
    """
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise ValueError("a packed body, which was not asked for")
    said = bytearray()
    while len(said) <= MAX_BYTES and (block := await answer.content.readany()):
        said += block
    return bytes(said[: MAX_BYTES + 1])


class _Data(msgspec.Struct):
    resultType: Any = None
    result: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET


class _Answer(msgspec.Struct):
    """An answer whose series are still text: one after the other becomes numbers, since all at once are large."""

    status: Any
    data: _Data


def _read(status: int, body: bytes) -> list[RawSeries]:
    try:
        answer = msgspec.json.decode(body, type=_Answer) if status == _OK else None
        if answer is not None and not isinstance(answer.data.result, msgspec.UnsetType):
            data = {"resultType": answer.data.resultType, "result": answer.data.result}
            return matrix({"status": answer.status, "data": data}, msgspec.json.decode)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        pass  # it is something else, and is told what
    try:
        document: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        document = None
    if status != _OK:
        raise refused(status, document)
    return matrix(document)


def make_session() -> aiohttp.ClientSession:
    """Open the HTTP session for every Prometheus; credentials of one are never sent to another, nor cookies kept."""
    connector = aiohttp.TCPConnector(limit=16, limit_per_host=4)
    return aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False, auto_decompress=False
    )
