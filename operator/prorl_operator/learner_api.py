"""The operator's side of the learner's API: short questions that never hold a pass up."""

from __future__ import annotations

import logging
from typing import TypeVar

import aiohttp
from pydantic import BaseModel

from prorl_api.process.tokens import derive_token
from prorl_api.wire.base import ATTEMPT_HEADER
from prorl_api.wire.learner import (
    LearnerReport,
    ResetCommand,
    ResetOutcome,
    StopRequest,
)
from prorl_operator.untrusted import LINES_A_PAGE, MAX_BYTES, UntrustedError, parsed, shown

TIMEOUT = aiohttp.ClientTimeout(total=3.0, sock_connect=1.0)
"""Learners answer from memory but for old steps of a page; one that does not is asked again in the next pass."""
_QUIET = (404, 429, 503)
_REDIRECTS = 300
_Body = TypeVar("_Body", bound=BaseModel)
_logger = logging.getLogger(__name__)


class LearnerApi:
    """One attempt's rank 0. Every method answers None where it cannot answer now."""

    def __init__(self, http: aiohttp.ClientSession, base_url: str, attempt: int, token: str) -> None:
        self._http = http
        self._base_url = base_url
        self._headers = {"Authorization": f"Bearer {token}", ATTEMPT_HEADER: str(attempt)}

    @classmethod
    def at(cls, http: aiohttp.ClientSession, address: str, *, attempt: int, key: bytes, job_uid: str) -> LearnerApi:
        """Return the learner that listens on `address` (`host:port`), with the token of the body."""
        return cls(http, f"http://{address}", attempt, derive_token(key, job_uid, "body", "learner"))

    async def report(self, since_step: int) -> LearnerReport | None:
        """Ask what it is doing, for the first surviving steps after `since_step`, and what became of the resets."""
        path = f"/v1/report?since_step={since_step}&max_lines={LINES_A_PAGE}"
        return await self._ask("GET", path, LearnerReport)

    async def post_reset(self, command: ResetCommand) -> ResetOutcome | None:
        """Hand a reset over; harmless to repeat."""
        return await self._ask("POST", "/v1/resets", ResetOutcome, command)

    async def stop(self, request: StopRequest) -> None:
        """Ask it to stop; its status and its end are the answer."""
        await self._call("POST", "/v1/stop", request)

    async def _ask(self, method: str, path: str, kind: type[_Body], body: BaseModel | None = None) -> _Body | None:
        text = await self._call(method, path, body)
        if text is None:
            return None
        try:
            return parsed(kind, text)
        except UntrustedError as error:
            _logger.warning("the answer to %s %s is no %s: %s", method, path, kind.__name__, error)
            return None

    async def _call(self, method: str, path: str, body: BaseModel | None) -> bytes | None:
        headers, content = self._headers | {"Accept-Encoding": "identity"}, None
        if body is not None:
            headers = headers | {"Content-Type": "application/json"}
            content = body.model_dump_json()
        url = self._base_url + path
        try:
            # A redirect would carry the token elsewhere.
            asked = self._http.request(
                method, url, headers=headers, data=content, allow_redirects=False, timeout=TIMEOUT
            )
            async with asked as answer:
                said = await _read(answer)
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return None
        if answer.ok and answer.status < _REDIRECTS:
            return said
        if answer.status not in _QUIET:
            _logger.warning("%s %s at the learner: %s %s", method, path, answer.status, shown(said))
        return None


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """Return the body, up to one byte more than is taken: whoever sends without end is not listened to.

    Raises:
        ValueError: It is packed, which nobody asked for: a small one may unpack to any size.
    """
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise ValueError("a body that is packed")
    said = bytearray()
    while len(said) <= MAX_BYTES and (block := await answer.content.readany()):
        said += block
    return bytes(said[: MAX_BYTES + 1])


def make_session() -> aiohttp.ClientSession:
    """Open the HTTP session for all learners. To be called in the event loop, and closed there.

    A connection serves one pass; until the next one the learner would close it.
    """
    connector = aiohttp.TCPConnector(limit=64, keepalive_timeout=2.0)
    return aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False, auto_decompress=False
    )
