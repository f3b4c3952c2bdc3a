"""The OpenAPI description at `/openapi.json`: besides what FastAPI derives, the errors and who may call."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from prorl_api.process.http_guard import OPEN_PATHS
from prorl_api.wire.base import ErrorBody

_RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}, "description": "Seconds."}}
ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorBody, "description": "The body could not be read."},
    401: {"model": ErrorBody, "description": "No or a wrong bearer token."},
    409: {"model": ErrorBody, "description": "The caller's attempt is over."},
    413: {"model": ErrorBody, "description": "The body is too large."},
    422: {"model": ErrorBody, "description": "The body is not what the description asks for, or not supported here."},
    429: {"model": ErrorBody, "description": "The queue is full.", "headers": _RETRY_AFTER},
    500: {"model": ErrorBody, "description": "The service failed."},
    503: {"model": ErrorBody, "description": "Not ready yet, or ending."},
}


def add_description(app: FastAPI) -> None:
    """Say in the description which paths ask for a token."""

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version="1", routes=app.routes)
            schema.setdefault("components", {})["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            for path, operations in schema["paths"].items():
                for operation in operations.values():
                    operation["security"] = [] if path in OPEN_PATHS else [{"token": []}]
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = describe  # type: ignore[method-assign]
