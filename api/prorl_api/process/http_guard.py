"""The rules every HTTP service of a run keeps: tokens, rights, fencing by attempt, bounded bodies, typed errors.

`install` puts them on a FastAPI application. This is the only module of the package that touches a web framework,
and only when it is called: components that serve HTTP have FastAPI, the others never get here.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from prorl_api.process.api_error import ApiError
from prorl_api.process.bodies import Bodies, BodyLimits, ClientLeft, replay
from prorl_api.process.fence import AttemptFence
from prorl_api.process.tokens import ANY_CALLER, AcceptedTokens
from prorl_api.wire.base import ATTEMPT_HEADER, ErrorBody, ErrorInfo, ErrorKind
from prorl_api.wording import wanted_at

if TYPE_CHECKING:
    from fastapi import FastAPI, Request, Response
    from starlette.types import ASGIApp, Receive, Scope, Send

OPEN_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
"""Paths that need no token: probes and scrapes."""

STATUS_OF_KIND = {
    ErrorKind.BAD_REQUEST: 422,
    ErrorKind.UNAUTHORIZED: 401,
    ErrorKind.FORBIDDEN: 403,
    ErrorKind.NOT_FOUND: 404,
    ErrorKind.STALE_ATTEMPT: 409,
    ErrorKind.WRONG_WEIGHTS: 409,
    ErrorKind.WEIGHTS_MISMATCH: 422,
    ErrorKind.ENGINE_MISMATCH: 422,
    ErrorKind.NOT_READY: 503,
    ErrorKind.BUSY: 429,
    ErrorKind.CANCELLED: 409,
    ErrorKind.TOO_LARGE: 413,
    ErrorKind.UNSUPPORTED: 422,
    ErrorKind.INTERNAL: 500,
}
_SHOWN = 200
"""Characters of a caller's own words in an answer or a log line."""
_MAX_FAULTS = 20

_logger = logging.getLogger(__name__)

Rights = Mapping[str, frozenset[str]]
"""Path, which stands for all paths below it too, to the callers that may ask there. A path that none covers is for
every known caller; without rights at all, every path is."""


def error_response(info: ErrorInfo) -> Response:
    """Return the typed answer for an error, with `Retry-After` where the error names one."""
    from fastapi.responses import JSONResponse

    headers = {}
    if info.retry_after_seconds is not None:
        headers["Retry-After"] = str(max(1, round(info.retry_after_seconds)))
    body = ErrorBody(error=info).model_dump(mode="json")
    return JSONResponse(body, status_code=STATUS_OF_KIND[info.kind], headers=headers)


class _Guard:
    """Around an application: admits a request, or answers it itself."""

    def __init__(
        self, app: ASGIApp, *, tokens: AcceptedTokens, fence: AttemptFence, rights: Rights | None, limits: BodyLimits
    ) -> None:
        self._app = app
        self._tokens = tokens
        self._fence = fence
        self._rights = rights or {}
        self._bodies = Bodies(limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # no service of ours speaks anything else
            return
        refusal = None if scope["path"] in OPEN_PATHS else self._refusal(scope)
        if refusal is not None:
            await error_response(refusal)(scope, receive, send)
            return
        try:
            async with self._bodies.taken(scope, receive) as body:
                await self._app(scope, replay(body, receive), send)
        except ApiError as error:  # of the body: the application answers its own
            await error_response(error.info)(scope, receive, send)
        except ClientLeft:
            _logger.debug("%s %s: the client left before its body had arrived", scope["method"], scope["path"])

    def _refusal(self, scope: Scope) -> ErrorInfo | None:
        authorization = _only(scope, "Authorization")
        caller = None if authorization is _TWICE else self._tokens.caller(authorization)
        if caller is None:
            message = "no or wrong bearer token; callers of this service get theirs from the body that started them"
            return ErrorInfo(kind=ErrorKind.UNAUTHORIZED, message=message)
        allowed = _allowed(self._rights, scope["path"])
        if allowed is not None and caller not in (*allowed, ANY_CALLER):
            message = f"a caller with the token of `{caller}` may not ask {scope['method']} {scope['path'][:_SHOWN]}"
            return ErrorInfo(kind=ErrorKind.FORBIDDEN, message=message)
        try:
            self._fence.check(_only(scope, ATTEMPT_HEADER))
        except ApiError as error:
            return error.info
        return None


_TWICE = "twice"
"""In place of a header that came more than once: whoever reads another one of the two would be deceived."""


def _only(scope: Scope, name: str) -> str | None:
    wanted = name.lower().encode()
    values = [value for key, value in scope["headers"] if key.lower() == wanted]
    if len(values) > 1:
        return _TWICE
    return values[0].decode("latin-1") if values else None


def _allowed(rights: Rights, path: str) -> frozenset[str] | None:
    found = [callers for prefix, callers in rights.items() if path == prefix or path.startswith(prefix + "/")]
    return found[0] if found else None


def install(
    app: FastAPI,
    tokens: AcceptedTokens,
    fence: AttemptFence,
    *,
    rights: Rights | None = None,
    limits: BodyLimits | None = None,
) -> None:
    """Put authentication, rights, fencing, limits on bodies, and typed errors on an application."""
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException

    # Nobody is sent elsewhere: a redirect would be to whatever host the caller named.
    app.router.redirect_slashes = False
    app.add_middleware(_Guard, tokens=tokens, fence=fence, rights=rights, limits=limits or BodyLimits())

    async def _typed(_: Request, error: Exception) -> Response:
        assert isinstance(error, ApiError)
        return error_response(error.info)

    async def _invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        faults = wanted_at(error.errors(), _MAX_FAULTS)
        return error_response(ErrorInfo(kind=ErrorKind.BAD_REQUEST, message=faults))

    async def _refused(request: Request, error: Exception) -> Response:
        """No such path or method, or a body that is not JSON: what the framework refuses before an endpoint."""
        assert isinstance(error, HTTPException)
        kind = ErrorKind.NOT_FOUND if error.status_code in (404, 405) else ErrorKind.BAD_REQUEST
        message = f"{request.method} {request.url.path[:_SHOWN]}: {error.detail}"
        return error_response(ErrorInfo(kind=kind, message=message))

    async def _unexpected(request: Request, error: Exception) -> Response:
        _logger.error("%s %r failed", request.method, request.url.path[:_SHOWN], exc_info=error)
        message = f"{type(error).__name__} while answering; the service's log has the details"
        return error_response(ErrorInfo(kind=ErrorKind.INTERNAL, message=message, retryable=True))

    handlers: list[tuple[Any, Any]] = [
        (ApiError, _typed),
        (RequestValidationError, _invalid),
        (HTTPException, _refused),
        (Exception, _unexpected),
    ]
    for kind, handler in handlers:
        app.add_exception_handler(kind, handler)
