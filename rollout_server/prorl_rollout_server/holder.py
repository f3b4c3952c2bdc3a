"""Which weights the engine holds, and how others take their place.

The rules: one load at a time, and of those that wait only the one asked for last; what is found wrong before the
model is touched leaves the old weights served; what is found wrong afterwards leaves the server without weights;
weights count as held only once the engine has computed with them what the learner does.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AsyncExitStack

from prorl_api.errors import EngineMismatchError, TransientError, WeightsError
from prorl_api.process.api_error import ApiError
from prorl_api.wire.base import ErrorKind, WeightsId
from prorl_api.wire.rollout import LoadWeightsRequest, LoadWeightsResponse, RefusedWeights
from prorl_rollout_server.engine import Engine, EngineDiedError, EngineLoadError, EngineRefusedError
from prorl_rollout_server.gate import Gate
from prorl_rollout_server.metrics import Metrics
from prorl_rollout_server.proof import prove
from prorl_rollout_server.weights import FetchedWeights, WeightsFetcher

RETRY_SECONDS = 1.0
STUCK_SECONDS = 600.0
"""An engine that has not put weights in place by then, with everything to hand, never will."""
MAX_KNOWN_VERSIONS = 16
"""A sample can be of the weights held or of those just before; more only if loads follow each other at once."""

_logger = logging.getLogger(__name__)


def not_ready(message: str) -> ApiError:
    """Make the refusal of a server that cannot generate now but may later."""
    return ApiError(ErrorKind.NOT_READY, message, retryable=True, retry_after_seconds=RETRY_SECONDS)


class WeightsHolder:
    """Holds the engine's weights; opens and shuts the gate; for use on one event loop.

    Args:
        on_change: Called after other weights took the place of those held.
        stuck_seconds: The engine has so long to put weights in place and to prove them.
    """

    def __init__(
        self,
        fetcher: WeightsFetcher,
        metrics: Metrics,
        gate: Gate,
        on_change: Callable[[], None],
        stuck_seconds: float = STUCK_SECONDS,
    ) -> None:
        self.weights_id: WeightsId | None = None
        """Held and proved; None while they are replaced."""
        self.refused: RefusedWeights | None = None
        """The last weights put in place, if the engine did not compute with them what the learner does."""
        self.engine_is_stuck = False
        """Whether the engine did not come back from a load: the process must end, or it would say for ever that it
        is there and never serve."""
        self.num_loads_begun = 0
        self.detail = "no weights are held yet"
        self._fetcher = fetcher
        self._metrics = metrics
        self._gate = gate
        self._on_change = on_change
        self._stuck_seconds = stuck_seconds
        self._coming: WeightsId | None = None
        self._asked_last: WeightsId | None = None
        self._versions: dict[str, WeightsId] = {}
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[LoadWeightsResponse]] = set()
        self._last_failure = ""

    @property
    def expected(self) -> WeightsId | None:
        """What a request sent now would be sampled with: the weights being put in place, else those held."""
        return self._coming or self.weights_id

    @property
    def is_loading(self) -> bool:
        """Whether weights are being fetched or put in place."""
        return self._lock.locked()

    def id_of(self, version: str) -> WeightsId:
        """Give the id behind a version string that the engine reported."""
        return self._versions[version]

    async def load(self, engine: Engine, request: LoadWeightsRequest) -> LoadWeightsResponse:
        """Fetch, check, put in place, prove. A load begun is finished even if the caller goes away.

        Raises:
            ApiError: `weights_mismatch`, `engine_mismatch`, `not_ready`, or `internal` when no source could be read
                or time was up.
        """
        self._asked_last = request.weights_id
        task = asyncio.create_task(self._load(engine, request), name=f"load {request.weights_id}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        done, _ = await asyncio.wait([task], timeout=request.timeout_seconds)
        if not done:
            message = f"weights {request.weights_id} were not served within {request.timeout_seconds} s"
            raise ApiError(ErrorKind.INTERNAL, message, retryable=True)
        return task.result()

    async def close(self) -> None:
        """Give up what is being fetched."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[LoadWeightsResponse]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and str(error) != self._last_failure:
            _logger.warning("weights were not loaded: %s", error)
        self._last_failure = str(error)

    async def _load(self, engine: Engine, request: LoadWeightsRequest) -> LoadWeightsResponse:
        wanted = request.weights_id
        deadline = asyncio.get_running_loop().time() + request.timeout_seconds
        async with self._lock, AsyncExitStack() as stack:
            if wanted != self._asked_last:
                raise not_ready(f"weights {self._asked_last} were asked for since, so {wanted} are passed over")
            if self.weights_id == wanted:
                return LoadWeightsResponse(weights_id=wanted, fetch_seconds=0, load_seconds=0, source_kind="held")
            self.num_loads_begun += 1
            begun = time.monotonic()
            fetched = await self._fetch(request, deadline, stack)
            in_reach = time.monotonic()
            await self._put_in_place(engine, fetched, wanted)
            fetch_seconds, load_seconds = in_reach - begun, time.monotonic() - in_reach
        self._metrics.observe_load(fetch_seconds=fetch_seconds, load_seconds=load_seconds)
        times = {"fetch_seconds": round(fetch_seconds, 3), "load_seconds": round(load_seconds, 3)}
        _logger.info("serving weights %s", wanted, extra=times)
        return LoadWeightsResponse(
            weights_id=wanted, fetch_seconds=fetch_seconds, load_seconds=load_seconds, source_kind=fetched.source_kind
        )

    async def _fetch(self, request: LoadWeightsRequest, deadline: float, stack: AsyncExitStack) -> FetchedWeights:
        failures: list[str] = []
        kind = ErrorKind.INTERNAL
        for source in request.sources:
            try:
                async with asyncio.timeout_at(deadline):
                    return await stack.enter_async_context(self._fetcher.fetched(request.weights_id, source))
            except WeightsError as error:
                kind = ErrorKind.WEIGHTS_MISMATCH
                failures.append(str(error))
            except TransientError as error:
                failures.append(str(error))
            except TimeoutError:
                failures.append(f"{source.location} was not read within {request.timeout_seconds} s")
        raise ApiError(kind, "; ".join(failures), retryable=kind is ErrorKind.INTERNAL)

    async def _put_in_place(self, engine: Engine, fetched: FetchedWeights, wanted: WeightsId) -> None:
        self.weights_id, self._coming, self.refused = None, wanted, None
        self._remember(wanted)
        self._gate.replacing()
        self._show()
        try:
            async with asyncio.timeout(self._stuck_seconds):
                await engine.load_weights(fetched.files, str(wanted))
                await prove(engine, str(wanted), fetched.probe)
        except TimeoutError as error:
            self.engine_is_stuck = True
            self._lose(f"the engine hangs: weights {wanted} were not in place after {self._stuck_seconds:g} s")
            raise not_ready(self.detail) from error
        except EngineMismatchError as error:
            self.refused = RefusedWeights(weights_id=wanted, message=str(error))
            self._lose(str(error))
            raise ApiError(ErrorKind.ENGINE_MISMATCH, str(error)) from error
        except (EngineLoadError, EngineRefusedError, WeightsError) as error:
            message = f"weights {wanted} do not fit the model, and none are held now: {error}"
            self._lose(message)
            raise ApiError(ErrorKind.WEIGHTS_MISMATCH, message) from error
        except EngineDiedError as error:
            self._lose("the engine died while weights were put in place")
            raise not_ready(self.detail) from error
        self.weights_id, self._coming, self.detail = wanted, None, ""
        self._on_change()
        self._gate.open()
        self._show()

    def _remember(self, weights_id: WeightsId) -> None:
        self._versions.pop(str(weights_id), None)
        self._versions[str(weights_id)] = weights_id
        while len(self._versions) > MAX_KNOWN_VERSIONS:
            del self._versions[next(iter(self._versions))]

    def _lose(self, message: str) -> None:
        self._coming, self.detail = None, message
        self._gate.shut(not_ready(message))

    def _show(self) -> None:
        self._metrics.ready.set(self.weights_id is not None)
        self._metrics.weights_step.set(-1 if self.weights_id is None else self.weights_id.step)
