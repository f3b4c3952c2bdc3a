"""Calls of the Kubernetes API and of learners, against servers on this machine that answer as a test wants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from http_server import serving
from kubernetes.client import ApiClient, Configuration

from prorl_operator.kube.client import Api, ApiError
from prorl_operator.kube.connection import connect
from prorl_operator.learner_api import LearnerApi, make_session
from prorl_operator.telemetry import Telemetry


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Api]:
    """The operator's client of a server."""
    client = ApiClient(Configuration(host=url, no_proxy="*"))
    async with connect(client) as connection:
        yield Api(connection, Telemetry())
    client.close()


async def get_config_map(answers: list[web.Response]) -> tuple[dict[str, Any] | None, list[str]]:
    """One read of a ConfigMap of a server that gives these answers; and what it was asked for."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        return answers.pop(0)

    async with serving(answer) as url, connected(url) as api:
        return await api.get("v1", "ConfigMap", "team", "plan"), asked


def busy() -> web.Response:
    return web.json_response({"message": "too many requests"}, status=429, headers={"Retry-After": "0"})


async def test_an_api_server_that_asks_to_wait_is_asked_again() -> None:
    found, asked = await get_config_map([busy(), busy(), web.json_response({"data": {"a": "b"}})])
    assert found == {"data": {"a": "b"}}
    assert asked == ["/api/v1/namespaces/team/configmaps/plan"] * 3


async def test_what_is_not_there_is_none() -> None:
    found, _ = await get_config_map([web.json_response({"message": 'configmaps "plan" not found'}, status=404)])
    assert found is None


async def test_a_refusal_tells_verb_object_status_and_the_server_s_words() -> None:
    with pytest.raises(ApiError, match=r"get configmaps team/plan: 500: etcd is on fire"):
        await get_config_map([web.json_response({"message": "etcd is on fire"}, status=500)])


async def test_a_server_without_the_kind_is_told_apart_from_one_without_the_object() -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=404, text="404 page not found\n")

    async with serving(answer) as url, connected(url) as api:
        with pytest.raises(ApiError, match=r"no kind PodGroup of scheduling.x-k8s.io/v1alpha1: install its Custom"):
            await api.list("scheduling.x-k8s.io/v1alpha1", "PodGroup", "team")


async def test_a_server_that_is_not_there_is_no_answer() -> None:
    async with connected("http://127.0.0.1:1") as api:
        with pytest.raises(ApiError, match="get configmaps team/plan: no answer: ") as caught:
            await api.get("v1", "ConfigMap", "team", "plan")
    assert (caught.value.status, caught.value.is_refusal) == (0, False)


async def test_calls_at_once_wait_each_for_itself() -> None:
    asked: dict[str, int] = {}

    async def answer(request: web.Request) -> web.StreamResponse:
        asked[request.path] = asked.get(request.path, 0) + 1
        await asyncio.sleep(0.01)
        return busy() if asked[request.path] < 3 else web.json_response({"path": request.path})

    async with serving(answer) as url, connected(url) as api:
        found = await asyncio.gather(*(api.get("v1", "ConfigMap", "team", f"plan-{number}") for number in range(20)))
    assert [body and body["path"].rpartition("/")[2] for body in found] == [f"plan-{number}" for number in range(20)]
    assert set(asked.values()) == {3}


async def test_what_is_applied_is_ascii_since_the_server_reads_it_as_yaml() -> None:
    received: list[bytes] = []
    text = "blank \u2028 line \x7f\x85 \N{BLACK STAR}"

    async def answer(request: web.Request) -> web.StreamResponse:
        received.append(await request.read())
        return web.json_response({})

    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "plan", "namespace": "team"},
        "data": {"text": text},
    }
    async with serving(answer) as url, connected(url) as api:
        await api.apply(body)

    assert received[0].isascii()
    assert b"\x7f" not in received[0]
    assert json.loads(received[0]) == body


async def test_a_learner_s_redirect_is_not_followed_so_that_the_token_stays() -> None:
    visited: list[str] = []

    async def elsewhere(request: web.Request) -> web.StreamResponse:
        visited.append(request.path)
        return web.json_response({})

    async with serving(elsewhere) as other:

        async def redirect(_: web.Request) -> web.StreamResponse:
            return web.Response(status=307, headers={"Location": f"{other}/v1/report"})

        async with serving(redirect) as url, make_session() as session:
            assert await LearnerApi(session, url, attempt=1, token="secret").report(-1) is None
    assert visited == []


async def test_a_learner_that_is_not_there_is_no_error() -> None:
    async with make_session() as session:
        assert await LearnerApi(session, "http://127.0.0.1:1", attempt=1, token="secret").report(-1) is None
