"""The live page's API: what the page shows, and a person's decision about a reset. All of it asks for the token."""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from prorl_api.errors import ProRLError
from prorl_api.process import http_guard
from prorl_api.process.api_error import ApiError
from prorl_api.process.bodies import BodyLimits
from prorl_api.process.fence import AttemptFence
from prorl_api.process.tokens import AcceptedTokens, digest_of
from prorl_api.run_folder import RunFolder
from prorl_api.wire.base import ErrorKind, WireModel
from prorl_cli import resets
from prorl_cli.report.document import live_document, live_policy
from prorl_cli.report.page import PARTS
from prorl_cli.watch.gate import Gate
from prorl_cli.watch.source import Look, PageSource

if TYPE_CHECKING:
    from fastapi import Response


class Choice(StrEnum):
    """What a person can decide about a pending reset."""

    APPROVE = "approve"
    VETO = "veto"


class Decision(WireModel):
    """`POST /v1/resets/{name}`."""

    decision: Choice


_LIMITS = BodyLimits(max_bytes=4096, total_bytes=64 * 1024)


def create_app(run: RunFolder, token: str, *, looked: Callable[[Look], None] = lambda _: None) -> Gate:
    """Return the application.

    Args:
        run: Whose page it is.
        token: Of the session.
        looked: Called with whatever was handed out.
    """
    from fastapi import FastAPI

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    source = PageSource(run)

    @app.get("/v1/page")
    def page(revision: str = "") -> Any:
        look = source.look()
        answer = _page(look, revision)
        looked(look)
        return answer

    @app.post("/v1/resets/{name}")
    def decide(name: str, body: Decision) -> dict[str, str]:
        change = {Choice.APPROVE: resets.approve, Choice.VETO: resets.veto}[body.decision]
        try:
            return {"message": change(run.path, name)}
        except ProRLError as error:
            raise ApiError(ErrorKind.BAD_REQUEST, str(error)) from error

    http_guard.install(app, AcceptedTokens([f"page={digest_of(token)}"]), AttemptFence(), limits=_LIMITS)
    document = live_document("ProRL run", PARTS).encode()
    return Gate(app, document=document, policy=live_policy())


def _page(look: Look, revision: str) -> Response:
    from starlette.responses import Response

    content = None
    if look.revision != revision:
        content = {"title": look.content.title, "parts": look.content.parts, "figures": look.content.figures}
    answer = {
        "revision": look.revision,
        "is_driven": look.is_driven,
        "next_look_seconds": look.next_look_seconds,
        "content": content,
    }
    # ASCII: half of a surrogate pair can come out of a model's tokens and has no UTF-8 form.
    return Response(json.dumps(answer, allow_nan=False), media_type="application/json")
