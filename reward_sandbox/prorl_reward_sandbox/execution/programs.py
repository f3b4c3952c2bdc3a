"""The program service: languages, turns, caches and rewards. Knows no isolation level by name."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Sequence

from prorl_api.errors import RewardError
from prorl_api.process.api_error import ApiError
from prorl_api.wire.base import ErrorKind
from prorl_api.wire.sandbox import ExecuteRequest, ExecuteResponse, ProgramTestResult, Verdict
from prorl_reward_sandbox.execution.compiling.bounded_cache import BoundedCache, Made, digest_of
from prorl_reward_sandbox.execution.compiling.compilation import Compilers
from prorl_reward_sandbox.execution.compiling.languages.one_command import PYTHON
from prorl_reward_sandbox.execution.compiling.libraries import needed_libraries
from prorl_reward_sandbox.execution.compiling.toolchains import Installed, Toolchains, language_fault
from prorl_reward_sandbox.execution.isolation import Isolation
from prorl_reward_sandbox.execution.judging.companions import Companions, num_programs
from prorl_reward_sandbox.execution.judging.crowding import Floor
from prorl_reward_sandbox.execution.judging.functions import FunctionAnswer, FunctionCall, call_function
from prorl_reward_sandbox.execution.judging.rewards import verdict_of
from prorl_reward_sandbox.execution.judging.single_runs import RunResult, SingleRun, is_crowded_out_once, run_single
from prorl_reward_sandbox.execution.judging.testing import Tester
from prorl_reward_sandbox.execution.program_queue import Batch, ProgramQueue
from prorl_reward_sandbox.metrics import PROGRAMS, SandboxMetrics

MAX_SHOWN_BYTES = 64 * 2**20
"""Of what programs print, in one answer."""
_MAX_RESULT_BYTES = 64 * 2**20
_HANG_ON_LOAD = frozenset(
    {Verdict.TIMEOUT_CPU, Verdict.TIMEOUT_WALL, Verdict.SANDBOX_ERROR, Verdict.PIDS, Verdict.MEMORY}
)
"""Verdicts that the same program need not get again."""


class ProgramService:
    """Programs, a bounded number at once and a bounded number waiting.

    Args:
        isolation: What contains them.
        slots: Programs at once.
        max_queued: Programs that wait.
        metrics: Counted there.
        libraries: What programs in Python may use besides the standard library, unless a request says otherwise.
    """

    def __init__(
        self,
        isolation: Isolation,
        *,
        slots: int,
        max_queued: int,
        metrics: SandboxMetrics,
        libraries: Sequence[str] = (),
    ) -> None:
        self._libraries = libraries
        self._isolation = isolation
        self._queue = ProgramQueue(slots=slots, limit=max_queued)
        self._metrics = metrics
        self._toolchains = Toolchains(isolation)
        self._compilers = Compilers(isolation)
        self._floor = Floor()
        companions = Companions(isolation, slots)
        self._tester = Tester(isolation, self._compilers, self._toolchains, companions, self._floor, libraries)
        self._results: BoundedCache[ExecuteResponse] = BoundedCache(_MAX_RESULT_BYTES)

    @property
    def isolation_level(self) -> str:
        """What contains programs."""
        return self._isolation.name

    async def start(self) -> None:
        """Start the isolation and Python. Other languages are looked for when they are first asked for.

        Raises:
            RewardError: The isolation cannot be had, or there is no Python in it.
        """
        await self._isolation.start()
        self._queue.restrict(num_programs(self._isolation.max_runs))
        if await self._toolchains.get(PYTHON.name) is None:
            raise RewardError(f"isolation level {self._isolation.name!r} cannot run a Python program")

    async def close(self) -> None:
        """End everything."""
        await self._isolation.close()

    async def execute(self, request: ExecuteRequest, *, ignore_limit: bool = False) -> ExecuteResponse:
        """Judge one program.

        Raises:
            ApiError: `unsupported` for a language that is not available here.
            QueueFullError: Too many programs are waiting.
        """
        await self._installed(request.language)
        (response,) = await self.execute_all((request,), ignore_limit=ignore_limit, shown_bytes=MAX_SHOWN_BYTES)
        return response

    async def execute_all(
        self, requests: tuple[ExecuteRequest, ...], *, shown_bytes: int, ignore_limit: bool = False
    ) -> tuple[ExecuteResponse, ...]:
        """Judge programs, in any order; the responses are in the requests' order.

        If the caller is cancelled, those that wait are dropped and those that run are ended.

        Args:
            requests: The programs.
            shown_bytes: How much of what they print is in the responses, all together: their outputs are kept until
                the last program has ended, and must not fill the memory.
            ignore_limit: Run although the queue is full.

        Raises:
            QueueFullError: They do not all fit into the queue.
        """
        batch = self._queue.reserve(len(requests), ignore_limit=ignore_limit)
        self._metrics.set_queued_programs(self._queue.num_waiting)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._in_turn(batch, request, shown_bytes // len(requests)))
                    for request in requests
                ]
        finally:
            batch.close()
        return tuple(task.result() for task in tasks)

    async def run_once(self, run: SingleRun) -> RunResult:
        """Run a program once and say what it did; nothing is judged.

        Raises:
            ApiError: `unsupported` for a language that is not available here.
            QueueFullError: Too many programs are waiting.
            RewardError: The program could not be run.
        """
        installed = await self._installed(run.language)
        if installed.language is PYTHON:
            run = dataclasses.replace(run, libraries=needed_libraries(run.source, self._libraries))
        batch = self._queue.reserve(1)
        try:
            async with batch.turn():
                async with self._floor.together():
                    result = await run_single(self._isolation, self._compilers, installed, run)
                if is_crowded_out_once(result):
                    self._metrics.count_rerun()
                    async with self._floor.alone():
                        result = await run_single(self._isolation, self._compilers, installed, run)
                return result
        finally:
            batch.close()

    async def call_all(
        self, calls: Sequence[FunctionCall], *, ignore_limit: bool = False
    ) -> list[tuple[FunctionAnswer | RewardError, float, float]]:
        """Call functions, each in a jail of its own, in any order; per call the answer, or why there is none, the
        seconds that it took and those that it waited, in the calls' order.

        Raises:
            QueueFullError: They do not all fit into the queue.
        """
        installed = await self._installed(PYTHON.name)
        batch = self._queue.reserve(len(calls), ignore_limit=ignore_limit)
        self._metrics.set_queued_programs(self._queue.num_waiting)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._call_in_turn(batch, installed, call)) for call in calls]
        finally:
            batch.close()
        return [task.result() for task in tasks]

    async def _call_in_turn(
        self, batch: Batch, installed: Installed, call: FunctionCall
    ) -> tuple[FunctionAnswer | RewardError, float, float]:
        async with batch.turn() as queue_seconds:
            self._metrics.set_queued_programs(self._queue.num_waiting)
            started = time.monotonic()
            try:
                answer: FunctionAnswer | RewardError = await self._call(installed, call)
            except RewardError as error:
                answer = error
            return answer, time.monotonic() - started, queue_seconds

    async def _call(self, installed: Installed, call: FunctionCall) -> FunctionAnswer:
        """Call a function; one whose neighbours left it too little time once more, alone."""
        call = dataclasses.replace(call, libraries=needed_libraries(call.source, self._libraries))
        async with self._floor.together():
            answer = await call_function(self._isolation, self._compilers, installed, call)
        if is_crowded_out_once(RunResult(compilation=None, outcome=answer.outcome)):
            self._metrics.count_rerun()
            async with self._floor.alone():
                answer = await call_function(self._isolation, self._compilers, installed, call)
        return answer

    async def _installed(self, name: str) -> Installed:
        installed = await self._toolchains.get(name)
        if installed is None:
            raise ApiError(ErrorKind.UNSUPPORTED, language_fault(name))
        return installed

    async def _in_turn(self, batch: Batch, request: ExecuteRequest, shown_bytes: int) -> ExecuteResponse:
        installed = await self._toolchains.get(request.language)
        if installed is None:
            unsupported = ProgramTestResult(verdict=Verdict.UNSUPPORTED, detail=language_fault(request.language))
            return ExecuteResponse(tests=(unsupported,) * len(request.tests), isolation_level=self.isolation_level)
        async with batch.turn() as queue_seconds:
            self._metrics.set_queued_programs(self._queue.num_waiting)
            started = time.monotonic()
            response, is_cached = await self._cached(request, installed, shown_bytes)
            judge_seconds = time.monotonic() - started
        language = installed.language.name
        self._metrics.observe(PROGRAMS, queue_seconds=queue_seconds, judge_seconds=judge_seconds)
        if (compilation := response.compilation) is not None and not is_cached:
            self._metrics.count_compilation(language, compilation.verdict.value, is_cached=compilation.is_cached)
        for test in response.tests:
            self._metrics.count_program(language, test.verdict.value, self.isolation_level)
        return response.model_copy(
            update={"queue_seconds": queue_seconds, "judge_seconds": judge_seconds, "is_cached": is_cached}
        )

    async def _cached(
        self, request: ExecuteRequest, installed: Installed, shown_bytes: int
    ) -> tuple[ExecuteResponse, bool]:
        """Return the response, and whether it is that of an equal request."""
        if not request.deterministic:
            return await self._judge(request, installed, shown_bytes), False
        digest = digest_of(self.isolation_level, installed.version, shown_bytes, request.model_dump(mode="json"))
        return await self._results.get(digest, lambda: self._make(request, installed, shown_bytes))

    async def _make(self, request: ExecuteRequest, installed: Installed, shown_bytes: int) -> Made[ExecuteResponse]:
        response = await self._judge(request, installed, shown_bytes)
        verdicts = {test.verdict for test in response.tests}
        num_bytes = sum(1024 + len(test.stdout) + len(test.stderr) for test in response.tests)
        return Made(value=response, num_bytes=num_bytes, is_lasting=not verdicts & _HANG_ON_LOAD)

    async def _judge(self, request: ExecuteRequest, installed: Installed, shown_bytes: int) -> ExecuteResponse:
        judged = await self._tester.judge(request, installed, shown_bytes=shown_bytes)
        if judged.was_alone:
            self._metrics.count_rerun()
        _, reward = verdict_of(request, judged.tests)
        return ExecuteResponse(
            tests=judged.tests,
            isolation_level=self.isolation_level,
            reward=reward,
            compilation=judged.compilation,
        )
