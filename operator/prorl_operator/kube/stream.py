"""Lists and watches of the Kubernetes API in the event loop: the reading half of `client`, for what changes often.

Controllers change objects far more often than people do, and kopf's dispatch of such an event costs more than decoding
what is read of it (docs/decisions/0008).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Any, TypedDict

import aiohttp
import msgspec

from prorl_operator.kube.client import GONE, ApiError
from prorl_operator.kube.connection import Connection, reason_of
from prorl_operator.kube.views import Body

OK = 200
PAGE_ITEMS = 250
"""A page of pods is about 2 MB; of each only what is read is decoded."""
WATCH_SECONDS = 300
"""The server ends a watch after this, and the next one begins where it ended."""
PAUSE_SECONDS = 0.2
"""Between two reads of a watch. The server sends each change in several pieces as it happens; to wake up, decrypt and
parse for every piece costs more than all that is done with the changes."""
_LOT_BYTES = 64 * 2**10
"""A read that brought so much is followed by the next at once: a server closes watches that fall behind."""
_LIST_TIMEOUT = aiohttp.ClientTimeout(total=60.0, sock_connect=10.0)
_WATCH_TIMEOUT = aiohttp.ClientTimeout(total=WATCH_SECONDS + 30.0, sock_connect=10.0)


class GoneError(Exception):
    """The version that a watch was to go on from is too old: list again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Objects of one kind, in one namespace or in all, that carry a label."""

    group: str
    """Empty for the core group."""
    version: str
    plural: str
    label: str
    namespace: str | None
    """None: all namespaces."""

    @property
    def path(self) -> str:
        """Of the collection."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        return (
            f"{root}/{self.plural}" if self.namespace is None else f"{root}/namespaces/{self.namespace}/{self.plural}"
        )


class _Metadata(TypedDict, total=False):
    name: str
    namespace: str
    uid: str
    resourceVersion: str
    labels: dict[str, str] | None
    annotations: dict[str, str] | None
    creationTimestamp: str | None
    deletionTimestamp: str | None


class _Spec(TypedDict, total=False):
    replicas: int | None
    completions: int | None


class _Container(TypedDict, total=False):
    name: str
    state: dict[str, Any] | None
    lastState: dict[str, Any] | None


class _Condition(TypedDict, total=False):
    type: str
    status: str
    reason: str | None
    message: str | None
    lastTransitionTime: str | None


class _Status(TypedDict, total=False):
    phase: str | None
    reason: str | None
    message: str | None
    podIP: str | None
    conditions: list[_Condition] | None
    containerStatuses: list[_Container] | None
    initContainerStatuses: list[_Container] | None


class _Object(TypedDict, total=False):
    """What `views` reads of a child, or of the status that the API answers with. All else is skipped, not decoded."""

    metadata: _Metadata
    spec: _Spec | None
    status: _Status | str | None
    data: dict[str, str] | None
    code: int
    message: str


class Change(msgspec.Struct):
    """One line of a watch."""

    type: str
    """ADDED, MODIFIED, DELETED or BOOKMARK."""
    object: _Object

    @property
    def version(self) -> str:
        """Where a later watch may go on from."""
        return str(self.object["metadata"]["resourceVersion"])


class _PageMetadata(msgspec.Struct):
    resourceVersion: str = ""
    next: str | None = msgspec.field(default=None, name="continue")


class _Page(msgspec.Struct):
    metadata: _PageMetadata
    items: list[_Object] | None


_decode_page = msgspec.json.Decoder(_Page).decode
_decode_change = msgspec.json.Decoder(Change).decode


class ApiStream:
    """Reads of many objects. To be used in one event loop."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def list(self, kind: Kind) -> tuple[list[Body], str]:
        """List all objects, and the version that a watch goes on from.

        Raises:
            ApiError: The API refused.
            aiohttp.ClientError: It did not answer.
            TimeoutError: It took too long.
        """
        found: list[Body] = []
        query = {"labelSelector": kind.label, "limit": str(PAGE_ITEMS)}
        while True:
            async with self._connection.request("GET", kind.path, query=query, timeout=_LIST_TIMEOUT) as answer:
                page = _decode_page(await (await _checked("list", kind, answer)).read())
            found += page.items or ()
            if not page.metadata.next:
                return found, page.metadata.resourceVersion
            query["continue"] = page.metadata.next

    async def watch(self, kind: Kind, version: str) -> AsyncGenerator[Change]:
        """Yield the changes after a version, until the server ends the watch.

        A connection that brings nothing any more is the caller's business.

        Raises:
            GoneError: The version is too old.
            ApiError: The API refused.
            aiohttp.ClientError: The connection broke.
            TimeoutError: It lasted longer than the server was asked for.
        """
        query = {
            "watch": "true",
            "labelSelector": kind.label,
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        async with self._connection.request("GET", kind.path, query=query, timeout=_WATCH_TIMEOUT) as answer:
            async for line in _lines(await _checked("watch", kind, answer)):
                change = _decode_change(line)
                if change.type == "ERROR":
                    code, message = int(change.object.get("code", 0)), str(change.object.get("message", ""))
                    raise GoneError(message) if code == GONE else ApiError(code, "watch", kind.path, message)
                yield change


async def _checked(verb: str, kind: Kind, answer: aiohttp.ClientResponse) -> aiohttp.ClientResponse:
    if answer.status == GONE:
        raise GoneError(reason_of(await answer.read()))
    if answer.status != OK:
        raise ApiError(answer.status, verb, f"{kind.plural} {kind.namespace or ''}/", reason_of(await answer.read()))
    return answer


async def _lines(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Lines of any length; aiohttp's own iteration limits them."""
    rest = b""
    async for data in answer.content.iter_any():
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            if line:
                yield line
        if len(data) < _LOT_BYTES:
            await _pause(answer)


async def _pause(answer: aiohttp.ClientResponse) -> None:
    """Have what comes next come together."""
    transport = answer.connection.transport if answer.connection is not None else None
    if transport is None or transport.is_closing():
        return
    transport.pause_reading()
    try:
        await asyncio.sleep(PAUSE_SECONDS)
    finally:
        if not transport.is_closing():
            transport.resume_reading()
