"""Judge a batch of completions: sort out what cannot be judged here, send programs to jails and the rest to the
verifier pool."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from prorl_api.rows import CodeRow, CustomRow, Row
from prorl_api.spec.values import Domain
from prorl_api.wire.sandbox import ScoreItem, ScoreRequest, ScoreResponse, ScoreResult
from prorl_reward_sandbox.execution.programs import ProgramService
from prorl_reward_sandbox.metrics import SandboxMetrics
from prorl_reward_sandbox.service.code_rewards import CodeJudge
from prorl_reward_sandbox.service.custom_rewards import CustomJudge
from prorl_reward_sandbox.service.row_faults import read_row
from prorl_reward_sandbox.workers.pool import JudgedItem, VerifierPool
from prorl_verifiers import AVAILABLE_DOMAINS
from prorl_verifiers.judgement import Judgement

JUDGED_DOMAINS = (*AVAILABLE_DOMAINS, Domain.CODE, Domain.CUSTOM)
"""What this service judges."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """An item with its row read, at its place in the request."""

    place: int
    item: ScoreItem
    row: Row


class ScoringService:
    """Turns score requests into score responses."""

    def __init__(self, pool: VerifierPool, programs: ProgramService, metrics: SandboxMetrics) -> None:
        self._pool = pool
        self._programs = programs
        self._code = CodeJudge(programs)
        self._custom = CustomJudge(programs)
        self._metrics = metrics

    @property
    def fault(self) -> str:
        """Why nothing can be judged now; empty if it can."""
        return self._pool.fault

    async def score(self, request: ScoreRequest, *, ignore_limit: bool = False) -> ScoreResponse:
        """Judge all items; `queue_seconds` of the response is the longest that an item waited.

        Raises:
            QueueFullError: They do not fit into the queues.
        """
        judged: dict[int, JudgedItem] = {}
        tasks: list[_Task] = []
        for place, item in enumerate(request.items):
            found = _read(item)
            if isinstance(found, Judgement):
                judged[place] = JudgedItem(judgement=found, judge_seconds=0.0, queue_seconds=0.0)
            else:
                tasks.append(_Task(place=place, item=item, row=found))
        judged |= await self._judge_all(tasks, request, ignore_limit)
        results = [judged[place] for place in range(len(request.items))]
        self._count(request.items, results)
        return ScoreResponse(
            results=tuple(_wire(item, result) for item, result in zip(request.items, results, strict=True)),
            queue_seconds=max(result.queue_seconds for result in results),
            isolation_level=self._programs.isolation_level if any(map(_runs_programs, tasks)) else "",
        )

    async def _judge_all(
        self, tasks: Sequence[_Task], request: ScoreRequest, ignore_limit: bool
    ) -> dict[int, JudgedItem]:
        """Programs and answers at the same time. Where one queue is full, the other's work is called off."""
        code = [task for task in tasks if isinstance(task.row, CodeRow)]
        custom = [task for task in tasks if isinstance(task.row, CustomRow)]
        answers = [task for task in tasks if not _runs_programs(task)]
        seconds = request.timeout_seconds
        try:
            async with asyncio.TaskGroup() as group:
                programs = self._code.judge(
                    [(task.item, task.row) for task in code if isinstance(task.row, CodeRow)],
                    timeout_seconds=seconds,
                    ignore_limit=ignore_limit,
                )
                functions = self._custom.judge(
                    [(task.item, task.row) for task in custom if isinstance(task.row, CustomRow)],
                    request.rewards,
                    timeout_seconds=seconds,
                    ignore_limit=ignore_limit,
                )
                verified = self._pool.judge(
                    [task.item.model_dump(mode="json", exclude={"item_id"}) for task in answers],
                    timeout_seconds=seconds,
                    ignore_limit=ignore_limit,
                )
                judging = [group.create_task(each) for each in (programs, functions, verified)]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from errors
        places = [task.place for task in (*code, *custom, *answers)]
        return dict(zip(places, [one for done in judging for one in done.result()], strict=True))

    def _count(self, items: Sequence[ScoreItem], results: Sequence[JudgedItem]) -> None:
        for item, result in zip(items, results, strict=True):
            self._metrics.count_item(item.domain.value, result.judgement.verdict.value)
            self._metrics.observe(
                item.domain.value, queue_seconds=result.queue_seconds, judge_seconds=result.judge_seconds
            )


def _runs_programs(task: _Task) -> bool:
    """Tell whether an item is judged in a jail."""
    return isinstance(task.row, CodeRow | CustomRow)


def _read(item: ScoreItem) -> Row | Judgement:
    """Return the item's row, or why the item cannot be judged here."""
    if item.domain not in JUDGED_DOMAINS:
        available = ", ".join(domain.value for domain in JUDGED_DOMAINS)
        return Judgement.unsupported(f"no verifier for domain {item.domain.value!r} here; available: {available}")
    row = read_row(item.domain, item.row)
    return Judgement.unsupported(row) if isinstance(row, str) else row


def _wire(item: ScoreItem, result: JudgedItem) -> ScoreResult:
    return ScoreResult(
        item_id=item.item_id,
        verdict=result.judgement.verdict,
        reward=result.judgement.reward,
        detail=result.judgement.detail,
        judge_seconds=result.judge_seconds,
    )
