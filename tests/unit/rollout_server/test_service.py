"""Groups, idempotency, segments and the rules about weights, driven through the HTTP API with a hand-written engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from prometheus_client import CollectorRegistry

from prorl_api.process.fence import AttemptFence
from prorl_api.process.tokens import AcceptedTokens, digest_of
from prorl_api.wire.base import ErrorBody, ErrorKind
from prorl_api.wire.rollout import RolloutServerState, WeightsProbe
from prorl_rollout_server.app import create_app
from prorl_rollout_server.engine import EngineLoadError
from prorl_rollout_server.group_registry import GroupRegistry
from prorl_rollout_server.groups import segment_seed
from prorl_rollout_server.metrics import Metrics
from prorl_rollout_server.service import RolloutService
from tests.unit.rollout_server.service_kit import (
    FIRST,
    SECOND,
    THIRD,
    FakeEngine,
    FakeFetcher,
    Server,
    completions,
    error_of,
    first_line,
    make_request,
    until,
    waiting,
)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    engine, fetcher = FakeEngine(), FakeFetcher()
    service = RolloutService(fetcher, Metrics("job", CollectorRegistry()), GroupRegistry(rejoin_seconds=0.01))  # type: ignore[arg-type]
    service.attach(engine)
    app = create_app(service, AcceptedTokens(frozenset()), AttemptFence())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server") as http:
        yield Server(engine=engine, fetcher=fetcher, service=service, http=http)
    await service.close()


async def test_each_completion_is_sampled_with_its_own_seed(server: Server) -> None:
    await server.load(FIRST)
    answer = completions(await server.generate(make_request()))
    assert [event.index for event in answer] == [0, 1]
    assert [call[2] for call in server.engine.calls if call[0].startswith("r/")] == [7, 8]


async def test_without_weights_requests_are_refused_and_may_come_again(server: Server) -> None:
    answer = await server.generate(make_request())
    error = ErrorBody.model_validate_json(answer.content).error
    assert (answer.status_code, error.kind, error.retryable) == (503, ErrorKind.NOT_READY, True)
    assert (await server.http.get("/readyz")).status_code == 503
    assert (await server.http.get("/healthz")).status_code == 200


async def test_requests_for_other_weights_are_refused(server: Server) -> None:
    await server.load(FIRST)
    answer = await server.generate(make_request(weights_id=SECOND.model_dump()))
    assert (answer.status_code, error_of(answer)) == (409, ErrorKind.WRONG_WEIGHTS)


async def test_what_cannot_fit_is_refused_naming_both_numbers(server: Server) -> None:
    await server.load(FIRST)
    answer = await server.generate(make_request(prompt_token_ids=[1] * 30, sampling={"max_tokens": 3}))
    assert answer.status_code == 422
    assert "33" in answer.text
    assert "32" in answer.text


async def test_a_request_repeated_by_its_id_is_not_sampled_again(server: Server) -> None:
    await server.load(FIRST)
    first = await server.generate(make_request())
    sampled = len(server.engine.calls)
    again = await server.generate(make_request())
    assert again.text == first.text
    assert len(server.engine.calls) == sampled


async def test_a_running_request_is_joined(server: Server) -> None:
    await server.load(FIRST)
    server.engine.automatic = False
    both = [asyncio.create_task(server.generate(make_request())) for _ in range(2)]
    await waiting(server, 2)
    server.engine.tick(6)
    first, second = await asyncio.gather(*both)
    assert first.text == second.text
    assert sum(call[0].startswith("r/") for call in server.engine.calls) == 2


async def test_an_id_used_with_another_body_is_refused(server: Server) -> None:
    await server.load(FIRST)
    await server.generate(make_request())
    answer = await server.generate(make_request(prompt_token_ids=[3]))
    assert (answer.status_code, error_of(answer)) == (422, ErrorKind.BAD_REQUEST)


async def test_new_weights_make_old_answers_forgotten(server: Server) -> None:
    await server.load(FIRST)
    await server.generate(make_request())
    await server.load(SECOND)
    (event, _) = completions(await server.generate(make_request()))
    assert event.segments[0].weights_id == SECOND


async def test_cancelling_aborts_in_the_engine_and_tells_the_listener(server: Server) -> None:
    await server.load(FIRST)
    server.engine.automatic = False
    running = asyncio.create_task(server.generate(make_request()))
    await waiting(server, 2)
    assert (await server.http.delete("/v1/generate/r")).status_code == 204
    last = (await running).text.splitlines()[-1]
    assert ErrorBody.model_validate_json(last).error.kind is ErrorKind.CANCELLED
    assert len(server.engine.aborted) == 2
    assert (await server.http.delete("/v1/generate/r")).status_code == 404


async def test_a_group_nobody_listens_to_is_cancelled_after_the_grace(server: Server) -> None:
    await server.load(FIRST)
    server.engine.automatic = False
    listening = asyncio.create_task(first_line(server.service.open_group(make_request())))
    await waiting(server, 2)
    listening.cancel()
    await asyncio.wait([listening])
    assert server.service.num_running == 1
    await until(lambda: server.service.num_running == 0)
    assert len(server.engine.aborted) == 2


async def test_a_group_rejoined_within_the_grace_goes_on(server: Server) -> None:
    await server.load(FIRST)
    server.engine.automatic = False
    listening = asyncio.create_task(first_line(server.service.open_group(make_request())))
    await waiting(server, 2)
    listening.cancel()
    await asyncio.wait([listening])
    rejoined = asyncio.create_task(server.generate(make_request()))
    await asyncio.sleep(0.03)
    server.engine.tick(6)
    assert len(completions(await rejoined)) == 2
    assert server.engine.aborted == []


async def test_weights_changed_in_flight_give_a_second_segment(server: Server) -> None:
    await server.load(FIRST)
    server.engine.automatic = False
    running = asyncio.create_task(server.generate(make_request(num_completions=1)))
    await waiting(server, 1)
    server.engine.tick(1)
    await until(lambda: server.engine.num_ticked == 1 and server.engine.num_waiting == 1)
    await server.load(SECOND)
    await until(lambda: server.engine.calls[-1][1] == [1, 2, 1002] and server.engine.num_waiting == 1)
    server.engine.tick(2)
    (event,) = completions(await running)
    assert [segment.weights_id for segment in event.segments] == [FIRST, SECOND]
    assert [segment.token_ids for segment in event.segments] == [[1002], [1003, 1004]]
    _, prompt, seed, max_tokens = server.engine.calls[-1]
    assert (prompt, seed, max_tokens) == ([1, 2, 1002], segment_seed(7, 1), 2)


def test_a_continued_segment_draws_anew_but_repeatably() -> None:
    assert segment_seed(7, 0) == 7
    assert segment_seed(7, 5) == segment_seed(7, 5)
    assert len({segment_seed(seed, tokens) for seed in range(4) for tokens in range(4)}) == 16
    assert 0 <= segment_seed(2**63 + 5, 0) < 2**63


async def test_weights_already_held_are_not_loaded_again(server: Server) -> None:
    await server.load(FIRST)
    calls = len(server.engine.calls)
    assert (await server.load(FIRST)).json()["source_kind"] == "held"
    assert len(server.engine.calls) == calls


async def test_sources_are_tried_in_order(server: Server) -> None:
    assert (await server.load(FIRST, "away", "corrupt", "here")).status_code == 200


async def test_corrupt_weights_leave_the_old_ones_served(server: Server) -> None:
    await server.load(FIRST)
    answer = await server.load(SECOND, "corrupt")
    assert (answer.status_code, error_of(answer)) == (422, ErrorKind.WEIGHTS_MISMATCH)
    assert completions(await server.generate(make_request()))[0].segments[0].weights_id == FIRST


async def test_unreachable_weights_are_worth_another_try(server: Server) -> None:
    error = ErrorBody.model_validate_json((await server.load(FIRST, "away")).content).error
    assert (error.kind, error.retryable) == (ErrorKind.INTERNAL, True)


async def test_weights_that_do_not_fit_leave_none_held_until_others_come(server: Server) -> None:
    await server.load(FIRST)
    server.engine.load_error = EngineLoadError("lm_head.weight missing")
    answer = await server.load(SECOND)
    assert (answer.status_code, error_of(answer)) == (422, ErrorKind.WEIGHTS_MISMATCH)
    assert "lm_head.weight" in (await server.http.get("/readyz")).text
    assert error_of(await server.generate(make_request())) is ErrorKind.NOT_READY
    server.engine.load_error = None
    assert (await server.load(FIRST)).json()["source_kind"] == "file"
    assert (await server.http.get("/readyz")).status_code == 200


async def test_completions_waiting_for_weights_that_do_not_fit_are_refused(server: Server) -> None:
    await server.load(FIRST)
    server.engine.automatic = False
    running = asyncio.create_task(server.generate(make_request(num_completions=1)))
    await waiting(server, 1)
    server.engine.load_error = EngineLoadError("bad")
    await server.load(SECOND)
    last = (await running).text.splitlines()[-1]
    assert ErrorBody.model_validate_json(last).error.kind is ErrorKind.NOT_READY


async def test_weights_that_generate_no_finite_number_are_not_held(server: Server) -> None:
    server.engine.logprob = float("nan")
    assert error_of(await server.load(FIRST)) is ErrorKind.WEIGHTS_MISMATCH
    assert (await server.http.get("/readyz")).status_code == 503


async def test_a_load_that_takes_too_long_is_an_error(server: Server) -> None:
    server.fetcher.release.clear()
    answer = await server.load(FIRST, timeout_seconds=0.01)
    assert (answer.status_code, error_of(answer)) == (500, ErrorKind.INTERNAL)


async def test_loads_come_one_after_the_other(server: Server) -> None:
    server.fetcher.release.clear()
    first = asyncio.create_task(server.load(FIRST))
    await until(lambda: server.service.is_loading)
    others = [asyncio.create_task(server.load(SECOND)) for _ in range(2)]
    await until(lambda: len(server.service._holder._tasks) == 3)
    server.fetcher.release.set()
    answers = [await task for task in (first, *others)]
    assert [answer.json()["source_kind"] for answer in answers] == ["file", "file", "held"]


async def test_of_the_loads_that_wait_only_the_one_asked_for_last_is_begun(server: Server) -> None:
    """A server that is slower than the training steps would else fall behind for ever."""
    server.fetcher.release.clear()
    first = asyncio.create_task(server.load(FIRST))
    await until(lambda: server.service.is_loading)
    passed_over = asyncio.create_task(server.load(SECOND))
    await until(lambda: len(server.service._holder._tasks) == 2)
    last = asyncio.create_task(server.load(THIRD))
    await until(lambda: len(server.service._holder._tasks) == 3)
    server.fetcher.release.set()
    answers = [await task for task in (first, passed_over, last)]
    assert [answer.status_code for answer in answers] == [200, 503, 200]
    assert error_of(answers[1]) is ErrorKind.NOT_READY
    assert server.service.weights_id == THIRD
    assert server.service.num_loads_begun == 2


@pytest.mark.parametrize(
    ("own", "learners", "bound", "is_served"),
    [
        (-0.5, [-0.5, -0.5], 0.2, True),
        (-0.5, [-0.6, -0.4], 0.1001, True),
        (-0.5, [-0.6, -0.2], 0.1999, False),
        (-0.5, [-0.5, -3.0], 0.2, False),
        (-8.0, [-0.5, -0.5], 0.2, False),
    ],
    ids=["equal", "mean 0.1 within", "mean 0.2 beyond", "one token far off", "all far off"],
)
async def test_weights_are_served_only_if_the_engine_computes_with_them_what_the_learner_does(
    server: Server, own: float, learners: list[float], bound: float, is_served: bool
) -> None:
    server.engine.logprob = own
    server.fetcher.probe = WeightsProbe(token_ids=[1, 2, 3], logprobs=learners, max_distance=bound)
    answer = await server.load(FIRST)
    assert server.service.ready is is_served
    if is_served:
        assert server.service.refused is None
        return
    assert error_of(answer) is ErrorKind.ENGINE_MISMATCH
    assert server.service.refused is not None
    assert server.service.refused.weights_id == FIRST
    assert "nats on average" in server.service.detail
    refused = await server.generate(make_request())
    assert error_of(refused) is ErrorKind.NOT_READY


async def test_a_refusal_ends_with_weights_that_agree(server: Server) -> None:
    server.fetcher.probe = WeightsProbe(token_ids=[1, 2], logprobs=[-9.0], max_distance=0.2)
    await server.load(FIRST)
    server.fetcher.probe = WeightsProbe(token_ids=[1, 2], logprobs=[-0.5], max_distance=0.2)
    assert (await server.load(SECOND)).status_code == 200
    assert (server.service.ready, server.service.refused) == (True, None)


async def test_a_pause_holds_requests_until_resume(server: Server) -> None:
    await server.load(FIRST)
    paused = RolloutServerState.model_validate_json((await server.http.post("/v1/pause")).content)
    assert paused.paused
    running = asyncio.create_task(server.generate(make_request()))
    await asyncio.sleep(0.01)
    assert not running.done()
    await server.http.post("/v1/resume")
    assert len(completions(await running)) == 2


async def test_calls_of_an_older_attempt_or_without_token_are_refused(server: Server) -> None:
    app = create_app(server.service, AcceptedTokens(frozenset({digest_of("secret")})), AttemptFence(3))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server") as http:
        assert error_of(await http.get("/v1/state")) is ErrorKind.UNAUTHORIZED
        headers = {"Authorization": "Bearer secret", "X-ProRL-Attempt": "2"}
        assert error_of(await http.get("/v1/state", headers=headers)) is ErrorKind.STALE_ATTEMPT


async def test_metrics_count_tokens_once(server: Server) -> None:
    await server.load(FIRST)
    await server.generate(make_request())
    await server.generate(make_request())
    text = (await server.http.get("/metrics")).text
    assert 'prorl_rollout_requests_total{outcome="done",prorl_job="job"} 1.0' in text
    assert 'prorl_rollout_completion_tokens_total{prorl_job="job"} 6.0' in text
    assert 'prorl_rollout_prompt_tokens_total{prorl_job="job"} 4.0' in text
    assert 'prorl_rollout_ready{prorl_job="job"} 1.0' in text


async def test_an_engine_that_hangs_with_new_weights_ends_the_process() -> None:
    """Else the server would say for ever that it is there, and nobody would start another."""
    engine, fetcher = FakeEngine(), FakeFetcher()
    metrics = Metrics("job", CollectorRegistry())
    service = RolloutService(fetcher, metrics, stuck_seconds=0.05)  # type: ignore[arg-type]
    service.attach(engine)
    app = create_app(service, AcceptedTokens(frozenset()), AttemptFence())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server") as http:
        server = Server(engine=engine, fetcher=fetcher, service=service, http=http)
        assert (await server.load(FIRST)).status_code == 200
        assert not service.engine_has_died
        engine.hangs = True
        assert error_of(await server.load(SECOND)) is ErrorKind.NOT_READY
    assert (service.ready, service.engine_has_died) == (False, True)
    assert "were not in place after 0.05 s" in service.detail
    await service.close()
