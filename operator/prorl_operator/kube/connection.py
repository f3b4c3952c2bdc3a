"""Requests to the API server with the address, the credentials, the TLS settings and the proxy of the official client.

Its own calls rebuild every body and wrap every answer, and block a thread: that costs more than all else that the
operator does for a job (docs/decisions/0009).
"""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import aiohttp
import msgspec
from kubernetes.client import ApiClient
from kubernetes.client.rest import should_bypass_proxies
from yarl import URL

JSON = "application/json"
_CREDENTIALS_SECONDS = 1.0
"""A renewed token is taken up so much later; the old one is good for minutes more."""


class Connection:
    """Connections to the API server, to be used in one event loop."""

    def __init__(self, api_client: ApiClient, http: aiohttp.ClientSession) -> None:
        self._client = api_client
        self._http = http
        settings: Any = api_client.configuration
        self._host = str(settings.host)
        self._tls = _tls_context(settings)
        bypasses = should_bypass_proxies(settings.host, settings.no_proxy or "")
        self._proxy = None if bypasses else settings.proxy
        self._headers: Mapping[str, str] = {}
        self._headers_until = 0.0

    def request(
        self,
        method: str,
        path: str,
        *,
        timeout: aiohttp.ClientTimeout,
        query: Mapping[str, str] | None = None,
        content: bytes | None = None,
        media: str = JSON,
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Send one request; whatever is answered is the business of the caller.

        Args:
            method: Of HTTP.
            path: From the root of the server, as it goes over the wire: names of objects need no escapes.
            timeout: After which it ends as `TimeoutError`.
            query: Parameters.
            content: The body.
            media: Type of the body.
        """
        settings: Any = self._client.configuration
        headers = self._credentials()
        if content is not None:
            headers = {**headers, "Content-Type": media}
        address = f"{self._host}{path}?{urlencode(query)}" if query else self._host + path
        return self._http.request(
            method,
            URL(address, encoded=True),
            data=content,
            headers=headers,
            timeout=timeout,
            allow_redirects=False,
            ssl=self._tls,
            server_hostname=settings.tls_server_name,
            proxy=self._proxy,
            proxy_headers=settings.proxy_headers,
        )

    def _credentials(self) -> Mapping[str, str]:
        """Headers of every request; the official client renews a service account's token when it is due."""
        now = time.monotonic()
        if now > self._headers_until:
            # A compressed answer costs both sides more than the wire between them.
            headers = {**self._client.default_headers, "Accept": JSON, "Accept-Encoding": "identity"}
            self._client.update_params_for_auth(headers, [], ["BearerToken"], "", "", None)
            self._headers, self._headers_until = headers, now + _CREDENTIALS_SECONDS
        return self._headers


@asynccontextmanager
async def connect(api_client: ApiClient) -> AsyncIterator[Connection]:
    """Open a connection pool of its own: every watch keeps one, and every pass that calls takes one for as long."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False) as http:
        yield Connection(api_client, http)


def reason_of(data: bytes) -> str:
    """Return what the API server says of its refusal."""
    try:
        return str(msgspec.json.decode(data)["message"])
    except (ValueError, TypeError, KeyError):
        return data.decode(errors="replace")[:500]


def _tls_context(settings: Any) -> ssl.SSLContext:
    """Connect as the official client does."""
    context = ssl.create_default_context(cafile=settings.ssl_ca_cert, cadata=settings.ca_cert_data)
    if settings.cert_file:
        context.load_cert_chain(settings.cert_file, settings.key_file)
    if not settings.verify_ssl or settings.assert_hostname is False:
        context.check_hostname = False
    if not settings.verify_ssl:
        context.verify_mode = ssl.CERT_NONE
    return context
