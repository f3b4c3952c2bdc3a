"""The HTTP API over a `RolloutService`: routes, bodies and answers, no rules of its own."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, Response, StreamingResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from prorl_api.process.bodies import BodyLimits
from prorl_api.process.fence import AttemptFence
from prorl_api.process.http_guard import error_response, install
from prorl_api.process.tokens import AcceptedTokens
from prorl_api.wire.base import ErrorInfo, ErrorKind
from prorl_api.wire.rollout import GenerateRequest, LoadWeightsRequest, LoadWeightsResponse, RolloutServerState
from prorl_rollout_server.service import RolloutService

_LIMITS = BodyLimits(max_bytes=32 * 2**20, total_bytes=256 * 2**20)
"""A million tokens of a prompt are 6 MiB."""
NDJSON = "application/x-ndjson"


def create_app(service: RolloutService, tokens: AcceptedTokens, fence: AttemptFence) -> FastAPI:
    """Build the application; it serves from the first moment on and says by `/readyz` when it can generate."""
    app = FastAPI(title="ProRL rollout server", docs_url=None, redoc_url=None, openapi_url=None)
    install(app, tokens, fence, limits=_LIMITS)
    _add_generation(app, service, fence)
    _add_probes(app, service)
    return app


def _add_generation(app: FastAPI, service: RolloutService, fence: AttemptFence) -> None:
    def state() -> RolloutServerState:
        return RolloutServerState(
            incarnation=service.incarnation,
            ready=service.ready,
            paused=service.paused,
            weights_id=service.weights_id,
            running_requests=service.num_running,
            attempt=fence.attempt,
            detail=service.detail,
        )

    @app.post("/v1/generate")
    async def generate(request: GenerateRequest) -> StreamingResponse:
        return StreamingResponse(service.open_group(request), media_type=NDJSON)

    @app.delete("/v1/generate/{request_id}", status_code=204)
    async def cancel(request_id: str) -> Response:
        await service.cancel(request_id)
        return Response(status_code=204)

    @app.post("/v1/weights")
    async def load_weights(request: LoadWeightsRequest) -> LoadWeightsResponse:
        return await service.load(request)

    @app.post("/v1/pause")
    async def pause() -> RolloutServerState:
        await service.pause()
        return state()

    @app.post("/v1/resume")
    async def resume() -> RolloutServerState:
        await service.resume()
        return state()

    @app.get("/v1/state")
    async def get_state() -> RolloutServerState:
        return state()


def _add_probes(app: FastAPI, service: RolloutService) -> None:
    @app.get("/healthz")
    async def healthz() -> PlainTextResponse:
        return PlainTextResponse("ok")

    @app.get("/readyz")
    async def readyz() -> Response:
        if service.ready:
            return PlainTextResponse("ready")
        return error_response(ErrorInfo(kind=ErrorKind.NOT_READY, message=service.detail, retryable=True))

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)
