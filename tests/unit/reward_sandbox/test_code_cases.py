"""Completions for code rows from public reports about graders, and brothers of them: each with its right reward."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from prorl_api.rows import CodeRow
from prorl_api.spec.values import Domain
from prorl_api.wire.sandbox import ScoreItem
from prorl_reward_sandbox.service.code_rewards import CodeJudge
from tests.unit.reward_sandbox.program_kit import program_service
from tests.unit.verifiers.case_table import Case, load_cases

in_one_loop = pytest.mark.asyncio(loop_scope="module")

OTHERWISE = {
    "print(len(str(2**19999)))": 0.0,
    "return {1,3}": 0.0,
}
"""Cases of the table that are judged otherwise here, by what their programs hold; docs/code.md has the reasons."""
REPORTED = load_cases("cases_code.tsv")
BROTHERS = load_cases("cases_code_brothers.tsv")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def judge() -> AsyncIterator[CodeJudge]:
    async with program_service(slots=1) as programs:
        yield CodeJudge(programs)


async def reward(judge: CodeJudge, case: Case) -> float | None:
    item = ScoreItem(
        item_id="1",
        domain=Domain.CODE,
        row=dict(case.row),
        completion=case.completion,
        answer_format=case.answer_format,
    )
    (judged,) = await judge.judge([(item, CodeRow.model_validate(case.row))], timeout_seconds=60.0)
    return judged.judgement.reward


@in_one_loop
@pytest.mark.parametrize("case", REPORTED, ids=lambda case: case.name)
async def test_a_reported_case_has_the_reward_that_is_right(judge: CodeJudge, case: Case) -> None:
    right = next((value for text, value in OTHERWISE.items() if text in case.completion), case.right)
    assert (await reward(judge, case) or 0.0) == right


@in_one_loop
@pytest.mark.parametrize("case", BROTHERS, ids=lambda case: case.name)
async def test_a_brother_has_the_reward_that_is_right(judge: CodeJudge, case: Case) -> None:
    assert (await reward(judge, case) or 0.0) == case.right


def test_every_case_that_is_judged_otherwise_is_in_the_table() -> None:
    assert all(any(text in case.completion for case in REPORTED) for text in OTHERWISE)
