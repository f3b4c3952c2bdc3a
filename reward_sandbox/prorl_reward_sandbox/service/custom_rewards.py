"""Judge completions of domain `custom`: call the user's own function, each completion in a jail of its own.

What the function cannot judge is its failure and never the completion's: an error, a limit, or a value that is no
reward leaves the completion without one, masked and counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prorl_api.errors import RewardError
from prorl_api.rows import CustomRow
from prorl_api.spec.values import AnswerFormat
from prorl_api.wire.sandbox import ExecutionLimits, RewardFunction, ScoreItem, Verdict
from prorl_reward_sandbox.execution.judging.functions import FunctionAnswer, FunctionCall
from prorl_reward_sandbox.execution.programs import ProgramService
from prorl_reward_sandbox.workers.pool import JudgedItem
from prorl_verifiers.extraction import extract
from prorl_verifiers.judgement import Judgement, shorten

_LONGEST_SECONDS = 120.0
_MEMORY_BYTES = 1024 * 2**20


class CustomJudge:
    """Judges by functions that come with the request."""

    def __init__(self, programs: ProgramService) -> None:
        self._programs = programs

    async def judge(
        self,
        items: Sequence[tuple[ScoreItem, CustomRow]],
        rewards: Mapping[str, RewardFunction],
        *,
        timeout_seconds: float,
        ignore_limit: bool = False,
    ) -> list[JudgedItem]:
        """Judge items; the results are in their order.

        Raises:
            QueueFullError: They do not fit into the queue.
        """
        prepared = [_prepare(item, rewards.get(item.reward), timeout_seconds) for item, _ in items]
        calls = [each for each in prepared if isinstance(each, FunctionCall)]
        answers = iter(await self._programs.call_all(calls, ignore_limit=ignore_limit) if calls else ())
        return [
            JudgedItem(judgement=each, judge_seconds=0.0, queue_seconds=0.0)
            if isinstance(each, Judgement)
            else _judged(next(answers))
            for each in prepared
        ]


def _prepare(item: ScoreItem, reward: RewardFunction | None, timeout_seconds: float) -> FunctionCall | Judgement:
    if reward is None:
        return Judgement.unsupported(f"the request has no reward function {item.reward!r}")
    is_whole = item.answer_format is AnswerFormat.TEXT
    answer = item.completion if is_whole else extract(item.completion, item.answer_format)
    if answer is None:
        return Judgement.failed(Verdict.FORMAT_ERROR, f"no answer in the form {item.answer_format.value!r}")
    seconds = min(timeout_seconds, _LONGEST_SECONDS)
    limits = ExecutionLimits(
        wall_seconds=seconds, cpu_seconds=min(2 * seconds, _LONGEST_SECONDS), memory_bytes=_MEMORY_BYTES
    )
    return FunctionCall(source=reward.source, function=reward.function, arguments=(answer, item.row), limits=limits)


def _judged(found: tuple[FunctionAnswer | RewardError, float, float]) -> JudgedItem:
    answer, judge_seconds, queue_seconds = found
    judgement = _failure(str(answer)) if isinstance(answer, RewardError) else judgement_of(answer)
    return JudgedItem(judgement=judgement, judge_seconds=judge_seconds, queue_seconds=queue_seconds)


def judgement_of(answer: FunctionAnswer) -> Judgement:
    """Return the verdict on what a function answered. A bool counts as 0 or 1; None is for what it cannot judge."""
    if answer.fault:
        return Judgement.unsupported(answer.fault) if answer.is_final else _failure(answer.fault)
    value = answer.value
    if value is None:
        return Judgement.unsupported("the reward function returned None")
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        shown = repr(value)[:100] if isinstance(value, int | float | str) else f"a {_kind(value)}"
        return Judgement.unsupported(f"the reward function returned {shown}; it must return a number from 0 to 1")
    return Judgement.of_score(float(value), "")


def _kind(value: object) -> str:
    """Name the type of a form of `harness.canonical`."""
    tag = next(iter(value)) if isinstance(value, dict) and len(value) == 1 else ""
    kinds = {"t": "tuple", "s": "set", "z": "frozenset", "d": "dict", "b": "bytes", "f": "float that is not finite"}
    kinds |= {"q": "deque", "r": "range", "D": "Decimal", "F": "Fraction", "a": "numpy array"}
    return kinds.get(tag, "list")


def _failure(detail: str) -> Judgement:
    return Judgement(verdict=Verdict.SANDBOX_ERROR, reward=None, detail=shorten(detail))
