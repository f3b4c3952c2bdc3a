"""The learner's HTTP API. It is up before the engine, so that members and bodies always find someone."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.requests import Request

from prorl_api.limits import Limits
from prorl_api.process.addresses import AddressError, own_address
from prorl_api.process.api_error import ApiError
from prorl_api.process.bodies import BodyLimits
from prorl_api.process.connections import limited_config
from prorl_api.process.fence import AttemptFence
from prorl_api.process.http_guard import Rights, install
from prorl_api.process.tokens import BODY, AcceptedTokens
from prorl_api.spec.job import ProRLJobSpec
from prorl_api.spec.values import Role
from prorl_api.wire.base import ErrorKind, WireModel
from prorl_api.wire.learner import (
    EARLY_PHASES,
    LearnerReport,
    LearnerStatus,
    MemberAnswer,
    MemberHeartbeat,
    MetricsSeries,
    ModelFiles,
    ResetCommand,
    ResetOutcome,
    ResetOutcomes,
    StopAnswer,
    StopRequest,
)
from prorl_api.wire.rollout import WeightsManifest
from prorl_trainer.model_folder import companion_files
from prorl_trainer.service.metrics_export import exposition
from prorl_trainer.service.publisher import Publisher
from prorl_trainer.service.reset_queue import ResetQueue
from prorl_trainer.service.rollout_servers import RolloutServers, TooManyMembersError
from prorl_trainer.service.shared_status import SharedStatus

if TYPE_CHECKING:
    from fastapi import FastAPI

_LIMITS = BodyLimits(max_bytes=64 * 2**10, total_bytes=4 * 2**20, body_seconds=10.0, room_seconds=5.0)
"""Heartbeats, stops and resets are a few hundred bytes."""
_MAX_INCARNATION = 128
_MEMBERS, _BODIES = frozenset({Role.ROLLOUT.value}), frozenset({BODY})
RIGHTS: Rights = {
    "/v1/members": _MEMBERS,
    "/v1/model-files": _MEMBERS,
    "/v1/weights": _MEMBERS,
    "/v1/status": _BODIES,
    "/v1/stop": _BODIES,
    "/v1/resets": _BODIES,
    "/v1/metrics": _BODIES,
    "/v1/report": _BODIES,
}
"""A rollout server, where a model's words are made, drives no run; and a body has no use for weights."""


class LearnerService:
    """What the API speaks for."""

    def __init__(
        self,
        shared_status: SharedStatus,
        members: RolloutServers,
        reset_queue: ResetQueue,
        model_folder: Path,
        job: str,
        spec: Callable[[], ProRLJobSpec],
    ) -> None:
        """Return everything but the publisher, which exists only once the address is known.

        `spec` gives the job's spec as it holds now.
        """
        self.shared_status = shared_status
        self.members = members
        self.reset_queue = reset_queue
        self._job, self._spec = job, spec
        self.publisher: Publisher | None = None
        self._model_files = companion_files(model_folder)

    def status(self) -> LearnerStatus:
        """Return the status, with what only the event loop knows."""
        return self.shared_status.status.model_copy(update={"live_rollout_servers": self.members.num_working()})

    def exposition(self) -> bytes:
        """Return the body of `/metrics`."""
        newest = self.shared_status.last_metrics()
        return exposition(self._job, self.status(), newest, Limits.of(self._spec()))

    def model_files(self) -> ModelFiles:
        """Return configuration and tokenizer with digests."""
        return ModelFiles(
            files={name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in self._model_files.items()}
        )

    def model_file(self, name: str) -> Path:
        """One of them.

        Raises:
            ApiError: There is none of that name.
        """
        if name not in self._model_files:
            raise ApiError(ErrorKind.NOT_FOUND, f"no model file {name!r}; /v1/model-files lists them")
        return self._model_files[name]

    def published(self, weights_id: str) -> tuple[WeightsManifest, Path]:
        """Manifest and folder of weights on offer.

        Raises:
            ApiError: They are not on offer (any more).
        """
        found = self.publisher.find(weights_id) if self.publisher else None
        if found is None:
            raise ApiError(
                ErrorKind.NOT_FOUND, f"weights {weights_id} are not on offer; heartbeat for the current ones"
            )
        return found.manifest, found.folder


def create_app(service: LearnerService, tokens: AcceptedTokens, fence: AttemptFence) -> FastAPI:
    """Return the application; routes only, the work is the service's."""
    from fastapi import FastAPI

    app = FastAPI(title="ProRL learner", openapi_url="/openapi.json", docs_url=None, redoc_url=None)
    install(app, tokens, fence, rights=RIGHTS, limits=_LIMITS)
    _add_probes(app, service)
    _add_routes_of_members(app, service)
    _add_routes_of_bodies(app, service)
    return app


def _add_probes(app: FastAPI, service: LearnerService) -> None:
    from fastapi.responses import JSONResponse, Response

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz")
    async def readyz() -> Response:
        phase = service.shared_status.status.phase
        waiting = phase in EARLY_PHASES
        return JSONResponse({"phase": phase}, status_code=503 if waiting else 200)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(service.exposition(), media_type="text/plain; version=0.0.4")


def _add_routes_of_members(app: FastAPI, service: LearnerService) -> None:
    from fastapi.responses import FileResponse

    @app.put("/v1/members/{incarnation}")
    async def member(incarnation: str, beat: MemberHeartbeat, request: Request) -> MemberAnswer:
        if len(incarnation) > _MAX_INCARNATION:
            raise ApiError(ErrorKind.BAD_REQUEST, f"an incarnation of more than {_MAX_INCARNATION} characters")
        try:
            address = await own_address(beat.address, request.client.host if request.client else None)
            return service.members.heartbeat(incarnation, beat.model_copy(update={"address": address}))
        except AddressError as error:
            raise ApiError(ErrorKind.BAD_REQUEST, f"address: {error}") from error
        except TooManyMembersError as error:
            raise ApiError(ErrorKind.BUSY, str(error), retryable=True) from error

    @app.get("/v1/model-files")
    async def model_files() -> ModelFiles:
        return await asyncio.to_thread(service.model_files)

    @app.get("/v1/model-files/{name}")
    async def model_file(name: str) -> FileResponse:
        return FileResponse(service.model_file(name))

    @app.get("/v1/weights/{weights_id}/manifest")
    async def weights_manifest(weights_id: str) -> WeightsManifest:
        return service.published(weights_id)[0]

    @app.get("/v1/weights/{weights_id}/chunks/{index}")
    async def weights_chunk(weights_id: str, index: int) -> FileResponse:
        manifest, folder = service.published(weights_id)
        if not 0 <= index < len(manifest.chunks):
            raise ApiError(ErrorKind.NOT_FOUND, f"chunk {index} of {len(manifest.chunks)}")
        return FileResponse(folder / manifest.chunks[index].file_name)


def _add_routes_of_bodies(app: FastAPI, service: LearnerService) -> None:
    from fastapi.responses import Response
    from starlette.background import BackgroundTask

    shared_status, reset_queue = service.shared_status, service.reset_queue

    async def answered(find: Callable[[LearnerStatus], tuple[WireModel, tuple[str, ...]]]) -> Response:
        """Return the answer to some of the last questions, which are named and count once it is sent."""
        status = service.status()  # first: what is found in the phase `done` is complete
        content, what = await asyncio.to_thread(find, status)
        told = BackgroundTask(shared_status.has_told, status.phase, *what)
        return Response(content.model_dump_json(), media_type="application/json", background=told)

    def series_since(step: int, limit: int | None = None) -> MetricsSeries:
        return MetricsSeries(steps=tuple(shared_status.metrics_since(step, limit)))

    @app.get("/v1/status")
    async def status() -> LearnerStatus:
        return service.status()

    @app.post("/v1/stop")
    async def stop(request: StopRequest) -> StopAnswer:
        shared_status.request_stop(checkpoint=request.checkpoint)
        return StopAnswer()

    @app.post("/v1/resets")
    async def post_reset(command: ResetCommand) -> ResetOutcome:
        return reset_queue.post(command, step=shared_status.status.step)

    @app.get("/v1/resets", response_model=ResetOutcomes)
    async def get_resets() -> Response:
        return await answered(lambda _: (reset_queue.outcomes(), ("resets",)))

    @app.get("/v1/metrics", response_model=MetricsSeries)
    async def series(since_step: int = -1) -> Response:
        return await answered(lambda _: (series_since(since_step), ("metrics",)))

    @app.get("/v1/report", response_model=LearnerReport)
    async def report(since_step: int = -1, max_lines: int = 10**9) -> Response:
        def found(status: LearnerStatus) -> tuple[LearnerReport, tuple[str, ...]]:
            wanted = max(1, max_lines)
            series = series_since(since_step, wanted + 1)
            page = MetricsSeries(steps=series.steps[:wanted])
            whole = ("metrics", "resets") if page.steps == series.steps else ("resets",)
            return LearnerReport(status=status, metrics=page, resets=reset_queue.outcomes()), whole

        return await answered(found)


async def serve(app: FastAPI, listening: socket.socket) -> None:
    """Serve until cancelled. Signals stay with the process."""
    import uvicorn

    config = limited_config(app, log_level="warning", lifespan="off", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    await server._serve(sockets=[listening])
