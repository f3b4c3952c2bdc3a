"""Reward functions of a user's own: in a jail, a completion each; what they cannot judge is masked and never a zero."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from prorl_api.rows import CustomRow
from prorl_api.spec.values import AnswerFormat, Domain
from prorl_api.wire.sandbox import RewardFunction, ScoreItem, Verdict
from prorl_reward_sandbox.execution.isolation import Isolation
from prorl_reward_sandbox.execution.programs import ProgramService
from prorl_reward_sandbox.metrics import SandboxMetrics
from prorl_reward_sandbox.service.custom_rewards import CustomJudge
from prorl_reward_sandbox.workers.pool import JudgedItem
from tests.unit.reward_sandbox.program_kit import program_service

in_one_loop = pytest.mark.asyncio(loop_scope="module")
LENGTH = "def score(completion, row):\n    return min(len(completion) / row['wanted'], 1)\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def programs() -> AsyncIterator[ProgramService]:
    async with program_service() as service:
        yield service


async def judge(
    programs: ProgramService, source: str, *completions: str, row: dict[str, Any] | None = None, **fields: Any
) -> list[JudgedItem]:
    row = row if row is not None else {"wanted": 4}
    seconds = fields.pop("timeout_seconds", 60.0)
    items = [
        ScoreItem(item_id=str(number), domain=Domain.CUSTOM, row=row, completion=text, **{"reward": "own", **fields})
        for number, text in enumerate(completions)
    ]
    rewards = {"own": RewardFunction(source=source, function="score")}
    rows = [CustomRow.model_validate(row)] * len(items)
    return await CustomJudge(programs).judge(list(zip(items, rows, strict=True)), rewards, timeout_seconds=seconds)


@in_one_loop
async def test_rewards_come_back_in_the_order_of_the_completions(programs: ProgramService) -> None:
    judged = await judge(programs, LENGTH, "", "ab", "abcd", "abcdefgh", "abc")
    assert [one.judgement.reward for one in judged] == [0.0, 0.5, 1.0, 1.0, 0.75]
    assert [one.judgement.verdict for one in judged] == [
        Verdict.WRONG,
        Verdict.PARTIAL,
        Verdict.CORRECT,
        Verdict.CORRECT,
        Verdict.PARTIAL,
    ]
    assert all(one.judge_seconds > 0 for one in judged)


def returning(text: str) -> str:
    return f"def score(completion, row):\n    return {text}\n"


@pytest.mark.parametrize(
    ("source", "verdict", "reward", "detail"),
    [
        (returning("True"), Verdict.CORRECT, 1.0, ""),
        (returning("False"), Verdict.WRONG, 0.0, ""),
        (returning("0"), Verdict.WRONG, 0.0, ""),
        (returning("1"), Verdict.CORRECT, 1.0, ""),
        (returning("row['nested']['a'][1] == 2.5"), Verdict.CORRECT, 1.0, ""),
        ("def score(completion, row):\n    print('chatty ' * 1000)\n    return 0.5\n", Verdict.PARTIAL, 0.5, ""),
        (f"import numpy as np\n{returning('np.float64(0.5)')}", Verdict.PARTIAL, 0.5, ""),
        (f"from fractions import Fraction\n{returning('Fraction(1, 2)')}", Verdict.UNSUPPORTED, None, "a Fraction"),
        (returning("None"), Verdict.UNSUPPORTED, None, "returned None"),
        (returning("2"), Verdict.UNSUPPORTED, None, "returned 2; it must return a number from 0 to 1"),
        (returning("-0.1"), Verdict.UNSUPPORTED, None, "a number from 0 to 1"),
        (returning("float('nan')"), Verdict.UNSUPPORTED, None, "a float that is not finite"),
        (returning("10 ** 400"), Verdict.UNSUPPORTED, None, "a number from 0 to 1"),
        (returning("'1.0'"), Verdict.UNSUPPORTED, None, "returned '1.0'"),
        (returning("[1.0]"), Verdict.UNSUPPORTED, None, "returned a list"),
        (returning("{'score': 1.0}"), Verdict.UNSUPPORTED, None, "returned a dict"),
        (returning("object()"), Verdict.UNSUPPORTED, None, "type object"),
        (returning("row['absent']"), Verdict.UNSUPPORTED, None, "raised KeyError: 'absent'"),
        (returning("1 / 0"), Verdict.UNSUPPORTED, None, "ZeroDivisionError"),
        (returning("__import__('sys').exit(0)"), Verdict.UNSUPPORTED, None, "SystemExit"),
        (returning("__import__('os')._exit(0)"), Verdict.UNSUPPORTED, None, "ended before score returned"),
        ("def score(completion):\n    return 1.0\n", Verdict.UNSUPPORTED, None, "TypeError"),
        ("def other(completion, row):\n    return 1.0\n", Verdict.UNSUPPORTED, None, "has no attribute 'score'"),
        ("import no_such_module\n", Verdict.UNSUPPORTED, None, "No module named 'no_such_module'"),
        ("def score(:\n", Verdict.UNSUPPORTED, None, "SyntaxError"),
    ],
)  # fmt: skip
@in_one_loop
async def test_what_is_no_reward_is_masked_with_its_reason(
    programs: ProgramService, source: str, verdict: Verdict, reward: float | None, detail: str
) -> None:
    (judged,) = await judge(programs, source, "text", row={"nested": {"a": [1, 2.5]}})
    assert (judged.judgement.verdict, judged.judgement.reward) == (verdict, reward), judged
    assert detail in judged.judgement.detail


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("while True: pass", "score took longer than 1 s (spec.sandbox.scoreTimeoutSeconds)"),
        ("import time; time.sleep(60)", "score took longer than 1 s (spec.sandbox.scoreTimeoutSeconds)"),
        ("return len([0] * 10 ** 10)", "score "),
    ],
    ids=["busy", "asleep", "large"],
)
@in_one_loop
async def test_a_function_that_runs_into_a_limit_gives_no_zero_and_says_which(
    programs: ProgramService, body: str, why: str
) -> None:
    (judged,) = await judge(programs, f"def score(completion, row):\n    {body}\n", "text", timeout_seconds=1.0)
    assert judged.judgement.reward is None, judged
    assert not judged.judgement.verdict.has_reward
    assert judged.judgement.detail.startswith(why)


SPOILING = """
state = []
def score(completion, row):
    state.append(completion)
    if completion == "spoil":
        import builtins, sys
        builtins.len = lambda _: 0
        sys.modules["math"] = None
        open("solution.py", "w").write("def score(completion, row): return 0")
    return 1.0 if len(state) == 1 else 0.0
"""


@in_one_loop
async def test_no_completion_meets_what_another_left_behind(programs: ProgramService) -> None:
    judged = await judge(programs, SPOILING, "spoil", *["good"] * 6)
    assert [one.judgement.reward for one in judged[1:]] == [1.0] * 6


async def test_a_function_is_contained_as_programs_are(isolation: Isolation) -> None:
    """A function that runs what the completion says gives it a jail and no more, at every level."""
    service = ProgramService(isolation, slots=1, max_queued=10, metrics=SandboxMetrics("test"))
    await service.start()
    attack = (
        "import os, socket\n"
        "def lost():\n"
        "    try:\n"
        "        socket.create_connection(('127.0.0.1', 1), timeout=1)\n"
        "    except ConnectionRefusedError:\n"
        "        return 'a network'\n"
        "    except OSError:\n"
        "        pass\n"
        "    return [name for name in os.environ if 'TOKEN' in name] or None\n"
    )
    source = "def score(completion, row):\n    exec(completion, globals())\n    return 0.0 if lost() else 1.0\n"
    (judged,) = await judge(service, source, attack)
    if isolation.name != "process":  # which keeps nothing off the network: docs/sandbox.md
        assert judged.judgement.reward == 1.0, judged
    (kill,) = await judge(service, source, "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\nlost = int\n")
    (after,) = await judge(service, LENGTH, "abcd")
    assert after.judgement.reward == 1.0, (kill, after)
    await service.close()


@pytest.mark.parametrize(
    ("form", "completion", "verdict", "reward"),
    [
        (AnswerFormat.TEXT, " <think>a</think>\n", Verdict.CORRECT, 1.0),
        (AnswerFormat.ANSWER_TAG, "so <answer> ab </answer>", Verdict.PARTIAL, 0.5),
        (AnswerFormat.BOXED, r"so \boxed{abc}", Verdict.PARTIAL, 0.75),
        (AnswerFormat.BOXED, "no box", Verdict.FORMAT_ERROR, 0.0),
    ],
)
@in_one_loop
async def test_the_answer_is_found_as_the_source_says(
    programs: ProgramService, form: AnswerFormat, completion: str, verdict: Verdict, reward: float
) -> None:
    (judged,) = await judge(programs, LENGTH, completion, answer_format=form)
    assert (judged.judgement.verdict, judged.judgement.reward) == (verdict, reward)


@in_one_loop
async def test_an_item_without_its_function_cannot_be_judged(programs: ProgramService) -> None:
    (judged,) = await judge(programs, LENGTH, "abcd", reward="other")
    assert (judged.judgement.verdict, judged.judgement.reward) == (Verdict.UNSUPPORTED, None)
