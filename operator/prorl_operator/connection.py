"""Requests to the API server with the address, the credentials, the TLS settings and the proxy of the official client.

Its own calls rebuild every body and wrap every answer, and block a thread: that costs more than all else that the
operator does for a job (docs/decisions/0009).
"""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import aiohttp
from kubernetes.client import ApiClient
from kubernetes.client.rest import should_bypass_proxies

JSON = "application/json"


class Connection:
    """To be used in one event loop."""

    def __init__(self, api_client: ApiClient, http: aiohttp.ClientSession) -> None:
        self._client = api_client
        self._http = http
        settings: Any = api_client.configuration
        self._host = str(settings.host)
        self._tls = _tls_context(settings)
        bypasses = should_bypass_proxies(settings.host, settings.no_proxy or "")
        self._proxy = None if bypasses else settings.proxy

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
        """One request; whatever is answered is the caller's business.

        Args:
            method: Of HTTP.
            path: From the root of the server.
            timeout: After which it ends as `TimeoutError`.
            query: Parameters.
            content: The body.
            media: Type of the body.
        """
        settings: Any = self._client.configuration
        # A compressed answer costs both sides more than the wire between them.
        headers = {**self._client.default_headers, "Accept": JSON, "Accept-Encoding": "identity"}
        if content is not None:
            headers["Content-Type"] = media
        # Renews a service account's token when it is due.
        self._client.update_params_for_auth(headers, [], ["BearerToken"], path, method, None)
        return self._http.request(
            method,
            self._host + path,
            params=query,
            data=content,
            headers=headers,
            timeout=timeout,
            allow_redirects=False,
            ssl=self._tls,
            server_hostname=settings.tls_server_name,
            proxy=self._proxy,
            proxy_headers=settings.proxy_headers,
        )


@asynccontextmanager
async def connect(api_client: ApiClient) -> AsyncIterator[Connection]:
    """A connection pool of its own: every watch keeps one, and every pass that calls takes one for as long."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False) as http:
        yield Connection(api_client, http)


def reason_of(data: bytes) -> str:
    """What the API server says of its refusal."""
    try:
        return str(json.loads(data)["message"])
    except (ValueError, TypeError, KeyError):
        return data.decode(errors="replace")[:500]


def _tls_context(settings: Any) -> ssl.SSLContext:
    """As the official client connects."""
    context = ssl.create_default_context(cafile=settings.ssl_ca_cert, cadata=settings.ca_cert_data)
    if settings.cert_file:
        context.load_cert_chain(settings.cert_file, settings.key_file)
    if not settings.verify_ssl or settings.assert_hostname is False:
        context.check_hostname = False
    if not settings.verify_ssl:
        context.verify_mode = ssl.CERT_NONE
    return context
