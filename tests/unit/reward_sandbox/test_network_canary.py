"""Whether a network policy is enforced is found by trying."""

from __future__ import annotations

import contextlib
import socket

import pytest
from fastapi import FastAPI

from prorl_api.errors import SpecError
from prorl_api.process.tokens import AcceptedTokens
from prorl_api.settings import SandboxSettings
from prorl_api.wire.isolation import PolicyFinding
from prorl_reward_sandbox.execution.levels.strongest import StrongestIsolation
from prorl_reward_sandbox.service import network_canary
from prorl_reward_sandbox.service.app import create_app
from prorl_reward_sandbox.service.network_canary import HOST_VARIABLE, NetworkCanary

NOBODY = "192.0.2.1"
"""Of a network that exists in no place (RFC 5737)."""


def listener() -> socket.socket:
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen()
    return server


async def test_a_connection_that_comes_through_is_told_with_a_remedy() -> None:
    with listener() as server:
        finding, words = await NetworkCanary(host="127.0.0.1", port=server.getsockname()[1]).finding()
    assert finding is PolicyFinding.NOT_ENFORCED
    assert "came through: install a network plugin that enforces NetworkPolicy" in words


async def test_a_refused_connection_came_through() -> None:
    with listener() as server:
        port = server.getsockname()[1]
    finding, words = await NetworkCanary(host="127.0.0.1", port=port).finding()
    assert (finding, "was refused" in words) == (PolicyFinding.NOT_ENFORCED, True)


async def test_silence_is_what_a_policy_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_canary, "_SILENCE_SECONDS", 0.2)
    with socket.socket() as server, contextlib.ExitStack() as kept:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(3):  # a full queue of connections: the kernel answers no further one
            waiting = kept.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        canary = NetworkCanary(host="127.0.0.1", port=server.getsockname()[1])
        assert (await canary.finding())[0] is PolicyFinding.ENFORCED


async def test_an_open_network_is_tried_again_at_once() -> None:
    with listener() as server:
        canary = NetworkCanary(host="127.0.0.1", port=server.getsockname()[1])
        open_network = (await canary.finding())[0]
        canary.host = "127.0.0.1.invalid"
        assert (open_network, (await canary.finding())[0]) == (PolicyFinding.NOT_ENFORCED, PolicyFinding.ENFORCED)


def test_outside_a_cluster_there_is_nothing_to_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(HOST_VARIABLE, raising=False)
    settings = SandboxSettings(network="policy-verified")
    with pytest.raises(SpecError, match="this is no cluster"):
        create_app(settings, StrongestIsolation(1), AcceptedTokens(frozenset()), job_name="job")


def test_the_application_is_made_where_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOST_VARIABLE, NOBODY)
    monkeypatch.setenv(network_canary.PORT_VARIABLE, "443")
    settings = SandboxSettings(network="policy-verified")
    assert isinstance(create_app(settings, StrongestIsolation(1), AcceptedTokens(frozenset()), job_name="job"), FastAPI)
