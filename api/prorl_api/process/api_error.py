"""The refusal of one request: raised wherever it is found, answered by `http_guard` with its kind's status."""

from __future__ import annotations

from prorl_api.wire.base import ErrorInfo, ErrorKind


class ApiError(Exception):
    """Raised in an endpoint, or before one; becomes a typed answer."""

    def __init__(
        self, kind: ErrorKind, message: str, *, retryable: bool = False, retry_after_seconds: float | None = None
    ) -> None:
        self.info = ErrorInfo(kind=kind, message=message, retryable=retryable, retry_after_seconds=retry_after_seconds)
        super().__init__(message)
