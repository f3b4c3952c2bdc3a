"""The rollout servers' client against real HTTP: a group comes whole, from whichever server can give it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest
from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response, StreamingResponse

from prorl_api.errors import EngineMismatchError, RolloutError, StaleAttemptError
from prorl_api.process.api_error import ApiError
from prorl_api.process.fence import AttemptFence
from prorl_api.process.http_guard import install
from prorl_api.process.tokens import AcceptedTokens
from prorl_api.wire.base import ErrorBody, ErrorInfo, ErrorKind
from prorl_api.wire.learner import MemberHeartbeat
from prorl_api.wire.rollout import (
    CompletionEvent,
    DoneEvent,
    FinishReason,
    GeneratedSegment,
    GenerateRequest,
    LoadWeightsRequest,
    LoadWeightsResponse,
    Sampling,
    WeightSource,
)
from prorl_trainer.service.rollout_client import RolloutClient
from prorl_trainer.service.rollout_servers import RolloutServers
from prorl_trainer.service.shared_status import SharedStatus
from tests.unit.trainer.http_apps import free_address, served
from tests.unit.trainer.trainer_builders import WEIGHTS, make_shared_status

SOURCE = WeightSource(kind="http", location="http://learner/v1/weights/x")


def request(count: int = 2) -> GenerateRequest:
    sampling = Sampling(max_tokens=4, seed=1)
    return GenerateRequest(
        request_id="1.train.1.0", prompt_token_ids=[1, 2], num_completions=count, sampling=sampling, weights_id=WEIGHTS
    )


def lines(count: int, *, done: bool = True) -> list[str]:
    """The completions, last one first, as they might finish."""
    events = [
        CompletionEvent(
            index=index,
            segments=(GeneratedSegment(token_ids=[index], logprobs=[-0.5], weights_id=WEIGHTS),),
            finish_reason=FinishReason.STOP,
        ).model_dump_json()
        for index in reversed(range(count))
    ]
    return [*events, *([DoneEvent(prompt_tokens=2, completion_tokens=count).model_dump_json()] if done else [])]


class Server:
    """A rollout server that answers each generate call by its number."""

    def __init__(self, answer: Callable[[int], list[str] | ErrorInfo], *, attempt: int = 0) -> None:
        self.ids: list[str] = []
        self.loaded: list[str] = []
        self.app = FastAPI()
        install(self.app, AcceptedTokens(frozenset()), AttemptFence(attempt))

        @self.app.post("/v1/generate")
        async def generate(body: GenerateRequest) -> Response:
            self.ids.append(body.request_id)
            given = answer(len(self.ids))
            if isinstance(given, ErrorInfo):
                raise ApiError(given.kind, given.message)

            async def stream() -> AsyncIterator[str]:
                for line in given:
                    yield line + "\n"

            return StreamingResponse(stream(), media_type="application/x-ndjson")

        @self.app.post("/v1/weights")
        async def load(body: LoadWeightsRequest) -> Response:
            self.loaded.append(str(body.weights_id))
            done = LoadWeightsResponse(weights_id=body.weights_id, fetch_seconds=0, load_seconds=0, source_kind="http")
            return JSONResponse(done.model_dump(mode="json"))


class Clock:
    """Suspensions end by themselves: every look at the clock is a while later."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.5
        return self.now


def make_client(*urls: str, attempt: int = 1) -> tuple[RolloutClient, RolloutServers]:
    """With servers that say that they are there whenever the client looks for one."""
    members = RolloutServers(attempt, Clock())
    members.want(WEIGHTS, (SOURCE,))
    look = members.ready

    def heard_of_again() -> list[object]:
        for url in urls:
            beat = MemberHeartbeat(address=url, ready=True, weights_id=WEIGHTS, ttl_seconds=600)
            members.heartbeat(url, beat)
        return list(look())

    members.ready = heard_of_again  # type: ignore[assignment, method-assign]
    return RolloutClient(members, make_shared_status(attempt, 10), attempt), members


async def generate(*urls: str, attempt: int = 1) -> list[int]:
    client, _ = make_client(*urls, attempt=attempt)
    try:
        events = await client.generate(request(), 20.0)
    finally:
        await client.close()
    return [event.segments[0].token_ids[0] for event in events]


async def test_completions_come_in_order_of_their_index() -> None:
    server = Server(lambda _: lines(2))
    with served(server.app) as url:
        assert await generate(url) == [0, 1]


@pytest.mark.parametrize(
    "answer",
    [
        lines(2, done=False),
        lines(1),
        [],
        ["not json"],
        [lines(2)[0], ErrorBody(error=ErrorInfo(kind=ErrorKind.INTERNAL, message="engine died")).model_dump_json()],
    ],
    ids=["early end", "a completion is missing", "nothing", "nonsense", "error in the stream"],
)
async def test_a_broken_answer_gives_the_group_to_a_server_again_under_the_same_id(answer: list[str]) -> None:
    broken, whole = Server(lambda _: answer), Server(lambda _: lines(2))
    with served(broken.app) as first, served(whole.app) as second:
        assert await generate(first, second) == [0, 1]
    assert broken.ids == ["1.train.1.0"]
    assert whole.ids == ["1.train.1.0"]


@pytest.mark.parametrize("kind", [ErrorKind.BUSY, ErrorKind.NOT_READY, ErrorKind.WRONG_WEIGHTS, ErrorKind.INTERNAL])
async def test_a_refusal_is_tried_again(kind: ErrorKind) -> None:
    server = Server(lambda call: lines(2) if call == 3 else ErrorInfo(kind=kind, message="not now"))
    with served(server.app) as url:
        assert await generate(url) == [0, 1]
    assert len(server.ids) == 3


async def test_a_refused_connection_goes_to_another_server() -> None:
    server = Server(lambda _: lines(2))
    with served(server.app) as url:
        assert await generate(free_address(), url) == [0, 1]


async def test_tries_are_bounded() -> None:
    server = Server(lambda _: ErrorInfo(kind=ErrorKind.INTERNAL, message="no"))
    with served(server.app) as url, pytest.raises(RolloutError, match=r"no rollout server could answer .* in 8 tries"):
        await generate(url)
    assert len(server.ids) == 8


async def test_a_server_that_knows_a_newer_attempt_ends_this_one() -> None:
    server = Server(lambda _: lines(2), attempt=2)
    with served(server.app) as url, pytest.raises(StaleAttemptError, match="attempt 1 is over"):
        await generate(url, attempt=1)
    assert server.ids == []


async def test_waiting_for_a_server_is_no_failure() -> None:
    members = RolloutServers(1)
    members.want(WEIGHTS, (SOURCE,))
    client = RolloutClient(members, make_shared_status(1, 10), 1)
    server = Server(lambda _: lines(2))
    waiting = asyncio.create_task(client.generate(request(), 20.0))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    with served(server.app) as url:
        members.heartbeat("late", MemberHeartbeat(address=url, ready=True, weights_id=WEIGHTS))
        assert len(await waiting) == 2
        await client.close()


def hung_at_weights(hold: asyncio.Event, loads: list[str]) -> FastAPI:
    """A server that takes weights and does not answer until it may."""
    app = FastAPI()

    @app.post("/v1/weights")
    async def load(body: LoadWeightsRequest) -> Response:
        loads.append(str(body.weights_id))
        while not hold.is_set():  # noqa: ASYNC110  # set from the test's thread
            await asyncio.sleep(0.01)
        done = LoadWeightsResponse(weights_id=body.weights_id, fetch_seconds=0, load_seconds=0, source_kind="http")
        return JSONResponse(done.model_dump(mode="json"))

    return app


def make_publishing(*addresses: str) -> tuple[RolloutClient, RolloutServers, SharedStatus]:
    members, shared_status = RolloutServers(1), make_shared_status(1, 10)
    for address in addresses:
        beat = MemberHeartbeat(address=address, ready=False, weights_id=None, ttl_seconds=600)
        members.heartbeat(address, beat)
    members.want(WEIGHTS, (SOURCE,))
    return RolloutClient(members, shared_status, 1), members, shared_status


async def test_a_server_that_hangs_holds_up_no_publish_and_catches_up_later() -> None:
    hold, loads, server = asyncio.Event(), list[str](), Server(lambda _: lines(2))
    with served(hung_at_weights(hold, loads)) as hung, served(server.app) as healthy:
        client, members, _ = make_publishing(hung, healthy)
        started = time.monotonic()
        assert await client.publish(WEIGHTS, (SOURCE,), 600.0) == 1
        assert time.monotonic() - started < 30
        assert [member.address for member in members.ready()] == [healthy]
        hold.set()
        while len(members.ready()) < 2:  # noqa: ASYNC110  # the registry has no event
            await asyncio.sleep(0.01)
        await client.close()
    assert loads == [str(WEIGHTS)]


async def test_a_server_that_is_a_little_slower_is_waited_for() -> None:
    """Else the first one would get all prompts of the step."""
    hold, server = asyncio.Event(), Server(lambda _: lines(2))
    with served(hung_at_weights(hold, [])) as slower, served(server.app) as first:
        client, _, _ = make_publishing(slower, first)
        asyncio.get_running_loop().call_later(0.3, hold.set)
        assert await client.publish(WEIGHTS, (SOURCE,), 600.0) == 2
        await client.close()


async def test_a_server_that_is_behind_is_not_waited_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs the time that the others have once, and not at every step."""
    hold, server = asyncio.Event(), Server(lambda _: lines(2))
    newer = WEIGHTS.model_copy(update={"step": 1})
    with served(hung_at_weights(hold, [])) as hung, served(server.app) as healthy:
        client, members, _ = make_publishing(hung, healthy)
        assert await client.publish(WEIGHTS, (SOURCE,), 600.0) == 1
        monkeypatch.setattr("prorl_trainer.service.rollout_client._LEAST_GRACE_SECONDS", 3600.0)
        members.want(newer, (SOURCE,))
        assert await asyncio.wait_for(client.publish(newer, (SOURCE,), 600.0), 60) == 1
        await client.close()
        hold.set()


async def test_new_weights_end_the_wait_for_old_ones() -> None:
    hold, loads, server = asyncio.Event(), list[str](), Server(lambda _: lines(2))
    newer = WEIGHTS.model_copy(update={"step": 1})
    with served(hung_at_weights(hold, loads)) as hung, served(server.app) as healthy:
        client, members, _ = make_publishing(hung, healthy)
        for weights_id in (WEIGHTS, newer):
            members.want(weights_id, (SOURCE,))
            assert await client.publish(weights_id, (SOURCE,), 600.0) == 1
            assert len(client._loads) == 1
            while loads[-1:] != [str(weights_id)]:  # noqa: ASYNC110  # filled in another thread
                await asyncio.sleep(0.01)
        assert loads == [str(WEIGHTS), str(newer)]
        await client.close()
        assert client._loads == set()
        hold.set()


async def test_a_learner_that_waits_for_servers_gives_signs_of_life() -> None:
    members, shared_status = RolloutServers(1), make_shared_status(1, 10)
    client = RolloutClient(members, shared_status, 1)
    before = shared_status.status.heartbeat
    waiting = asyncio.create_task(client.wait_ready())
    while shared_status.status.heartbeat == before:  # noqa: ASYNC110  # the status has no event
        await asyncio.sleep(0.01)
    waiting.cancel()
    await client.close()


async def test_a_publish_that_all_servers_are_slow_at_gives_signs_of_life() -> None:
    hold = asyncio.Event()
    with served(hung_at_weights(hold, [])) as hung:
        client, _, shared_status = make_publishing(hung)
        before = shared_status.status.heartbeat
        publishing = asyncio.create_task(client.publish(WEIGHTS, (SOURCE,), 600.0))
        while shared_status.status.heartbeat == before:  # noqa: ASYNC110  # the status has no event
            await asyncio.sleep(0.01)
        assert not publishing.done()
        hold.set()
        assert await publishing == 1
        await client.close()


def refusing_weights() -> FastAPI:
    app = FastAPI()
    install(app, AcceptedTokens(frozenset()), AttemptFence())

    @app.post("/v1/weights")
    async def load(body: LoadWeightsRequest) -> Response:
        raise ApiError(ErrorKind.ENGINE_MISMATCH, "engine mismatch: 1.2 nats on average")

    return app


async def test_a_run_ends_where_all_servers_compute_another_model() -> None:
    with served(refusing_weights()) as url:
        client, _, _ = make_publishing(url)
        assert await client.publish(WEIGHTS, (SOURCE,), 20.0) == 0
        with pytest.raises(EngineMismatchError, match=r"1\.2 nats on average.*maxLogprobDistance"):
            await client.wait_ready()
        await client.close()


async def test_one_server_of_several_that_computes_another_model_gets_no_prompts() -> None:
    server = Server(lambda _: lines(2))
    with served(refusing_weights()) as wrong, served(server.app) as right:
        client, members, _ = make_publishing(wrong, right)
        assert await client.publish(WEIGHTS, (SOURCE,), 20.0) == 1
        await client.wait_ready()
        assert [member.address for member in members.ready()] == [right]
        await client.close()


async def test_publishing_counts_the_servers_that_acknowledge() -> None:
    server = Server(lambda _: lines(2))
    with served(server.app) as url:
        members = RolloutServers(1)
        for address in (url, free_address()):
            members.heartbeat(address, MemberHeartbeat(address=address, ready=False, weights_id=None))
        members.want(WEIGHTS, (SOURCE,))
        client = RolloutClient(members, make_shared_status(1, 10), 1)
        assert await client.publish(WEIGHTS, (SOURCE,), 20.0) == 1
        await client.close()
        assert [member.address for member in members.ready()] == [url]
    assert server.loaded == [str(WEIGHTS)]
