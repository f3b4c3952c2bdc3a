"""Judgements from the reward sandboxes.

The judge's failure is retried elsewhere and then masked: such a rollout has no reward, which is not a reward of 0. That
its queue is full is no failure: engines may be faster than judges for a while, and whoever waits gets a reward.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
from pydantic import ValidationError
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    RetryError,
    retry_if_exception_type,
    wait_exponential_jitter,
    wait_random,
)

from prorl_api.errors import TransientError
from prorl_api.process.tokens import bearer_headers
from prorl_api.wire.base import ATTEMPT_HEADER
from prorl_api.wire.sandbox import RewardFunction, ScoreItem, ScoreRequest, ScoreResult, Verdict
from prorl_api.wording import wanted

_logger = logging.getLogger(__name__)
_TRIES = 8
_OVERHEAD_SECONDS = 30.0
"""Beyond the items' own limits: queueing and transport of one batch."""
_ITEMS_AT_ONCE = 1024
"""Sent to each sandbox and not answered; below what its queue takes. Whoever is turned away has its batch read for
nothing, and a hundred batches that come again every second leave a sandbox no time to judge."""
_BUSY_SECONDS = 1800.0
"""So long nothing of a batch gets into any queue until the sandboxes are taken for stuck."""
_LONGEST_WAIT_SECONDS = 10.0
"""Whatever a sandbox asks for."""


class BusyError(TransientError):
    """A sandbox's queue is full."""


class _Room:
    """Room for a number of items; a batch that is larger than all of it gets it alone. First come, first served."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._used = 0
        self._turn = asyncio.Lock()
        self._freed = asyncio.Condition()

    @asynccontextmanager
    async def of(self, count: int) -> AsyncIterator[None]:
        """Wait for room for a batch, and hold it."""
        async with self._turn, self._freed:
            await self._freed.wait_for(lambda: not self._used or self._used + count <= self._size)
            self._used += count
        try:
            yield
        finally:
            self._used -= count
            async with self._freed:
                self._freed.notify_all()


class _Patience:
    """Counts a batch's failures, and waits where a sandbox is only busy."""

    def __init__(self) -> None:
        self.num_failures = 0
        self._after_failure = wait_exponential_jitter(initial=0.2, max=5.0)

    def stop(self, state: RetryCallState) -> bool:
        """Tell whether that was the last try."""
        if isinstance(_error_of(state), BusyError):
            return (state.seconds_since_start or 0.0) > _BUSY_SECONDS
        self.num_failures += 1
        return self.num_failures >= _TRIES

    def wait(self, state: RetryCallState) -> float:
        """Return the seconds until the next one: batches that were turned away together do not come back together."""
        error = _error_of(state)
        if isinstance(error, BusyError):
            asked_for = min(error.retry_after_seconds, _LONGEST_WAIT_SECONDS)
            return wait_random(0.5 * asked_for, 1.5 * asked_for)(state)
        return self._after_failure(state)


def _error_of(state: RetryCallState) -> BaseException | None:
    return None if state.outcome is None else state.outcome.exception()


class RewardClient:
    """Speaks to all sandboxes in turn. Used on the event loop only."""

    def __init__(
        self,
        urls: Sequence[str],
        attempt: int,
        *,
        token: str | None = None,
        rewards: Mapping[str, RewardFunction] | None = None,
    ) -> None:
        """For sandboxes at base URLs.

        Args:
            urls: At least one.
            attempt: Of the learner.
            token: To present to them; None: the one in the environment, if there is one.
            rewards: Functions that items of domain `custom` name.
        """
        self._turn = itertools.cycle(urls)
        self._room = _Room(_ITEMS_AT_ONCE * len(urls))
        self._rewards = rewards or {}
        presented = bearer_headers("sandbox") if token is None else {"Authorization": f"Bearer {token}"}
        headers = {ATTEMPT_HEADER: str(attempt), **presented}
        self._http = httpx.AsyncClient(headers=headers, trust_env=False)

    async def score(self, items: Sequence[ScoreItem], timeout_seconds: float) -> list[ScoreResult]:
        """One result per item, in order; items that no judge could judge have verdict `sandbox_error`."""
        results: dict[str, ScoreResult] = {}
        patience = _Patience()
        retrying = AsyncRetrying(stop=patience.stop, wait=patience.wait, retry=retry_if_exception_type(TransientError))
        try:
            async for attempt in retrying:
                with attempt:
                    open_items = [item for item in items if item.item_id not in results]
                    async with self._room.of(len(open_items)):
                        judged = await self._score_once(open_items, timeout_seconds)
                    results |= {result.item_id: result for result in judged}
                    self._retry_failed(results, patience.num_failures)
        except RetryError as error:
            _logger.warning(
                "the judge failed for %d items: %r", len(items) - len(results), error.last_attempt.exception()
            )
        masked = "no sandbox could judge it"
        return [
            results.get(item.item_id)
            or ScoreResult(item_id=item.item_id, verdict=Verdict.SANDBOX_ERROR, reward=None, detail=masked)
            for item in items
        ]

    def _retry_failed(self, results: dict[str, ScoreResult], num_failures: int) -> None:
        """Ask again, once or twice, for items on which the judge itself failed."""
        failed = [key for key, result in results.items() if result.verdict is Verdict.SANDBOX_ERROR]
        if failed and num_failures < 2:
            for key in failed:
                del results[key]
            raise TransientError(f"the judge failed on {len(failed)} items")

    async def _score_once(self, items: Sequence[ScoreItem], timeout_seconds: float) -> list[ScoreResult]:
        named = {item.reward for item in items}
        rewards = {name: function for name, function in self._rewards.items() if name in named}
        request = ScoreRequest(items=tuple(items), timeout_seconds=timeout_seconds, rewards=rewards)
        limit = timeout_seconds * len(items) + _OVERHEAD_SECONDS
        try:
            async with asyncio.timeout(limit):
                response = await self._http.post(
                    f"{next(self._turn)}/v1/score",
                    content=request.model_dump_json(),
                    headers={"Content-Type": "application/json"},
                    timeout=limit,
                )
            if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
                raise BusyError("the queue is full", retry_after_seconds=_retry_after(response))
            if response.status_code != httpx.codes.OK:
                raise TransientError(f"HTTP {response.status_code}: {response.text[:300]}")
            return _read_results(response.content, items)
        except (httpx.HTTPError, TimeoutError, ValueError) as error:
            raise TransientError(repr(error)) from error

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()


def _retry_after(response: httpx.Response) -> float:
    """Return the seconds that a busy sandbox asks for; 1 if it says nothing that can be read."""
    told = response.headers.get("Retry-After", "")
    return float(told) if told.isdecimal() else 1.0


def _read_results(content: bytes, items: Sequence[ScoreItem]) -> list[ScoreResult]:
    """Read one result for each item. A result that is not one, such as a reward of NaN, is the judge's failure on that
    item alone: the others stand.

    Raises:
        ValueError: The answer is none: it has not a single result for several items.
    """
    answer = json.loads(content)
    found: dict[str, list[Any]] = {}
    for result in answer["results"] if isinstance(answer, dict) and isinstance(answer.get("results"), list) else ():
        if isinstance(result, dict) and isinstance(result.get("item_id"), str):
            found.setdefault(result["item_id"], []).append(result)
    results = [_read_result(found.get(item.item_id, []), item) for item in items]
    if len(items) > 1 and not any(isinstance(result, ScoreResult) for result in results):
        raise ValueError(f"no result that can be read: {content[:300]!r}")
    return [
        ScoreResult(item_id=item.item_id, verdict=Verdict.SANDBOX_ERROR, reward=None, detail=result)
        if isinstance(result, str)
        else result
        for item, result in zip(items, results, strict=True)
    ]


def _read_result(found: list[Any], item: ScoreItem) -> ScoreResult | str:
    """Read the result for an item, or say why there is none."""
    if len(found) != 1:
        return f"the sandbox answered with {len(found)} results for {item.item_id}"
    try:
        return ScoreResult.model_validate(found[0])
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        place = ".".join(map(str, problem["loc"])) or "result"
        return f"the sandbox's {place} is no answer: wanted {wanted(problem)}, got {str(problem['input'])[:100]}"
