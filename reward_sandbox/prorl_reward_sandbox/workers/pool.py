"""The pool of verifier workers: a deadline enforced by killing, one retry for a worker's own death, no lost item.

Who is at fault decides the verdict. An answer that outlives its deadline is the model's failure (`timeout_wall`, 0).
A worker that dies by itself is ours: the item goes to another worker once and then is `sandbox_error`. An answer that
exhausts the memory of two workers, the second of them fresh, is the model's failure again (`memory`, 0).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from prorl_api.settings import SandboxSettings
from prorl_api.wire.sandbox import Verdict
from prorl_reward_sandbox import frames
from prorl_reward_sandbox.metrics import SandboxMetrics
from prorl_reward_sandbox.workers.fair_queue import FairQueue
from prorl_reward_sandbox.workers.process import WorkerProcess, ZygoteProcess
from prorl_reward_sandbox.workers.worker import FAILURE, FAILURE_MEMORY
from prorl_verifiers.judgement import Judgement, shorten

_MAX_ATTEMPTS = 2
_RESTART_PAUSE_SECONDS = 1.0
_LOADING = "the verifiers' libraries are loading"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedItem:
    """A judgement and what it cost."""

    judgement: Judgement
    judge_seconds: float
    queue_seconds: float


@dataclass(slots=True, kw_only=True)
class _Job:
    message: bytes
    timeout_seconds: float
    done: asyncio.Future[JudgedItem]
    queued_at: float = field(default_factory=time.monotonic)


class VerifierPool:
    """Judges items on worker processes."""

    def __init__(self, settings: SandboxSettings, metrics: SandboxMetrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._queue: FairQueue[_Job] = FairQueue(limit=settings.max_queued_items)
        self._zygote: ZygoteProcess | None = None
        self._fault = _LOADING
        self._workers: set[WorkerProcess] = set()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Warm up in the background; items queue until workers are there."""
        self._tasks.append(asyncio.create_task(self._keep_zygote(), name="verifier-zygote"))
        for index in range(self._settings.workers):
            self._tasks.append(asyncio.create_task(self._serve_slot(), name=f"verifier-slot-{index}"))

    async def close(self) -> None:
        """End all workers and the zygote."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for worker in tuple(self._workers):
            self._retire(worker)
        if self._zygote is not None:
            await self._zygote.stop()

    @property
    def fault(self) -> str:
        """Why no worker can be had now; empty if one can."""
        return self._fault

    def raise_if_broken(self) -> None:
        """Raise what ended a background task, if one has ended."""
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.result()
                raise RuntimeError(f"background task {task.get_name()} ended")

    async def judge(
        self, items: Sequence[dict[str, Any]], *, timeout_seconds: float, ignore_limit: bool = False
    ) -> list[JudgedItem]:
        """Judge items; the results are in their order. If the caller is cancelled, waiting items are dropped.

        Raises:
            QueueFullError: They do not fit into the queue.
        """
        loop = asyncio.get_running_loop()
        jobs = [
            _Job(message=frames.encode(item), timeout_seconds=timeout_seconds, done=loop.create_future())
            for item in items
        ]
        self._queue.put_batch(jobs, ignore_limit=ignore_limit)
        self._metrics.set_queued(len(self._queue))
        return list(await asyncio.gather(*(job.done for job in jobs)))

    async def _keep_zygote(self) -> None:
        """Keep a zygote running; its workers end with it and are replaced by the next one's."""
        while True:
            try:
                zygote = await ZygoteProcess.start(memory_bytes=self._settings.worker_memory_bytes)
            except (OSError, TimeoutError) as error:
                self._fault = f"the verifiers do not start: {error or type(error).__name__}"
                _logger.error("%s; trying again", self._fault)
                await asyncio.sleep(_RESTART_PAUSE_SECONDS)
                continue
            self._zygote, self._fault = zygote, ""
            exit_code = await zygote.wait()
            self._zygote, self._fault = None, _LOADING
            _logger.error("the verifier zygote ended; starting another", extra={"exit_code": exit_code})
            self._metrics.count_killed("zygote")

    async def _serve_slot(self) -> None:
        """One worker after another, one item after another."""
        worker: WorkerProcess | None = None
        while True:
            if worker is None or worker.is_gone():
                self._retire(worker)
                worker = await self._spawn()
            job = await self._queue.get()
            self._metrics.set_queued(len(self._queue))
            if not job.done.done():
                worker = await self._judge_job(job, worker)

    async def _judge_job(self, job: _Job, worker: WorkerProcess) -> WorkerProcess | None:
        """Judge one item, on a second worker if the first one fails; returns the worker if it can go on."""
        queue_seconds = time.monotonic() - job.queued_at
        current: WorkerProcess | None = worker
        failure = ""
        for attempt in range(_MAX_ATTEMPTS):
            if current is None:
                current = await self._spawn()
            started = time.monotonic()
            judgement, failure = await self._ask(current, job, is_last=attempt + 1 == _MAX_ATTEMPTS)
            keep = not failure
            if not keep or current.judged >= self._settings.recycle_after_items:
                self._retire(current)
                current = None
            if judgement is not None:
                break
        if judgement is None:
            judgement = Judgement(verdict=Verdict.SANDBOX_ERROR, reward=None, detail=f"twice: {failure}")
        if not job.done.done():
            judge_seconds = time.monotonic() - started
            job.done.set_result(
                JudgedItem(judgement=judgement, judge_seconds=judge_seconds, queue_seconds=queue_seconds)
            )
        return current

    async def _ask(self, worker: WorkerProcess, job: _Job, *, is_last: bool) -> tuple[Judgement | None, str]:
        """Return the judgement, or None and the reason why there is none. With a reason the worker must go."""
        try:
            async with asyncio.timeout(job.timeout_seconds):
                reply = (await worker.exchange(job.message)).header
        except TimeoutError:
            self._metrics.count_killed("deadline")
            detail = f"judging took longer than {job.timeout_seconds:g} s"
            return Judgement.failed(Verdict.TIMEOUT_WALL, detail), "deadline"
        except ConnectionError:
            self._metrics.count_killed("died")
            return None, "the verifier's process died"
        worker.judged += 1
        failure = reply.get(FAILURE)
        if failure is None:
            return _judgement(reply)
        self._metrics.count_killed("memory" if failure == FAILURE_MEMORY else "error")
        if failure == FAILURE_MEMORY and is_last:
            return Judgement.failed(Verdict.MEMORY, "the verifier ran out of memory on this answer"), failure
        return None, str(failure)

    async def _spawn(self) -> WorkerProcess:
        """Return a fresh worker, however long it takes to have one."""
        while True:
            zygote = self._zygote
            if zygote is not None:
                try:
                    worker = await zygote.fork_worker()
                except (OSError, TimeoutError) as error:
                    _logger.warning("no verifier worker yet: %s", error)
                else:
                    self._workers.add(worker)
                    return worker
            await asyncio.sleep(0.05)

    def _retire(self, worker: WorkerProcess | None) -> None:
        if worker is not None and worker in self._workers:
            self._workers.discard(worker)
            worker.kill()


def _judgement(reply: dict[str, Any]) -> tuple[Judgement | None, str]:
    """Return the judgement in a reply; a worker that answers nonsense has been tampered with and counts as failed."""
    try:
        judgement = Judgement(
            verdict=Verdict(reply["verdict"]), reward=reply["reward"], detail=shorten(str(reply["detail"]))
        )
        is_sound = (judgement.reward is not None) == judgement.verdict.has_reward and 0 <= (judgement.reward or 0) <= 1
    except (KeyError, TypeError, ValueError):
        is_sound = False
    return (judgement, "") if is_sound else (None, "the verifier's process answered nonsense")
