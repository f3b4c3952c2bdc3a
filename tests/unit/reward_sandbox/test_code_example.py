"""The example's problems are right: their solutions pass, and doing nothing does not."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from prorl_api.rows import CodeRow
from prorl_api.spec.values import Domain
from prorl_api.wire.sandbox import ScoreItem
from prorl_reward_sandbox.execution.programs import ProgramService
from prorl_reward_sandbox.service.code_rewards import CodeJudge
from tests.unit.reward_sandbox.program_kit import program_service

pytestmark = pytest.mark.asyncio(loop_scope="module")

LINES = (Path(__file__).resolve().parents[3] / "examples" / "code" / "problems.jsonl").read_text().splitlines()
PROBLEMS = [json.loads(line) for line in LINES]
assert len({problem["prompt"] for problem in PROBLEMS}) == len(PROBLEMS) == 30


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def programs() -> AsyncIterator[ProgramService]:
    async with program_service() as service:
        yield service


async def rewards(programs: ProgramService, program: str | None) -> list[float | None]:
    """Rewards of a program, or of each problem's solution."""
    items = []
    for number, problem in enumerate(PROBLEMS):
        row = CodeRow.model_validate(problem["row"])
        completion = f"```python\n{program if program is not None else row.solution}\n```"
        item = ScoreItem(item_id=str(number), domain=Domain.CODE, row=problem["row"], completion=completion)
        items.append((item, row))
    return [judged.judgement.reward for judged in await CodeJudge(programs).judge(items, timeout_seconds=60)]


async def test_every_solution_passes_all_tests(programs: ProgramService) -> None:
    assert await rewards(programs, None) == [1.0] * len(PROBLEMS)


async def test_a_program_that_does_nothing_passes_no_problem(programs: ProgramService) -> None:
    # One problem's last test expects no output, which is what this prints: by itself that earns nothing.
    assert await rewards(programs, "pass") == [0.0] * len(PROBLEMS)
