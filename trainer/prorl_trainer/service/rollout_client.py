"""Groups of completions from whichever rollout server can give them.

A request that fails is given to another server under the same id; waiting for a server is not a failure. Completions
of a broken answer are thrown away: a group comes whole or again.
"""

from __future__ import annotations

import asyncio
import logging
import math

import httpx
from pydantic import ValidationError

from prorl_api.errors import EngineMismatchError, RolloutError, StaleAttemptError
from prorl_api.process.tokens import bearer_headers
from prorl_api.wire.base import ATTEMPT_HEADER, ErrorBody, ErrorKind, WeightsId
from prorl_api.wire.rollout import (
    CompletionEvent,
    DoneEvent,
    GenerateRequest,
    LoadWeightsRequest,
    LoadWeightsResponse,
    RefusedWeights,
    WeightSource,
)
from prorl_trainer.service.rollout_servers import RolloutServerEntry, RolloutServers
from prorl_trainer.service.shared_status import SharedStatus

_logger = logging.getLogger(__name__)
_WAIT_SECONDS = 0.1
_MAX_TRIES = 8
"""Failed tries of one group, waiting for servers not counted, before the run gives up."""
_LEAST_GRACE_SECONDS = 1.0
"""For the other servers, where the first one served new weights faster than this."""


class RolloutClient:
    """Speaks to all rollout servers, on the event loop only."""

    def __init__(self, members: RolloutServers, shared_status: SharedStatus, attempt: int) -> None:
        """Speak to the servers in `members`."""
        self._members = members
        self._shared_status = shared_status
        self._loads: set[asyncio.Task[bool]] = set()
        self._published_last: WeightsId | None = None
        self._last_waiting_beat = -math.inf
        headers = {ATTEMPT_HEADER: str(attempt), **bearer_headers("rollout")}
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
        self._http = httpx.AsyncClient(headers=headers, limits=limits, timeout=None, trust_env=False)  # noqa: S113 - each call sets its own

    async def generate(self, request: GenerateRequest, timeout_seconds: float) -> list[CompletionEvent]:
        """Have some server sample a group; return all its completions, ordered by index.

        Raises:
            RolloutError: No server could do it in several tries, or the request itself is refused.
        """
        for attempt in range(1, _MAX_TRIES + 1):
            member = await self._ready_member()
            member.in_flight += 1
            try:
                async with asyncio.timeout(timeout_seconds):
                    completions = await self._generate_at(member, request)
                self._members.answered(member)
                return completions
            except (httpx.HTTPError, TimeoutError, RolloutError, ValidationError) as error:
                self._members.failed(member)
                _logger.warning("%s at %s failed, try %d: %r", request.request_id, member.address, attempt, error)
            finally:
                member.in_flight -= 1
        raise RolloutError(
            f"no rollout server could answer {request.request_id} in {_MAX_TRIES} tries; their logs have the reasons"
        )

    async def wait_ready(self) -> None:
        """Return once a server may get prompts.

        Raises:
            EngineMismatchError: All servers have the wanted weights, and compute something else with them.
        """
        await self._ready_member()

    async def _ready_member(self) -> RolloutServerEntry:
        while True:
            ready = self._members.ready()
            if ready:
                self._shared_status.update(ready_rollout_servers=len(ready))
                return ready[0]
            self._members.raise_if_refused()
            self._beat_waiting()
            await asyncio.sleep(_WAIT_SECONDS)

    def _beat_waiting(self) -> None:
        """Tell at most once a second that the learner waits: to bring servers up is the body's part, not a hang."""
        now = asyncio.get_running_loop().time()
        if now - self._last_waiting_beat >= 1.0:
            self._last_waiting_beat = now
            self._shared_status.beat()

    async def _generate_at(self, member: RolloutServerEntry, request: GenerateRequest) -> list[CompletionEvent]:
        body = request.model_dump_json()
        headers = {"Content-Type": "application/json"}
        completions: dict[int, CompletionEvent] = {}
        url = f"{member.address}/v1/generate"
        async with self._http.stream("POST", url, content=body, headers=headers) as response:
            if response.status_code != httpx.codes.OK:
                _raise_typed(await response.aread(), response.status_code)
            async for line in response.aiter_lines():
                if '"kind":"completion"' in line:
                    event = CompletionEvent.model_validate_json(line)
                    completions[event.index] = event
                    self._shared_status.beat()
                elif '"kind":"done"' in line:
                    DoneEvent.model_validate_json(line)
                    if len(completions) != request.num_completions:
                        raise RolloutError(f"{len(completions)} of {request.num_completions} completions arrived")
                    return [completions[index] for index in sorted(completions)]
                elif line:
                    _raise_typed(line.encode(), response.status_code)
        raise RolloutError("the answer ended early")

    async def publish(self, weights_id: WeightsId, sources: tuple[WeightSource, ...], timeout_seconds: float) -> int:
        """Have every known server load weights; return how many serve them when enough of them had their time.

        Once one serves them, those that had kept up so far have as long again as it took. Those that are slower load
        on in the background, and get prompts when they are done: one that hangs must not hold up every step. A server
        that fails is no error here: it stays without the wanted weights and therefore gets no prompts.
        """
        self._give_up_loads()
        request = LoadWeightsRequest(weights_id=weights_id, sources=sources, timeout_seconds=timeout_seconds)
        keeping_up: set[asyncio.Task[bool]] = set()
        for member in self._members.alive():
            task = asyncio.create_task(self._load_at(member, request), name=f"load {weights_id} at {member.address}")
            self._loads.add(task)
            task.add_done_callback(self._load_ended)
            if member.weights_id == self._published_last:
                keeping_up.add(task)
        self._published_last = weights_id
        try:
            return await self._enough_loads(set(self._loads), keeping_up)
        except asyncio.CancelledError:
            self._give_up_loads()
            raise

    async def _enough_loads(self, pending: set[asyncio.Task[bool]], keeping_up: set[asyncio.Task[bool]]) -> int:
        loop = asyncio.get_running_loop()
        begun, served, end = loop.time(), 0, math.inf
        while pending and loop.time() < end and (not served or pending & keeping_up):
            wait_seconds = min(1.0, end - loop.time())
            done, pending = await asyncio.wait(pending, timeout=wait_seconds, return_when=asyncio.FIRST_COMPLETED)
            served += sum(task.result() for task in done)
            if served and end == math.inf:
                end = loop.time() + max(_LEAST_GRACE_SECONDS, loop.time() - begun)
            self._beat_waiting()
        if served and pending:
            _logger.warning("%d rollout servers are slower than the others and load on", len(pending))
        return served

    def _load_ended(self, task: asyncio.Task[bool]) -> None:
        self._loads.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _logger.warning("%s failed: %r", task.get_name(), task.exception())

    def _give_up_loads(self) -> None:
        """Wait no longer for servers that still load: each has at most one load that is waited for."""
        for task in self._loads:
            task.cancel()
        self._loads.clear()

    async def _load_at(self, member: RolloutServerEntry, request: LoadWeightsRequest) -> bool:
        url = f"{member.address}/v1/weights"
        headers = {"Content-Type": "application/json"}
        try:
            async with asyncio.timeout(request.timeout_seconds):
                response = await self._http.post(url, content=request.model_dump_json(), headers=headers)
            if response.status_code != httpx.codes.OK:
                _raise_typed(response.content, response.status_code)
            LoadWeightsResponse.model_validate_json(response.content)
        except EngineMismatchError as error:
            _logger.warning("%s does not serve weights %s: %s", member.address, request.weights_id, error)
            member.refused = RefusedWeights(weights_id=request.weights_id, message=str(error))
            return False
        except (httpx.HTTPError, TimeoutError, RolloutError, ValidationError) as error:
            _logger.warning("%s did not load weights %s: %r", member.address, request.weights_id, error)
            return False
        self._members.loaded(member, request.weights_id)
        return True

    async def close(self) -> None:
        """Close all connections."""
        self._give_up_loads()
        await self._http.aclose()


def _raise_typed(body: bytes, status: int) -> None:
    try:
        info = ErrorBody.model_validate_json(body).error
    except ValidationError:
        raise RolloutError(f"HTTP {status}: {body[:300]!r}") from None
    if info.kind is ErrorKind.STALE_ATTEMPT:
        raise StaleAttemptError(info.message)
    if info.kind is ErrorKind.ENGINE_MISMATCH:
        raise EngineMismatchError(info.message)
    raise RolloutError(f"{info.kind}: {info.message}")
