"""The rules every HTTP service of a run keeps: tokens, fencing by attempt, typed errors.

`install` puts them on a FastAPI application. This is the only module of the package that touches a web framework,
and only when it is called: components that serve HTTP have FastAPI, the others never get here.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from prorl_api.process.tokens import AcceptedTokens
from prorl_api.wire.base import ATTEMPT_HEADER, ErrorBody, ErrorInfo, ErrorKind

if TYPE_CHECKING:
    from fastapi import FastAPI, Request, Response

OPEN_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
"""Paths that need no token: probes and scrapes."""

STATUS_OF_KIND = {
    ErrorKind.BAD_REQUEST: 422,
    ErrorKind.UNAUTHORIZED: 401,
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

_WHOLE_NUMBER = re.compile(r"[0-9]{1,18}")

_logger = logging.getLogger(__name__)


class ApiError(Exception):
    """Raised in an endpoint; becomes a typed answer."""

    def __init__(
        self, kind: ErrorKind, message: str, *, retryable: bool = False, retry_after_seconds: float | None = None
    ) -> None:
        self.info = ErrorInfo(kind=kind, message=message, retryable=retryable, retry_after_seconds=retry_after_seconds)
        super().__init__(message)


class AttemptFence:
    """The highest attempt seen. Calls of lower attempts are refused, so a lost learner cannot act any more."""

    def __init__(self, attempt: int = 0) -> None:
        self.attempt = attempt

    def check(self, header: str | None) -> None:
        """Take note of the caller's attempt.

        Raises:
            ApiError: `stale_attempt` if a higher one was seen, `bad_request` if the header is not a number.
        """
        if header is None:
            return
        if not _WHOLE_NUMBER.fullmatch(header):
            raise ApiError(ErrorKind.BAD_REQUEST, f"{ATTEMPT_HEADER} must be a whole number, got {header!r}")
        attempt = int(header)
        if attempt < self.attempt:
            raise ApiError(
                ErrorKind.STALE_ATTEMPT,
                f"attempt {attempt} is over: attempt {self.attempt} of this run has been seen here; stop this process",
            )
        self.attempt = attempt


def error_response(info: ErrorInfo) -> Response:
    """Return the typed answer for an error, with `Retry-After` where the error names one."""
    from fastapi.responses import JSONResponse

    headers = {}
    if info.retry_after_seconds is not None:
        headers["Retry-After"] = str(max(1, round(info.retry_after_seconds)))
    body = ErrorBody(error=info).model_dump(mode="json")
    return JSONResponse(body, status_code=STATUS_OF_KIND[info.kind], headers=headers)


def install(app: FastAPI, tokens: AcceptedTokens, fence: AttemptFence) -> None:
    """Put authentication, fencing and typed errors on an application."""
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException

    @app.middleware("http")
    async def _guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        if request.url.path in OPEN_PATHS:
            return await call_next(request)
        if not tokens.admits(request.headers.get("Authorization")):
            message = "no or wrong bearer token; callers of this service get theirs from the body that started them"
            return error_response(ErrorInfo(kind=ErrorKind.UNAUTHORIZED, message=message))
        try:
            fence.check(request.headers.get(ATTEMPT_HEADER))
        except ApiError as error:
            return error_response(error.info)
        return await call_next(request)

    async def _typed(_: Request, error: Exception) -> Response:
        assert isinstance(error, ApiError)
        return error_response(error.info)

    async def _invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:20])
        return error_response(ErrorInfo(kind=ErrorKind.BAD_REQUEST, message=faults))

    async def _refused(request: Request, error: Exception) -> Response:
        """No such path or method, or a body that is not JSON: what the framework refuses before an endpoint."""
        assert isinstance(error, HTTPException)
        kind = ErrorKind.NOT_FOUND if error.status_code in (404, 405) else ErrorKind.BAD_REQUEST
        message = f"{request.method} {request.url.path}: {error.detail}"
        return error_response(ErrorInfo(kind=kind, message=message))

    async def _unexpected(request: Request, error: Exception) -> Response:
        _logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
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
