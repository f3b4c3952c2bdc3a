"""Keeps the indexes of the children as the API has them, whatever happens to connections."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from contextlib import aclosing
from functools import partial
from typing import Any

import aiohttp
import msgspec
import tenacity

from prorl_api.names import LABEL_JOB
from prorl_operator.kube.client import ApiError
from prorl_operator.kube.stream import ApiStream, GoneError, Kind
from prorl_operator.kube.views import Body, deployment_view, job_view, plan_view, pod_view
from prorl_operator.telemetry import Telemetry
from prorl_operator.watch.child_index import ChildIndex, Key

CHILDREN: dict[str, tuple[str, str, str, Callable[[Body], object]]] = {
    "plans": ("", "v1", "configmaps", plan_view),
    "jobs": ("batch", "v1", "jobs", job_view),
    "deployments": ("apps", "v1", "deployments", deployment_view),
    "pods": ("", "v1", "pods", pod_view),
}
"""Index to group, version and plural, and what is kept of an object."""
GATHER_SECONDS = 0.3
"""Children change in bursts: a pass looks at a burst, not at each change. With the pauses of the watches this is a
quarter of the time within which a failed learner is to have a successor."""
SILENCE_SECONDS = 100.0
"""The server sends a bookmark every minute or so; a watch that brings nothing for this long is dead."""
_PUT_OFF_SECONDS = 1.0
"""The end of a silent watch is put off at most this often: changes come far faster, and to move a timer costs more than
to decode one of them."""
_WORKED_SECONDS = 10.0
"""A watch that lived this long worked: what ends it is no reason to wait before the next."""
_SUDDEN_SECONDS = 1.0
_TROUBLES = (GoneError, ApiError, aiohttp.ClientError, TimeoutError, OSError, msgspec.DecodeError, UnicodeDecodeError)
_logger = logging.getLogger(__name__)


class ChildWatches:
    """One watch for each kind and namespace."""

    def __init__(self, namespaces: Collection[str], telemetry: Telemetry, changed: Callable[[Key], None]) -> None:
        """Begin without any watch.

        Args:
            namespaces: Where to watch; none: everywhere.
            telemetry: Counts watches that break.
            changed: Called with a job for which a view changed.
        """
        self._telemetry = telemetry
        self.indexes: dict[str, ChildIndex[Any]] = {
            name: ChildIndex(view, changed) for name, (_, _, _, view) in CHILDREN.items()
        }
        self._kinds = [
            (name, Kind(group=group, version=version, plural=plural, label=LABEL_JOB, namespace=namespace))
            for name, (group, version, plural, _) in CHILDREN.items()
            for namespace in (*sorted(namespaces),) or (None,)
        ]
        self._heard = {kind: time.monotonic() for _, kind in self._kinds}
        self._unfilled = {kind for _, kind in self._kinds}
        self._filled = asyncio.Event()

    def start(self, stream: ApiStream) -> list[asyncio.Task[None]]:
        """Watch in the background, until the tasks are cancelled; they never end by themselves."""
        return [
            asyncio.create_task(self._keep(stream, self.indexes[name], kind), name=f"watch-{kind.path}")
            for name, kind in self._kinds
        ]

    @property
    def silent_seconds(self) -> float:
        """Since the API last said anything about the kind that it has been silent about for longest."""
        return time.monotonic() - min(self._heard.values())

    async def wait_until_filled(self) -> None:
        """Wait until every index holds what exists, so that nothing is concluded from absence too early."""
        await self._filled.wait()

    async def _keep(self, stream: ApiStream, index: ChildIndex[Any], kind: Kind) -> None:
        patiently = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(_TROUBLES),
            wait=tenacity.wait_random_exponential(multiplier=1, max=30),
            before_sleep=partial(self._tell, kind),
        )
        while True:
            await patiently(self._follow, stream, index, kind)

    async def _follow(self, stream: ApiStream, index: ChildIndex[Any], kind: Kind) -> None:
        """List, then watch until that cannot go on; what stopped it at once is raised."""
        bodies, version = await stream.list(kind)
        index.replace(kind.namespace, bodies)
        self._heard[kind] = time.monotonic()
        del bodies
        self._unfilled.discard(kind)
        if not self._unfilled:
            self._filled.set()
        begun = time.monotonic()
        try:
            while True:
                version = await self._watch(stream, index, kind, version)
        except _TROUBLES as error:
            if time.monotonic() - begun < _WORKED_SECONDS:
                raise
            self._telemetry.watch_broke(kind.plural)
            _logger.info("%s: the watch broke (%s); listing again", kind.path, _words(error))

    async def _watch(self, stream: ApiStream, index: ChildIndex[Any], kind: Kind, version: str) -> str:
        """Follow one watch to its end; return the version that the next goes on from."""
        begun, at_first = time.monotonic(), version
        clock = asyncio.get_running_loop().time
        put_off = clock()
        async with (
            asyncio.timeout_at(put_off + SILENCE_SECONDS) as end,
            aclosing(stream.watch(kind, version)) as changes,
        ):
            async for change in changes:
                version = change.version
                self._heard[kind] = time.monotonic()
                if clock() > put_off + _PUT_OFF_SECONDS:
                    put_off = clock()
                    end.reschedule(put_off + SILENCE_SECONDS)
                if change.type == "DELETED":
                    index.remove(change.object)
                elif change.type != "BOOKMARK":
                    index.put(change.object)
        if version == at_first and time.monotonic() - begun < _SUDDEN_SECONDS:
            raise ApiError(0, "watch", kind.path, "the watch ended as soon as it had begun")
        return version

    def _tell(self, kind: Kind, state: tenacity.RetryCallState) -> None:
        self._telemetry.watch_broke(kind.plural)
        error = state.outcome.exception() if state.outcome is not None else None
        _logger.warning("%s cannot be watched: %s; trying again", kind.path, _words(error))


def _words(error: BaseException | None) -> str:
    """Timeouts have no words of their own."""
    return str(error) or type(error).__name__
