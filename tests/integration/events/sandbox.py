"""The real reward sandbox, which answers with a reward of NaN for the first completion of every seventh step."""

from __future__ import annotations

import re
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request, Response

from prorl_reward_sandbox import __main__ as sandbox
from prorl_reward_sandbox.service import app as service

_REWARD = re.compile(rb'("item_id":"[0-9]+\.train\.([0-9]+)\.[0-9]+/0".*?"reward":)[0-9.]+')


def create_app(*arguments: Any, **options: Any) -> FastAPI:
    """The real application, with its answers spoilt."""
    app = service.create_app(*arguments, **options)

    @app.middleware("http")
    async def spoil(request: Request, call_next: Callable[[Request], Awaitable[Any]]) -> Response:
        response = await call_next(request)
        body = b"".join([chunk async for chunk in response.body_iterator])
        if request.url.path == "/v1/score":
            body = _REWARD.sub(lambda match: match[1] + b"NaN" if int(match[2]) % 7 == 0 else match[0], body)
        headers = {name: value for name, value in response.headers.items() if name != "content-length"}
        return Response(body, response.status_code, headers)

    return app


if __name__ == "__main__":
    vars(sandbox)["create_app"] = create_app
    sys.exit(sandbox.main())
