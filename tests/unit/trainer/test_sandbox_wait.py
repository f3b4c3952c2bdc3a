"""What the learner asks every sandbox before it begins, over real HTTP."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response
from tenacity import wait_none

from prorl_api.wire.isolation import IsolationReport, PolicyFinding
from prorl_trainer.service import sandbox_wait as module
from prorl_trainer.service.sandbox_wait import Judges
from tests.raw_words import RAW
from tests.unit.trainer.http_apps import free_address, served

STRONG = IsolationReport(level="namespaces", keeps_off_network=True)
WEAK = IsolationReport(level="process", keeps_off_network=False)
OPEN = IsolationReport(
    level="landlock", keeps_off_network=True, policy=PolicyFinding.NOT_ENFORCED, policy_detail="it came through"
)


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "wait_fixed", lambda _: wait_none())


def sandbox(*answers: IsolationReport | int | dict[str, object]) -> FastAPI:
    """Gives these answers one after the other, then the last one again."""
    app, left = FastAPI(), list(answers)

    @app.get("/v1/isolation")
    async def isolation() -> Response:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, int):
            return JSONResponse({}, status_code=answer)
        if isinstance(answer, dict):
            return JSONResponse(answer)
        return JSONResponse(answer.model_dump(mode="json"))

    return app


async def ask(*apps: FastAPI) -> tuple[IsolationReport, list[str]]:
    told: list[str] = []
    if len(apps) == 1:
        with served(apps[0]) as url:
            return await Judges([url], 1).wait_until_fit(told.append), told
    with served(apps[0]) as first, served(apps[1]) as second:
        return await Judges([first, second], 1).wait_until_fit(told.append), told


async def test_the_report_is_that_of_the_sandbox_that_contains_least() -> None:
    assert (await ask(sandbox(STRONG), sandbox(WEAK)))[0] == WEAK


async def test_one_that_is_not_up_yet_is_waited_for() -> None:
    report, told = await ask(sandbox(503, STRONG))
    assert report == STRONG
    assert len(told) == 1
    assert "answers 503" in told[0]


@pytest.mark.parametrize("strange", [{}, {"level": 3}, {**STRONG.model_dump(mode="json"), "keeps_off_network": "?"}])
async def test_one_that_says_something_else_is_waited_for_and_told_of_in_our_words(strange: dict[str, object]) -> None:
    report, told = await ask(sandbox(strange, STRONG))
    assert report == STRONG
    assert len(told) == 1
    assert "says nothing that can be read" in told[0]
    assert not RAW.search(told[0])


async def test_a_network_policy_that_lets_a_connection_through_is_waited_for_and_told() -> None:
    report, told = await ask(sandbox(OPEN, OPEN, STRONG))
    assert (report, told) == (STRONG, ["it came through", "it came through"])


async def test_one_that_is_out_of_reach_is_told() -> None:
    with pytest.raises(InterruptedError, match="does not answer yet: ConnectError"):
        await Judges([free_address()], 1).wait_until_fit(_give_up)


def _give_up(why: str) -> None:
    raise InterruptedError(why)
