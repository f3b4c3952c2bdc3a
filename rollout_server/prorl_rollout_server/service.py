"""The rollout server as a whole: the engine when it is up, the weights it holds, the groups that run.

Who runs, all on one event loop unless said otherwise, and who waits for whom:

    http          (`app`, one task a call)  opens groups and listens to them, asks for loads and waits for their end
    group         (`groups`, one task a completion)  waits at the gate, then for the engine's sample
    load          (`holder`, one task a load)  waits for its turn, the chunks, the engine, and the proof
    registration  (`registration`, one task)  waits for the learner's answer to a heartbeat; may begin a load
    engine        (`__main__`, one task)  waits for vLLM to come up in a thread, then watches that it lives
    threads       digests of chunks, vLLM's start; vLLM itself computes in processes of its own

The gate (`gate`) is where groups and loads meet: a load shuts it, has the engine interrupt what runs, and opens it
once the new weights are proved; a group goes on from its last token. Two back edges reach the learner: a heartbeat says
which weights are held or refused, and the answer which are wanted, so that a server that missed a publish pulls it
(`registration` -> `load`); the lines of a group say which weights made each token, so that the learner knows what it
trains on. A load is asked for by both the learner's call and the heartbeat's answer: whichever comes second finds
the weights held, or is passed over for newer ones.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

from prorl_api.process.api_error import ApiError
from prorl_api.wire.base import ErrorKind, WeightsId
from prorl_api.wire.rollout import GenerateRequest, LoadWeightsRequest, LoadWeightsResponse, RefusedWeights
from prorl_rollout_server.engine import Engine
from prorl_rollout_server.gate import Gate
from prorl_rollout_server.group_registry import GroupRegistry
from prorl_rollout_server.groups import Group
from prorl_rollout_server.holder import STUCK_SECONDS, WeightsHolder, not_ready
from prorl_rollout_server.metrics import Metrics
from prorl_rollout_server.weights import WeightsFetcher


class RolloutService:
    """The state of one rollout server, which has no engine until `attach`."""

    def __init__(
        self,
        fetcher: WeightsFetcher,
        metrics: Metrics,
        book: GroupRegistry | None = None,
        stuck_seconds: float = STUCK_SECONDS,
    ) -> None:
        self.incarnation = uuid.uuid4().hex
        self.metrics = metrics
        self._book = book or GroupRegistry()
        self._gate = Gate(not_ready("no weights are held yet"))
        self._holder = WeightsHolder(fetcher, metrics, self._gate, self._book.forget_finished, stuck_seconds)
        self._engine: Engine | None = None

    @property
    def weights_id(self) -> WeightsId | None:
        """The weights held and proved; None while they are replaced."""
        return self._holder.weights_id

    @property
    def engine_has_died(self) -> bool:
        """Whether the process must end because its engine did."""
        return self._engine is not None and (self._engine.has_died or self._holder.engine_is_stuck)

    @property
    def is_starting(self) -> bool:
        """Whether there is no engine yet."""
        return self._engine is None

    @property
    def ready(self) -> bool:
        """Whether weights are held with which a generation succeeded."""
        return self.weights_id is not None and not self.engine_has_died

    @property
    def paused(self) -> bool:
        """Whether generation is paused on request."""
        return self._gate.paused

    @property
    def is_loading(self) -> bool:
        """Whether weights are being fetched or put in place."""
        return self._holder.is_loading

    @property
    def num_loads_begun(self) -> int:
        """Rises with every load; tells whether something was loaded between two moments."""
        return self._holder.num_loads_begun

    @property
    def refused(self) -> RefusedWeights | None:
        """The last weights put in place, if the engine did not compute with them what the learner does."""
        return self._holder.refused

    @property
    def num_running(self) -> int:
        """Groups being sampled."""
        return self._book.num_running

    @property
    def detail(self) -> str:
        """Why the server is not ready, for people; empty when it is."""
        if self._engine is None:
            return "the engine is starting"
        if self._holder.engine_is_stuck:
            return self._holder.detail
        if self._engine.has_died:
            return "the engine died"
        return "" if self.ready else self._holder.detail or "weights are being replaced"

    def attach(self, engine: Engine) -> None:
        """Take the engine that is up; weights may be loaded from now on."""
        self._engine = engine

    def open_group(self, request: GenerateRequest) -> AsyncIterator[bytes]:
        """Give the lines of a group: a new one, or that of the same request before.

        Raises:
            ApiError: `not_ready`, `wrong_weights`, or `bad_request` if it cannot fit or the id is taken.
        """
        try:
            group = self._book.find(request)
            if group is None:
                group = self._new_group(request)
                self._book.start(group, self._count)
        except ApiError:
            self.metrics.count_request("refused")
            raise
        self.metrics.running_requests.set(self.num_running)
        return self._book.listen(group)

    async def cancel(self, request_id: str) -> None:
        """Cancel a running group, forget a finished one.

        Raises:
            ApiError: `not_found`.
        """
        if not await self._book.cancel(request_id):
            raise ApiError(ErrorKind.NOT_FOUND, f"no request {request_id} is running or finished lately here")

    async def pause(self) -> None:
        """Freeze generation; requests are taken and wait. Weights can be replaced meanwhile."""
        self._gate.pause(True)
        if self._engine is not None and not self.is_loading:
            await self._engine.pause()

    async def resume(self) -> None:
        """Go on; harmless when not paused."""
        if self._engine is not None and not self.is_loading:
            await self._engine.resume()
        self._gate.pause(False)

    async def load(self, request: LoadWeightsRequest) -> LoadWeightsResponse:
        """Fetch, check and serve weights.

        Raises:
            ApiError: See `WeightsHolder.load`; `not_ready` without an engine.
        """
        return await self._holder.load(self._running_engine(), request)

    async def close(self) -> None:
        """Cancel all groups and fetches, end the engine."""
        await self._book.cancel_all()
        await self._holder.close()
        if self._engine is not None:
            await asyncio.to_thread(self._engine.shutdown)

    def _new_group(self, request: GenerateRequest) -> Group:
        engine = self._running_engine()
        expected = self._holder.expected
        if expected is None:
            raise not_ready(self.detail)
        if request.weights_id not in (None, expected):
            message = f"this server holds weights {expected}, the request wants {request.weights_id}"
            raise ApiError(ErrorKind.WRONG_WEIGHTS, message)
        prompt, limit = len(request.prompt_token_ids), engine.max_model_tokens
        if prompt + request.sampling.max_tokens > limit:
            message = (
                f"prompt_token_ids has {prompt} tokens and sampling.max_tokens is {request.sampling.max_tokens}: "
                f"together {prompt + request.sampling.max_tokens}, but max_model_tokens is {limit}"
            )
            raise ApiError(ErrorKind.BAD_REQUEST, message)
        return Group(request, engine, self._gate, self._holder.id_of)

    def _running_engine(self) -> Engine:
        if self._engine is None or self.engine_has_died:
            raise not_ready(self.detail)
        return self._engine

    def _count(self, group: Group) -> None:
        self.metrics.count_request(str(group.outcome))
        self.metrics.prompt_tokens.inc(len(group.request.prompt_token_ids) * group.request.num_completions)
        self.metrics.cached_prompt_tokens.inc(group.cached_prompt_tokens)
        self.metrics.completion_tokens.inc(group.completion_tokens)
        self.metrics.running_requests.set(self.num_running)
