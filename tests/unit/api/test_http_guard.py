"""The rules that every HTTP service of a run keeps, on a small application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from prorl_api.process.api_error import ApiError
from prorl_api.process.fence import AttemptFence
from prorl_api.process.http_guard import STATUS_OF_KIND, install
from prorl_api.process.tokens import AcceptedTokens, digest_of
from prorl_api.wire.base import ATTEMPT_HEADER, ErrorBody, ErrorInfo, ErrorKind
from prorl_api.wire.rollout import Sampling

TOKEN = {"Authorization": "Bearer secret"}


def make_app(fence: AttemptFence) -> FastAPI:
    app = FastAPI()
    install(app, AcceptedTokens(frozenset({digest_of("secret")})), fence)

    @app.get("/healthz")
    @app.get("/readyz")
    @app.get("/metrics")
    async def _open() -> str:
        return "ok"

    @app.post("/v1/sample")
    async def _sample(body: Sampling) -> int:
        return body.max_tokens

    @app.get("/v1/fail/{kind}")
    async def _fail(kind: ErrorKind) -> None:
        raise ApiError(kind, "what happened", retryable=True, retry_after_seconds=0.2)

    @app.get("/v1/crash")
    async def _crash() -> None:
        raise RuntimeError("the secret is hunter2")

    return app


@pytest.fixture
def fence() -> AttemptFence:
    return AttemptFence(3)


@pytest.fixture
async def client(fence: AttemptFence) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(make_app(fence), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as http:
        yield http


def info_of(response: httpx.Response) -> ErrorInfo:
    return ErrorBody.model_validate_json(response.content).error


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_probes_and_scrapes_need_no_token(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path, headers={ATTEMPT_HEADER: "1"})).status_code == 200


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "secret"}])
@pytest.mark.parametrize("path", ["/v1/crash", "/healthz/", "/absent"])
async def test_all_else_needs_a_token(client: httpx.AsyncClient, path: str, headers: dict[str, str]) -> None:
    response = await client.get(path, headers=headers)
    assert (response.status_code, info_of(response).kind) == (401, ErrorKind.UNAUTHORIZED)


async def test_an_admitted_call_is_answered(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/sample", json={"max_tokens": 5, "seed": 0}, headers=TOKEN)
    assert (response.status_code, response.json()) == (200, 5)


async def test_a_lower_attempt_is_refused_and_a_higher_one_is_believed_by_nobody(
    client: httpx.AsyncClient, fence: AttemptFence
) -> None:
    body = {"max_tokens": 5, "seed": 0}
    stale = await client.post("/v1/sample", json=body, headers=TOKEN | {ATTEMPT_HEADER: "2"})
    assert (stale.status_code, info_of(stale).kind) == (409, ErrorKind.STALE_ATTEMPT)
    newer = await client.post("/v1/sample", json=body, headers=TOKEN | {ATTEMPT_HEADER: "99999999"})
    assert (newer.status_code, fence.attempt) == (200, 3)
    former = await client.post("/v1/sample", json=body, headers=TOKEN | {ATTEMPT_HEADER: "3"})
    assert former.status_code == 200


async def test_a_call_without_a_right_token_does_not_move_the_fence(
    client: httpx.AsyncClient, fence: AttemptFence
) -> None:
    await client.get("/v1/crash", headers={ATTEMPT_HEADER: "9"})
    assert fence.attempt == 3


@pytest.mark.parametrize("attempt", [b"x", b"\xb2"])
async def test_an_attempt_that_is_no_number_is_a_bad_request(client: httpx.AsyncClient, attempt: bytes) -> None:
    headers = [(b"Authorization", b"Bearer secret"), (ATTEMPT_HEADER.encode(), attempt)]
    response = await client.get("/v1/crash", headers=headers)
    assert (response.status_code, info_of(response).kind) == (422, ErrorKind.BAD_REQUEST)


@pytest.mark.parametrize("kind", ErrorKind)
async def test_every_kind_of_error_has_its_status_and_says_when_to_try_again(
    client: httpx.AsyncClient, kind: ErrorKind
) -> None:
    response = await client.get(f"/v1/fail/{kind}", headers=TOKEN)
    assert response.status_code == STATUS_OF_KIND[kind]
    assert info_of(response) == ErrorInfo(kind=kind, message="what happened", retryable=True, retry_after_seconds=0.2)
    assert response.headers["Retry-After"] == "1"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "body.max_tokens: this field is required; body.seed: this field is required"),
        ({"max_tokens": 0, "seed": 0}, "body.max_tokens: at least 1"),
        ({"max_tokens": 1, "seed": 0, "top_k": 3}, "body.top_k: unknown field"),
    ],
)
async def test_a_wrong_body_is_told_field_by_field(client: httpx.AsyncClient, body: Any, message: str) -> None:
    response = await client.post("/v1/sample", json=body, headers=TOKEN)
    assert response.status_code == 422
    assert info_of(response) == ErrorInfo(kind=ErrorKind.BAD_REQUEST, message=message)


async def test_what_is_no_json_is_a_bad_request(client: httpx.AsyncClient) -> None:
    for content in (b"{", b"\xff"):
        headers = TOKEN | {"Content-Type": "application/json"}
        response = await client.post("/v1/sample", content=content, headers=headers)
        assert (response.status_code, info_of(response).kind) == (422, ErrorKind.BAD_REQUEST)


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/absent"), ("DELETE", "/v1/sample")])
async def test_an_unknown_path_or_method_is_a_typed_error(client: httpx.AsyncClient, method: str, path: str) -> None:
    response = await client.request(method, path, headers=TOKEN)
    assert (response.status_code, info_of(response).kind) == (404, ErrorKind.NOT_FOUND)
    assert f"{method} {path}" in info_of(response).message


async def test_a_crash_is_logged_and_told_without_its_details(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    response = await client.get("/v1/crash", headers=TOKEN)
    info = info_of(response)
    assert (response.status_code, info.kind, info.retryable) == (500, ErrorKind.INTERNAL, True)
    assert "RuntimeError" in info.message
    assert "hunter2" not in info.message
    [record] = [record for record in caplog.records if record.name == "prorl_api.process.http_guard"]
    assert record.exc_info is not None
