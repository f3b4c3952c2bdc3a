"""The rollout service over HTTP with a hand-written engine, and requests for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from prorl_api.errors import TransientError, WeightsError
from prorl_api.wire.base import ErrorBody, ErrorKind, WeightsId
from prorl_api.wire.rollout import (
    CompletionEvent,
    DoneEvent,
    GenerateRequest,
    LoadWeightsRequest,
    Sampling,
    WeightSource,
    WeightsProbe,
)
from prorl_rollout_server.engine import Sample, SampleEnd
from prorl_rollout_server.service import RolloutService
from prorl_rollout_server.weights import FetchedWeights

FIRST = WeightsId(attempt=1, step=0, digest="a" * 64)
SECOND = WeightsId(attempt=1, step=1, digest="b" * 64)
THIRD = WeightsId(attempt=1, step=2, digest="c" * 64)


class FakeEngine:
    """Samples token `1000 * step` of the weights held, one per call of `tick`, until `max_tokens`."""

    max_model_tokens = 32
    has_died = False

    def __init__(self, *, automatic: bool = True) -> None:
        self.automatic = automatic
        self.version: str | None = None
        self.calls: list[tuple[str, list[int], int, int]] = []
        self.aborted: list[str] = []
        self.load_error: Exception | None = None
        self.hangs = False
        self.logprob = -0.5
        self._interrupt = asyncio.Event()
        self._ticks = asyncio.Semaphore(0)
        self.num_waiting = 0
        self.num_ticked = 0

    async def sample(
        self, request_id: str, prompt_token_ids: list[int], sampling: Sampling, *, seed: int, max_tokens: int
    ) -> Sample:
        self.calls.append((request_id, prompt_token_ids, seed, max_tokens))
        version, interrupt, tokens = self.version, self._interrupt, list[int]()
        end = SampleEnd.LENGTH
        try:
            while len(tokens) < max_tokens:
                if not (self.automatic or request_id.startswith("proof")) and not await self._tick(interrupt):
                    end = SampleEnd.INTERRUPTED
                    break
                tokens.append(1000 + len(prompt_token_ids) + len(tokens))
        except asyncio.CancelledError:
            self.aborted.append(request_id)
            raise
        return Sample(
            token_ids=tokens,
            logprobs=[self.logprob] * len(tokens),
            version=version if tokens else None,
            end=end,
            cached_prompt_tokens=1,
        )

    async def score(self, request_id: str, token_ids: list[int]) -> Sample:
        self.calls.append((request_id, token_ids, 0, 1))
        given = [*token_ids[1:], 1000]
        logprobs = [self.logprob] * len(given)
        return Sample(token_ids=given, logprobs=logprobs, version=self.version, end=SampleEnd.LENGTH)

    async def _tick(self, interrupt: asyncio.Event) -> bool:
        self.num_waiting += 1
        tick = asyncio.create_task(self._ticks.acquire())
        stop = asyncio.create_task(interrupt.wait())
        try:
            await asyncio.wait([tick, stop], return_when=asyncio.FIRST_COMPLETED)
            if interrupt.is_set():
                return False
            self.num_ticked += 1
            return True
        finally:
            self.num_waiting -= 1
            tick.cancel()
            stop.cancel()

    @property
    def has_ticks(self) -> bool:
        return not self._ticks.locked()

    def tick(self, count: int) -> None:
        for _ in range(count):
            self._ticks.release()

    async def load_weights(self, files: Sequence[Path], version: str) -> None:
        interrupted, self._interrupt = self._interrupt, asyncio.Event()
        interrupted.set()
        await asyncio.sleep(0)
        if self.hangs:
            await asyncio.Event().wait()
        if self.load_error is not None:
            raise self.load_error
        self.version = version

    async def pause(self) -> None:
        pass

    async def resume(self) -> None:
        pass

    def shutdown(self) -> None:
        pass


class FakeFetcher:
    """Has whatever is asked for, unless told to fail by the source's location."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.release.set()
        self.probe: WeightsProbe | None = None

    @asynccontextmanager
    async def fetched(self, weights_id: WeightsId, source: WeightSource) -> AsyncIterator[FetchedWeights]:
        await self.release.wait()
        if source.location == "corrupt":
            raise WeightsError("digest differs")
        if source.location == "away":
            raise TransientError("connection refused")
        yield FetchedWeights(files=(), num_bytes=0, source_kind=source.kind, probe=self.probe)


@dataclass
class Server:
    """A service under test and a client of its API."""

    engine: FakeEngine
    fetcher: FakeFetcher
    service: RolloutService
    http: httpx.AsyncClient
    requests: int = field(default=0)

    async def load(self, weights_id: WeightsId, *locations: str, timeout_seconds: float = 5.0) -> httpx.Response:
        sources = tuple(WeightSource(kind="file", location=location) for location in locations or ("here",))
        request = LoadWeightsRequest(weights_id=weights_id, sources=sources, timeout_seconds=timeout_seconds)
        return await self.http.post("/v1/weights", json=request.model_dump(mode="json"))

    async def generate(self, request: GenerateRequest) -> httpx.Response:
        return await self.http.post("/v1/generate", json=request.model_dump(mode="json"))


def make_request(**changes: Any) -> GenerateRequest:
    sampling = {"max_tokens": 3, "seed": 7} | changes.pop("sampling", {})
    fields = {"request_id": "r", "prompt_token_ids": [1, 2], "num_completions": 2, "sampling": sampling} | changes
    return GenerateRequest.model_validate(fields)


def completions(answer: httpx.Response) -> list[CompletionEvent]:
    lines = [json.loads(line) for line in answer.text.splitlines()]
    DoneEvent.model_validate(lines[-1])
    return sorted((CompletionEvent.model_validate(line) for line in lines[:-1]), key=lambda event: event.index)


def error_of(answer: httpx.Response) -> ErrorKind:
    return ErrorBody.model_validate_json(answer.content).error.kind


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  # the fake's state has no event
        await asyncio.sleep(0.001)


async def first_line(lines: AsyncIterator[bytes]) -> bytes:
    return await anext(lines)


async def waiting(server: Server, count: int) -> None:
    await until(lambda: server.engine.num_waiting == count)
