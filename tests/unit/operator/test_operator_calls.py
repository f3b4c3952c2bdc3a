"""Calls of the Kubernetes API and of learners, against servers on this machine that answer as a test wants."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web
from http_server import serving
from kubernetes.client import ApiClient, Configuration

from prorl_operator.client import Api, ApiError
from prorl_operator.learner_api import LearnerApi, make_session
from prorl_operator.telemetry import Telemetry

CONFIG_MAPS = {
    "kind": "APIResourceList",
    "groupVersion": "v1",
    "resources": [
        {"name": "configmaps", "singularName": "", "kind": "ConfigMap", "namespaced": True, "verbs": ["get"]}
    ],
}
DISCOVERY: dict[str, Any] = {
    "/version": {"gitVersion": "v1.34.4"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "groups": []},
    "/api/v1": CONFIG_MAPS,
}


async def get_config_map(answers: list[web.Response]) -> tuple[dict[str, Any] | None, list[str]]:
    """One read of a ConfigMap of a server that gives these answers; and what it was asked for."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path in DISCOVERY:
            return web.json_response(DISCOVERY[request.path])
        asked.append(request.path)
        return answers.pop(0)

    async with serving(answer) as url:
        configuration = Configuration(host=url)
        configuration.proxy = None
        client = ApiClient(configuration)
        api = await asyncio.to_thread(Api, client, Telemetry())
        try:
            return await asyncio.to_thread(api.get, "v1", "ConfigMap", "team", "plan"), asked
        finally:
            client.close()


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


async def test_what_is_applied_is_ascii_since_the_server_reads_it_as_yaml() -> None:
    received: list[bytes] = []
    text = "blank \u2028 line \x7f\x85 \N{BLACK STAR}"

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path in DISCOVERY:
            return web.json_response(DISCOVERY[request.path])
        received.append(await request.read())
        return web.json_response({})

    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "plan", "namespace": "team"},
        "data": {"text": text},
    }
    async with serving(answer) as url:
        client = ApiClient(Configuration(host=url, no_proxy="*"))
        api = await asyncio.to_thread(Api, client, Telemetry())
        await asyncio.to_thread(api.apply, body)
        client.close()

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
            return web.Response(status=307, headers={"Location": f"{other}/v1/status"})

        async with serving(redirect) as url, make_session() as session:
            assert await LearnerApi(session, url, attempt=1, token="secret").status() is None
    assert visited == []


async def test_a_learner_that_is_not_there_is_no_error() -> None:
    async with make_session() as session:
        assert await LearnerApi(session, "http://127.0.0.1:1", attempt=1, token="secret").status() is None
