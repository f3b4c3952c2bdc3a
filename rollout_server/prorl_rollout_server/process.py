"""One rollout server as a process: the API, the engine behind it, and what ends it.

The API is up at once; the engine starts in a thread once the learner has handed out the model's configuration. Ends
on SIGTERM or SIGINT, and with an error when the engine dies, so that whoever started it starts another.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Iterator
from functools import partial

import httpx
import uvicorn

from prorl_api.errors import ProRLError
from prorl_api.process.addresses import base_url_origin
from prorl_api.process.connections import limited_config
from prorl_api.process.fence import AttemptFence
from prorl_api.process.listen import address_of
from prorl_api.process.tokens import AcceptedTokens
from prorl_rollout_server.app import create_app
from prorl_rollout_server.children import in_daemon_thread
from prorl_rollout_server.engine_check import raise_if_unfit
from prorl_rollout_server.learner_client import LearnerClient
from prorl_rollout_server.metrics import Metrics
from prorl_rollout_server.registration import Registration
from prorl_rollout_server.scratch import Scratch
from prorl_rollout_server.service import RolloutService
from prorl_rollout_server.settings import ServerSettings
from prorl_rollout_server.vllm_engine import preload, prepare_environment, start_vllm
from prorl_rollout_server.weights import WeightsFetcher

ENGINE_POLL_SECONDS = 0.5
HTTP_TIMEOUT = httpx.Timeout(30.0, connect=5.0)
GRACEFUL_SECONDS = 3
"""Open streams have so long to end after their groups were cancelled."""

_logger = logging.getLogger("prorl_rollout_server")


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: it would raise the signal again before we have cleaned up."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class EngineGoneError(ProRLError):
    """The engine ended by itself or hangs; its own log, above, says why."""


async def serve(settings: ServerSettings, listening: socket.socket) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        EngineGoneError: The engine died, hangs, or did not start in time.
        SpecError: It cannot run this model, or not with these settings.
        ModuleNotFoundError: A library of it is not installed.
    """
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    scratch, fence = Scratch(), AttemptFence()
    scratch.reap()
    prepare_environment(settings.engine, scratch)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(scratch.close)
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=HTTP_TIMEOUT, trust_env=False))
        service = RolloutService(
            WeightsFetcher(http, scratch, base_url_origin(settings.learner_url)), Metrics(settings.job_name)
        )
        learner = LearnerClient(http, settings.learner_url)
        address = settings.advertised_url or f"http://{address_of(listening)}"
        config = limited_config(
            create_app(service, AcceptedTokens.from_environment(), fence),
            log_config=None,
            lifespan="off",
            timeout_graceful_shutdown=GRACEFUL_SECONDS,
        )
        server = _Server(config)
        jobs = [
            asyncio.create_task(server.serve(sockets=[listening]), name="http"),
            asyncio.create_task(_start_engine(settings, learner, scratch, service), name="engine"),
            asyncio.create_task(Registration(learner, service, fence, address).run(), name="registration"),
            asyncio.create_task(stopped.wait(), name="signal"),
        ]
        _logger.info("listening on %s", address_of(listening), extra={"incarnation": service.incarnation})
        try:
            done, _ = await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for job in jobs[1:]:
                job.cancel()
            await service.close()
            server.should_exit = True
            await asyncio.wait(jobs)
        for job in done:
            job.result()


async def _start_engine(
    settings: ServerSettings, learner: LearnerClient, scratch: Scratch, service: RolloutService
) -> None:
    """Bring the engine up, then watch it for as long as the process lives."""
    folder = scratch.folder("model")
    loading = asyncio.create_task(in_daemon_thread(preload))
    await learner.fetch_model_files(folder)
    await loading
    raise_if_unfit(folder, settings.engine)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    try:
        async with asyncio.timeout(settings.engine.startup_timeout_seconds):
            engine = await in_daemon_thread(partial(start_vllm, folder, settings.engine))
    except TimeoutError as error:
        raise EngineGoneError(f"vLLM did not start in {settings.engine.startup_timeout_seconds:g} s") from error
    service.attach(engine)
    _logger.info("the engine is up", extra={"start_seconds": round(loop.time() - begun, 1)})
    while not service.engine_has_died:  # noqa: ASYNC110  # vLLM has no event for it
        await asyncio.sleep(ENGINE_POLL_SECONDS)
    raise EngineGoneError(f"{service.detail}; vLLM's log above says why")
