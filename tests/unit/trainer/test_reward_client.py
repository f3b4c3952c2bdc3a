"""The judge's client against real HTTP: what is retried, what is masked, and that a failure is never a score."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from prorl_api.spec.values import Domain
from prorl_api.wire.base import ATTEMPT_HEADER
from prorl_api.wire.sandbox import RewardFunction, ScoreItem, ScoreRequest, ScoreResponse, ScoreResult, Verdict
from prorl_trainer.service import reward_client as module
from prorl_trainer.service.reward_client import RewardClient
from tests.raw_words import RAW
from tests.unit.trainer.http_apps import free_address, served

Answer = Callable[[int, ScoreRequest], Response]


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "wait_exponential_jitter", lambda **_: lambda _: 0.001)
    monkeypatch.setattr(module, "_LONGEST_WAIT_SECONDS", 0.001)


def items(count: int = 2) -> list[ScoreItem]:
    return [
        ScoreItem(item_id=f"i{number}", domain=Domain.MATH, row={"answer": "1"}, completion=str(number))
        for number in range(count)
    ]


def result(item: ScoreItem, reward: float | None) -> ScoreResult:
    verdict = Verdict.SANDBOX_ERROR if reward is None else Verdict.CORRECT
    return ScoreResult(item_id=item.item_id, verdict=verdict, reward=reward, detail="" if reward else "broke")


def scores(request: ScoreRequest, *rewards: float | None) -> Response:
    body = ScoreResponse(
        results=tuple(result(item, reward) for item, reward in zip(request.items, rewards, strict=True))
    )
    return JSONResponse(body.model_dump(mode="json"))


class Sandbox:
    """Answers each call by its number; notes which items were asked for."""

    def __init__(self, answer: Answer) -> None:
        self.asked: list[list[str]] = []
        self.attempts: set[str | None] = set()
        self.app = FastAPI()

        @self.app.post("/v1/score")
        async def score(request: ScoreRequest, headers: Request) -> Response:
            self.asked.append([item.item_id for item in request.items])
            self.attempts.add(headers.headers.get(ATTEMPT_HEADER))
            return answer(len(self.asked), request)


async def judge(url: str, *more: str, count: int = 2) -> list[ScoreResult]:
    client = RewardClient([url, *more], 3)
    try:
        return await client.score(items(count), 1.0)
    finally:
        await client.close()


def rewards(results: list[ScoreResult]) -> list[float | None]:
    assert [result.item_id for result in results] == [f"i{number}" for number in range(len(results))]
    return [result.reward for result in results]


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_busy_or_broken_sandbox_is_asked_again(status: int) -> None:
    sandbox = Sandbox(lambda call, request: Response(status_code=status) if call < 3 else scores(request, 0.5, 1.0))
    with served(sandbox.app) as url:
        assert rewards(await judge(url)) == [0.5, 1.0]
    assert len(sandbox.asked) == 3


def busy() -> Response:
    return Response(status_code=429, headers={"Retry-After": "1"})


async def test_a_full_queue_is_waited_for_and_nothing_is_masked() -> None:
    """Engines that are faster than the judges fill the queue for minutes."""
    sandbox = Sandbox(lambda call, request: busy() if call <= 50 else scores(request, 0.5, 1.0))
    with served(sandbox.app) as url:
        assert rewards(await judge(url)) == [0.5, 1.0]
    assert len(sandbox.asked) == 51


async def test_turns_in_which_the_queue_was_full_are_no_failures() -> None:
    def answer(call: int, request: ScoreRequest) -> Response:
        if call % 3:
            return busy()
        return Response(status_code=500) if call < 20 else scores(request, 0.5, 1.0)

    sandbox = Sandbox(answer)  # six failures, of eight that are borne, and fourteen full queues
    with served(sandbox.app) as url:
        assert rewards(await judge(url)) == [0.5, 1.0]
    assert len(sandbox.asked) == 21


async def test_items_that_the_judge_failed_on_behind_a_full_queue_are_asked_again() -> None:
    def answer(call: int, request: ScoreRequest) -> Response:
        if call <= 5:
            return busy()
        return scores(request, 0.5, None) if call == 6 else scores(request, 1.0)

    sandbox = Sandbox(answer)
    with served(sandbox.app) as url:
        assert rewards(await judge(url)) == [0.5, 1.0]


async def test_a_queue_that_stays_full_masks_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BUSY_SECONDS", 0.05)
    with served(Sandbox(lambda *_: busy()).app) as url:
        assert rewards(await judge(url)) == [None, None]


async def test_no_more_is_sent_than_a_queue_takes_and_everybody_has_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixty batches at once, of which five fit, and one that is larger than everything that may be under way."""
    monkeypatch.setattr(module, "_ITEMS_AT_ONCE", 10)
    under_way, most = 0, 0
    app = FastAPI()

    @app.post("/v1/score")
    async def score(request: ScoreRequest) -> Response:
        nonlocal under_way, most
        under_way += len(request.items)
        most = max(most, under_way if len(request.items) <= 10 else 0)
        assert len(request.items) <= 10 or under_way == len(request.items), "a large batch is alone"
        await asyncio.sleep(0.001)
        under_way -= len(request.items)
        return scores(request, *[1.0] * len(request.items))

    with served(app) as url:
        client = RewardClient([url], 3)
        try:
            found = await asyncio.gather(*(client.score(items(25 if n == 30 else 2), 1.0) for n in range(60)))
        finally:
            await client.close()
    assert [rewards(result) for result in found] == [[1.0] * (25 if n == 30 else 2) for n in range(60)]
    assert most == 10


async def test_a_batch_that_is_given_up_leaves_its_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ITEMS_AT_ONCE", 2)
    held = asyncio.Event()
    app = FastAPI()

    @app.post("/v1/score")
    async def score(request: ScoreRequest) -> Response:
        if not held.is_set():
            held.set()
            await asyncio.sleep(60)
        return scores(request, 0.5, 1.0)

    with served(app) as url:
        client = RewardClient([url], 3)
        try:
            first, second = (asyncio.create_task(client.score(items(), 1.0)) for _ in range(2))
            await asyncio.sleep(0.2)  # the second one waits for room by then, or is about to
            first.cancel()
            assert rewards(await second) == [0.5, 1.0]
        finally:
            await client.close()


async def test_a_refused_connection_goes_to_the_next_sandbox() -> None:
    sandbox = Sandbox(lambda _, request: scores(request, 0.0, 1.0))
    with served(sandbox.app) as url:
        assert rewards(await judge(free_address(), url)) == [0.0, 1.0]


async def test_items_the_judge_failed_on_are_asked_again_and_alone() -> None:
    sandbox = Sandbox(lambda call, request: scores(request, 0.5, None) if call == 1 else scores(request, 1.0))
    with served(sandbox.app) as url:
        assert rewards(await judge(url)) == [0.5, 1.0]
    assert sandbox.asked == [["i0", "i1"], ["i1"]]


async def test_items_the_judge_keeps_failing_on_are_masked_and_not_scored_zero() -> None:
    sandbox = Sandbox(lambda call, request: scores(request, *([0.5, None] if call == 1 else [None])))
    with served(sandbox.app) as url:
        results = await judge(url)
    assert rewards(results) == [0.5, None]
    assert results[1].verdict is Verdict.SANDBOX_ERROR
    assert sandbox.asked == [["i0", "i1"], ["i1"], ["i1"]]


async def test_when_no_sandbox_answers_everything_is_masked() -> None:
    results = await judge(free_address())
    assert rewards(results) == [None, None]
    assert {result.verdict for result in results} == {Verdict.SANDBOX_ERROR}


async def test_an_answer_that_is_not_understood_is_no_score() -> None:
    sandbox = Sandbox(lambda *_: JSONResponse({"results": [{"item_id": "i0", "reward": 7}]}))
    with served(sandbox.app) as url:
        assert rewards(await judge(url)) == [None, None]
    assert len(sandbox.asked) == 8, "tries are bounded"


def raw(body: str) -> Response:
    return Response(body, media_type="application/json")


def raw_result(item_id: str, verdict: str = '"correct"', reward: str = "1.0", **more: str) -> str:
    fields = {"item_id": f'"{item_id}"', "verdict": verdict, "reward": reward, **more}
    return "{" + ", ".join(f'"{name}": {value}' for name, value in fields.items()) + "}"


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ([raw_result("i1", reward="NaN")], "reward is no answer"),
        ([raw_result("i1", reward="Infinity")], "reward is no answer"),
        ([raw_result("i1", reward="-Infinity")], "reward is no answer"),
        ([raw_result("i1", reward="1.5")], "reward is no answer: wanted at most 1, got 1.5"),
        ([raw_result("i1", reward="-0.1")], "reward is no answer"),
        ([raw_result("i1", reward="null")], "contradict each other"),
        ([raw_result("i1", reward="[]")], "reward is no answer: wanted a number, without quotes, got []"),
        ([raw_result("i1", verdict='"splendid"')], "verdict is no answer: wanted `correct`, "),
        ([raw_result("i1", verdict='"sandbox_error"')], "contradict each other"),
        ([raw_result("i1", answer='"42"')], "answer is no answer"),
        ([raw_result("i1"), raw_result("i1", reward="0.5")], "2 results for i1"),
        ([raw_result("i7")], "0 results for i1"),
        ([], "0 results for i1"),
        (["3", "[]", "null", '{"item_id": 1}'], "0 results for i1"),
    ],
    ids=str,
)
async def test_a_result_that_is_none_is_masked_and_leaves_the_others_alone(broken: list[str], why: str) -> None:
    def answer(call: int, request: ScoreRequest) -> Response:
        good = [
            raw_result(item.item_id, reward="0.5", verdict='"partial"')
            for item in request.items
            if item.item_id != "i1"
        ]
        return raw('{"results": [' + ", ".join([*good, *broken]) + "]}")

    sandbox = Sandbox(answer)
    with served(sandbox.app) as url:
        results = await judge(url, count=3)
    assert rewards(results) == [0.5, None, 0.5]
    assert results[1].verdict is Verdict.SANDBOX_ERROR
    assert sandbox.asked == [["i0", "i1", "i2"], ["i1"], ["i1"]], "only the broken one is asked for again"
    assert why in results[1].detail
    assert not RAW.search(results[1].detail)


async def test_a_nan_that_passes_is_no_failure() -> None:
    """Asked again, the judge may succeed."""
    sandbox = Sandbox(
        lambda call, request: (
            raw('{"results": [' + raw_result("i0") + ", " + raw_result("i1", reward="NaN") + "]}")
            if call == 1
            else scores(request, 0.5)
        )
    )
    with served(sandbox.app) as url:
        assert rewards(await judge(url)) == [1.0, 0.5]


@pytest.mark.parametrize("body", ["", "[]", "null", '{"results": 3}', '{"results": []}', "{", "NaN"])
async def test_an_answer_without_a_single_result_is_asked_for_again(body: str) -> None:
    sandbox = Sandbox(lambda call, request: raw(body) if call < 3 else scores(request, 0.5, 1.0))
    with served(sandbox.app) as url:
        assert rewards(await judge(url)) == [0.5, 1.0]


async def test_every_call_carries_the_attempt() -> None:
    sandbox = Sandbox(lambda _, request: scores(request, 1.0))
    with served(sandbox.app) as url:
        await judge(url, count=1)
    assert sandbox.attempts == {"3"}


async def test_functions_travel_with_the_items_that_name_them_and_no_others() -> None:
    sent: list[ScoreRequest] = []

    def answer(_: int, request: ScoreRequest) -> Response:
        sent.append(request)
        return scores(request, *[1.0] * len(request.items))

    functions = {name: RewardFunction(source=f"# {name}", function="score") for name in ("own", "other")}
    sandbox = Sandbox(answer)
    item = ScoreItem(item_id="i0", domain=Domain.CUSTOM, row={}, completion="text", reward="own")
    with served(sandbox.app) as url:
        client = RewardClient([url], 3, rewards=functions)
        try:
            await client.score([item], 1.0)
            await client.score(items(1), 1.0)
        finally:
            await client.close()
    assert [dict(request.rewards) for request in sent] == [{"own": functions["own"]}, {}]
