"""The HTTP service: what it is made of, and its life. Endpoints translate; judging is done elsewhere."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import AsyncIterator

from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from prorl_api.errors import Fault, SpecError
from prorl_api.process.bodies import BodyLimits
from prorl_api.process.fence import AttemptFence
from prorl_api.process.http_guard import error_response, install
from prorl_api.process.tokens import AcceptedTokens
from prorl_api.settings import SandboxSettings
from prorl_api.wire.base import ErrorInfo, ErrorKind
from prorl_api.wire.sandbox import (
    ExecuteBatchRequest,
    ExecuteBatchResponse,
    ExecuteRequest,
    ExecuteResponse,
    ScoreRequest,
    ScoreResponse,
)
from prorl_reward_sandbox.execution.levels.strongest import StrongestIsolation
from prorl_reward_sandbox.execution.programs import MAX_SHOWN_BYTES, ProgramService
from prorl_reward_sandbox.metrics import SandboxMetrics
from prorl_reward_sandbox.service.client_presence import unless_disconnected
from prorl_reward_sandbox.service.description import ERRORS, add_description
from prorl_reward_sandbox.service.isolation_report import add_isolation_report
from prorl_reward_sandbox.service.network_canary import HOST_VARIABLE, PORT_VARIABLE, NetworkCanary
from prorl_reward_sandbox.service.readiness import Readiness
from prorl_reward_sandbox.service.run_code import RunCodeRequest, RunCodeResponse, run_code
from prorl_reward_sandbox.service.scoring import ScoringService
from prorl_reward_sandbox.workers.pool import VerifierPool

LIMITS = BodyLimits(max_bytes=64 * 2**20, total_bytes=256 * 2**20)
"""Batches of completions with their tests are large, and wait here until they are judged."""


def create_app(
    settings: SandboxSettings, isolation: StrongestIsolation, tokens: AcceptedTokens, *, job_name: str
) -> FastAPI:
    """Return the application. Its lifespan owns all helper processes.

    The isolation must allow `execution.companions.num_jails(settings.workers)` runs at once.
    """
    metrics = SandboxMetrics(job_name)
    pool = VerifierPool(settings, metrics)
    programs = ProgramService(
        isolation,
        slots=settings.workers,
        max_queued=settings.max_queued_items,
        metrics=metrics,
        libraries=settings.libraries,
    )
    scoring = ScoringService(pool, programs, metrics)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            await pool.start()
            await programs.start()
            yield
        finally:
            await programs.close()
            await pool.close()

    app = FastAPI(title="ProRL reward sandbox", lifespan=lifespan, docs_url=None, redoc_url=None)
    # A judge keeps nothing, so a caller of an attempt that is over can spoil nothing: the fence stands at 0.
    install(app, tokens, AttemptFence(), limits=LIMITS)
    _add_judging(app, scoring, programs)
    add_isolation_report(app, isolation, _canary(settings))
    _add_probes(app, pool, programs, Readiness(scoring, programs), metrics)
    add_description(app)
    return app


def _canary(settings: SandboxSettings) -> NetworkCanary | None:
    """Return what to try where a network policy must be enforced.

    Raises:
        SpecError: There is nothing to try: no cluster.
    """
    if settings.network == "in-process":
        return None
    host, port = os.environ.get(HOST_VARIABLE, ""), os.environ.get(PORT_VARIABLE, "")
    if not host or not port.isdecimal():
        fault = Fault(
            path="network", got=settings.network, want=f"`in-process`: without {HOST_VARIABLE} this is no cluster"
        )
        raise SpecError([fault], source="the sandbox's settings")
    return NetworkCanary(host=host, port=int(port))


def _add_judging(app: FastAPI, scoring: ScoringService, programs: ProgramService) -> None:
    @app.post("/v1/score", responses=ERRORS)
    async def score(body: ScoreRequest, request: Request) -> ScoreResponse:
        """Judge completions."""
        return await unless_disconnected(request, scoring.score(body))

    @app.post("/v1/execute", responses=ERRORS)
    async def execute(body: ExecuteRequest, request: Request) -> ExecuteResponse:
        """Run one program against its tests."""
        return await unless_disconnected(request, programs.execute(body))

    @app.post("/v1/execute-batch", responses=ERRORS)
    async def execute_batch(body: ExecuteBatchRequest, request: Request) -> ExecuteBatchResponse:
        """Run many programs, each against its tests."""
        return ExecuteBatchResponse(
            programs=await unless_disconnected(
                request, programs.execute_all(body.programs, shown_bytes=MAX_SHOWN_BYTES)
            )
        )

    @app.post("/run_code", responses=ERRORS)
    async def run_one(body: RunCodeRequest, request: Request) -> RunCodeResponse:
        """Run a program as SandboxFusion does."""
        return await unless_disconnected(request, run_code(programs, body))


def _add_probes(
    app: FastAPI, pool: VerifierPool, programs: ProgramService, readiness: Readiness, metrics: SandboxMetrics
) -> None:
    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Tell whether the process works at all."""
        pool.raise_if_broken()
        return {"status": "ok"}

    @app.get("/readyz", responses={503: ERRORS[503]})
    async def readyz() -> Response:
        """Tell whether it judges: a real answer and a real program prove it."""
        fault = await readiness.fault()
        if fault:
            return error_response(ErrorInfo(kind=ErrorKind.NOT_READY, message=fault, retryable=True))
        ready = {"status": "ok", "isolation_level": programs.isolation_level}
        return Response(json.dumps(ready), media_type="application/json")

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def prometheus() -> Response:
        """Prometheus metrics."""
        metrics.set_isolation(programs.isolation_level)
        return Response(metrics.render(), media_type=CONTENT_TYPE_LATEST)
