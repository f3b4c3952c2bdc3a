"""One group of completions: samples each to its end, over as many sets of weights as it takes, and keeps the answer.

A group outlives the connection that asked for it: every listener gets all lines from the first one on. Lines are kept
as sent, since base64 takes a fifth of what lists of Python numbers take.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable
from enum import StrEnum

from prorl_api.process.api_error import ApiError
from prorl_api.wire.base import ErrorBody, ErrorInfo, ErrorKind, WeightsId
from prorl_api.wire.rollout import CompletionEvent, DoneEvent, FinishReason, GeneratedSegment, GenerateRequest
from prorl_rollout_server.engine import Engine, EngineDiedError, EngineRefusedError, SampleEnd
from prorl_rollout_server.gate import Gate

_SEED_LIMIT = 2**63
_FINISH_REASONS = {SampleEnd.STOP: FinishReason.STOP, SampleEnd.LENGTH: FinishReason.LENGTH}
_logger = logging.getLogger(__name__)


class GroupOutcome(StrEnum):
    """How a group ended."""

    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


class Group:
    """A running or finished group.

    Args:
        weights_of: Finds the id that belongs to a version string of the engine.
    """

    def __init__(
        self, request: GenerateRequest, engine: Engine, gate: Gate, weights_of: Callable[[str], WeightsId]
    ) -> None:
        self.request = request
        self.listeners = 0
        self.outcome: GroupOutcome | None = None
        self.num_bytes = 0
        self.completion_tokens = 0
        self.cached_prompt_tokens = 0
        self._engine = engine
        self._gate = gate
        self._weights_of = weights_of
        self._lines: list[bytes] = []
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self, on_end: Callable[[Group], None]) -> None:
        """Begin to sample; `on_end` is called once, when nothing more will come."""
        self._task = asyncio.create_task(self._run(on_end), name=f"group {self.request.request_id}")

    async def cancel(self) -> None:
        """Abort in the engine; listeners get a `cancelled` error line. No effect on a finished group."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])

    async def lines(self) -> AsyncIterator[bytes]:
        """Give all lines from the first one on, as they come, until the last."""
        position = 0
        while True:
            news = self._news
            while position < len(self._lines):
                yield self._lines[position]
                position += 1
            if self.outcome is not None and position == len(self._lines):
                return
            if news is self._news:
                await news.wait()

    async def _run(self, on_end: Callable[[Group], None]) -> None:
        try:
            async with asyncio.TaskGroup() as completions:
                for index in range(self.request.num_completions):
                    completions.create_task(self._complete(index))
            self._end(GroupOutcome.DONE, self._done_event())
        except asyncio.CancelledError:
            message = f"request {self.request.request_id} was cancelled"
            self._end(GroupOutcome.CANCELLED, ErrorBody(error=ErrorInfo(kind=ErrorKind.CANCELLED, message=message)))
        except ExceptionGroup as errors:
            self._end(GroupOutcome.FAILED, ErrorBody(error=_as_info(errors.exceptions[0])))
        on_end(self)

    async def _complete(self, index: int) -> None:
        request = self.request
        segments: list[GeneratedSegment] = []
        tokens: list[int] = []
        while True:
            await self._gate.passing()
            sample = await self._engine.sample(
                f"{request.request_id}/{index}/{len(segments)}",
                request.prompt_token_ids + tokens,
                request.sampling,
                seed=segment_seed(request.sampling.seed + index, len(tokens)),
                max_tokens=request.sampling.max_tokens - len(tokens),
            )
            if not tokens:
                self.cached_prompt_tokens += sample.cached_prompt_tokens
            if sample.token_ids:
                assert sample.version is not None
                weights_id = self._weights_of(sample.version)
                segments.append(
                    GeneratedSegment(token_ids=sample.token_ids, logprobs=sample.logprobs, weights_id=weights_id)
                )
                tokens += sample.token_ids
                self.completion_tokens += len(sample.token_ids)
            reason = _finish_reason(sample.end, remaining=request.sampling.max_tokens - len(tokens))
            if reason is not None:
                event = CompletionEvent(index=index, segments=tuple(_merged(segments)), finish_reason=reason)
                self._append(event)
                return

    def _done_event(self) -> DoneEvent:
        return DoneEvent(
            prompt_tokens=len(self.request.prompt_token_ids),
            cached_prompt_tokens=self.cached_prompt_tokens,
            completion_tokens=self.completion_tokens,
        )

    def _end(self, outcome: GroupOutcome, event: DoneEvent | ErrorBody) -> None:
        self.outcome = outcome
        self._append(event)

    def _append(self, event: CompletionEvent | DoneEvent | ErrorBody) -> None:
        line = event.model_dump_json().encode() + b"\n"
        self._lines.append(line)
        self.num_bytes += len(line)
        news, self._news = self._news, asyncio.Event()
        news.set()


def segment_seed(seed: int, num_tokens_before: int) -> int:
    """Give the seed of the segment after so many tokens: `seed` itself at the start, else derived from both.

    The engine's random generator is lost at an interruption; using the seed again would repeat the same draws.
    """
    if num_tokens_before == 0:
        return seed % _SEED_LIMIT
    digest = hashlib.sha256(f"{seed}/{num_tokens_before}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % _SEED_LIMIT


def _finish_reason(end: SampleEnd, *, remaining: int) -> FinishReason | None:
    """Give the reason why a completion ended; None if it is to be continued."""
    if end is SampleEnd.INTERRUPTED:
        return FinishReason.LENGTH if remaining <= 0 else None
    return _FINISH_REASONS[end]


def _merged(segments: list[GeneratedSegment]) -> list[GeneratedSegment]:
    """Join neighbours of the same weights: an interruption that put the same weights back is no change."""
    merged: list[GeneratedSegment] = []
    for segment in segments:
        if merged and merged[-1].weights_id == segment.weights_id:
            last = merged.pop()
            segment = GeneratedSegment(  # noqa: PLW2901
                token_ids=last.token_ids + segment.token_ids,
                logprobs=last.logprobs + segment.logprobs,
                weights_id=last.weights_id,
            )
        merged.append(segment)
    return merged


def _as_info(error: Exception) -> ErrorInfo:
    """Say what the listeners are told of a completion that failed; log the unexpected here, at the task's edge."""
    match error:
        case ApiError():
            return error.info
        case EngineRefusedError():
            return ErrorInfo(kind=ErrorKind.BAD_REQUEST, message=str(error))
        case EngineDiedError():
            return ErrorInfo(kind=ErrorKind.NOT_READY, message=f"the engine died: {error}", retryable=True)
        case _:
            _logger.error("a completion failed", exc_info=error)
            message = f"{type(error).__name__} while sampling; the service's log has the details"
            return ErrorInfo(kind=ErrorKind.INTERNAL, message=message, retryable=True)
