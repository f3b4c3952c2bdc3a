"""Who gets through to the live page at all: browsers on this machine that show this very page.

Before anything else, and before tokens: a name that was made to point at 127.0.0.1 (DNS rebinding) shows in the `Host`
header, a foreign page that makes a browser send requests here (CSRF) in `Origin` and `Sec-Fetch-Site`. The document
itself holds nothing of the run. All answers forbid framing, sniffing, caching and referrers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from prorl_api.process.http_guard import error_response
from prorl_api.wire.base import ErrorInfo, ErrorKind

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_OWN_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?")
"""Any port: an SSH tunnel may end at another one."""

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Gate:
    """Around the page's application: the document to everybody on this machine, the rest to the document."""

    def __init__(self, app: ASGIApp, *, document: bytes, policy: str) -> None:
        self._app = app
        self._document = document
        self._headers = [
            (name.lower().encode(), value.encode())
            for name, value in {**_HEADERS, "Content-Security-Policy": policy}.items()
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *self._headers]
            await send(message)

        is_document = scope["path"] == "/" and scope["method"] in ("GET", "HEAD")
        why = refusal(
            _values(scope, "host"), [] if is_document else _values(scope, "origin"), _site(scope, is_document)
        )
        if why:
            info = ErrorInfo(kind=ErrorKind.FORBIDDEN, message=why)
            await error_response(info)(scope, receive, send_with_headers)
        elif is_document:
            from starlette.responses import Response

            await Response(self._document, media_type="text/html")(scope, receive, send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)


def refusal(hosts: Sequence[str], origins: Sequence[str], site: Sequence[str]) -> str:
    """Return why a request is refused; empty: it is not.

    Args:
        hosts: Values of its `Host` headers.
        origins: Of `Origin`; browsers send one with every request that can change something.
        site: Of `Sec-Fetch-Site`.
    """
    if len(hosts) != 1 or not _OWN_HOST.fullmatch(hosts[0]):
        return "this page is served to 127.0.0.1 and localhost alone, and the request names another host"
    if any(origin != f"http://{hosts[0]}" for origin in origins):
        return "the request comes from another page than this one"
    if any(value != "same-origin" for value in site):
        return "the request comes from another site than this page's"
    return ""


def _site(scope: Scope, is_document: bool) -> list[str]:
    """Return `Sec-Fetch-Site`, but for the document, which any link may lead to, and where people type an address."""
    return [] if is_document else [value for value in _values(scope, "sec-fetch-site") if value != "none"]


def _values(scope: Scope, name: str) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name.encode()]
