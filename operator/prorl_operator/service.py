"""The operator as a whole: watches, queue, workers, election and probes in one event loop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time

import kopf

from prorl_api.errors import ExitCode
from prorl_operator.controller import Controller, ControllerParts
from prorl_operator.election import Election
from prorl_operator.health import create_app, served
from prorl_operator.kube.client import Api, ApiError
from prorl_operator.kube.connection import connect
from prorl_operator.kube.credentials import ApiClient
from prorl_operator.kube.reset_objects import StaleViewError
from prorl_operator.kube.stream import ApiStream
from prorl_operator.learner_api import make_session
from prorl_operator.process_memory import tidy
from prorl_operator.settings import OperatorSettings
from prorl_operator.signals import client as prometheus
from prorl_operator.signals.poller import SignalPoller
from prorl_operator.telemetry import Telemetry
from prorl_operator.watch.child_watches import GATHER_SECONDS, ChildWatches
from prorl_operator.watch.handlers import Watches, kopf_settings, watched_namespaces
from prorl_operator.watch.view_index import IndexedViews, Key
from prorl_operator.watch.work_queue import WorkQueue

STALE_RETRY_SECONDS = 0.3
"""The watch is behind by less than this as a rule."""
_FIRST_BACKOFF, _MAX_BACKOFF = 1.0, 60.0
_logger = logging.getLogger(__name__)


class OperatorService:
    """One operator process."""

    def __init__(self, settings: OperatorSettings, api_client: ApiClient) -> None:
        self._settings = settings
        self.telemetry = Telemetry()
        self.queue: WorkQueue[Key] = WorkQueue()
        self.children = ChildWatches(settings.namespaces, self.telemetry, self._enqueue_soon)
        self.views = IndexedViews(self.children.indexes)
        self.watches = Watches(self.views, self._enqueue, lease=(settings.own_namespace, settings.lease_name))
        self._api_client = api_client
        self._election = Election(
            name=settings.lease_name,
            namespace=settings.own_namespace,
            identity=settings.identity,
            lease_seconds=settings.lease_seconds,
        )
        self._leading = asyncio.Event()
        self._failures: dict[Key, int] = {}
        self._passes = 0

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT, which kopf takes."""
        loop = asyncio.get_running_loop()
        self._election.begin(on_start=lambda: loop.call_soon_threadsafe(self._begin_leading), on_lost=_leave_at_once)
        probes = create_app(self.watches, self.children, self.telemetry, lambda: self.watches.is_synced)
        address = self._settings.http_host, self._settings.http_port
        async with (
            make_session() as http,
            prometheus.make_session() as asking,
            connect(self._api_client) as connection,
            served(probes, *address),
        ):
            api = Api(connection, self.telemetry)
            signals = SignalPoller(asking, self.telemetry)
            controller = Controller(
                ControllerParts(
                    api=api,
                    views=self.views,
                    http=http,
                    settings=self._settings,
                    telemetry=self.telemetry,
                    signals=signals,
                )
            )
            workers = [
                asyncio.create_task(self._work(controller), name=f"worker-{number}")
                for number in range(self._settings.workers)
            ]
            keeping = [
                asyncio.create_task(tidy(lambda: self._passes), name="tidying"),
                asyncio.create_task(api.turns.keep(), name="turns"),
                asyncio.create_task(signals.keep(), name="signals"),
            ]
            background = [*workers, *self.children.start(ApiStream(connection)), *keeping]
            watching = asyncio.create_task(self._watch(), name="kopf")
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, watching.cancel)  # until kopf has handlers of its own
            done, _ = await asyncio.wait([watching, *background], return_when=asyncio.FIRST_COMPLETED)
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            self._election.release()
            for task in done:
                if not task.cancelled():  # kopf cancels what it finds when it ends
                    task.result()

    def _enqueue(self, key: Key) -> None:
        self.telemetry.jobs.set(len(self.views.keys()))
        if self._acts_on(key):
            self.queue.add(key)

    def _enqueue_soon(self, key: Key) -> None:
        if self._acts_on(key):
            self.queue.add_after(key, GATHER_SECONDS)

    def _acts_on(self, key: Key) -> bool:
        return self._leading.is_set() and self._serves(key)

    def _begin_leading(self) -> None:
        self.telemetry.leader.set(1)
        self._leading.set()
        for key in self.views.by_urgency():
            if self._serves(key):
                self.queue.add(key)

    def _serves(self, key: Key) -> bool:
        """Tell whether jobs of a namespace are served; the own one is watched for the Lease in any case."""
        return not self._settings.namespaces or key[0] in self._settings.namespaces

    async def _watch(self) -> None:
        # kopf's handlers set passes going, and these look at the children.
        await self.children.wait_until_filled()
        await kopf.operator(
            registry=self.watches.registry,
            settings=kopf_settings(lease_name=self._settings.lease_name, is_scoped=bool(self._settings.namespaces)),
            standalone=True,
            **watched_namespaces(self._settings.namespaces, self._settings.own_namespace),
        )

    async def _work(self, controller: Controller) -> None:
        while True:
            key = await self.queue.take()
            self._passes += 1
            self.telemetry.queue.set(len(self.queue))
            begun = time.perf_counter()
            result = "ok"
            try:
                again = await controller.work(key)
                self._failures.pop(key, None)
            except StaleViewError as error:
                _logger.info("%s/%s: %s; looking again", *key, error)
                again, result = STALE_RETRY_SECONDS, "stale"
            except ApiError as error:
                again, result = self._backoff(key), "error"
                _logger.warning("%s/%s: %s; trying again in %.0f s", *key, error, again)
            except Exception:  # the edge of the worker: one job's fault must not stop the others
                again, result = self._backoff(key), "error"
                _logger.exception("%s/%s: the pass failed; trying again in %.0f s", *key, again)
            finally:
                self.queue.done(key)
            self.telemetry.reconciled(result, time.perf_counter() - begun)
            if again is not None:
                self.queue.add_after(key, again)

    def _backoff(self, key: Key) -> float:
        count = self._failures[key] = self._failures.get(key, 0) + 1
        return min(_FIRST_BACKOFF * 2.0 ** min(count - 1, 10), _MAX_BACKOFF)


def _leave_at_once() -> None:
    """Leave: the Lease is lost, and somebody else acts from now on. Nothing may be finished."""
    _logger.error("the Lease could not be renewed: another operator leads; ending at once")
    logging.shutdown()
    os._exit(ExitCode.FAILED)
