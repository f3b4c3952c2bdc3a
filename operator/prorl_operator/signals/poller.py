"""Reads the signals of all jobs from their Prometheus, beside the passes: these find what was read last and never wait.

A hundred jobs are asked for in one query each scrape interval. A job's own signals are queries of its own: one job's
fault in them must not take the others' samples away.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import aiohttp

from prorl_control.signals import promql
from prorl_control.signals.answers import AnswerError
from prorl_control.signals.job_signals import JobSignals, OwnSignal, Span, WantedSignals, own_signal
from prorl_control.signals.questions import JobKey, metric_names, samples_query
from prorl_control.signals.reading import SignalFault, SignalReason
from prorl_control.signals.snapshots import JobSamples, each_job
from prorl_operator.signals.client import PrometheusClient
from prorl_operator.signals.endpoints import Endpoint
from prorl_operator.telemetry import Telemetry

JOBS_A_QUERY = 100
_SAMPLES_A_QUERY = 1_000_000
"""Of what one query may bring; where more is to come, fewer jobs are asked for at once."""
_TICK_SECONDS = 0.25
_UNASKED_SECONDS = 60.0
"""A job that no pass asked about for so long has no learner; it is not read meanwhile."""
_MAX_POINTS = 5000
"""Of an own signal over a long span; servers refuse more than 11,000."""
_OWN_AT_ONCE = 4
_logger = logging.getLogger(__name__)

Points = list[tuple[float, float]]


@dataclass(slots=True)
class _Watched:
    signals: JobSignals
    asked_at: float


@dataclass(slots=True)
class _Watch:
    """One Prometheus and the jobs that are read from it."""

    endpoint: Endpoint
    client: PrometheusClient
    jobs: dict[JobKey, _Watched] = field(default_factory=dict)
    rounds: int = 0
    due: float = 0.0
    """When the next round is due, on the clock of the event loop."""
    running: asyncio.Task[None] | None = None
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_OWN_AT_ONCE))
    """Of own signals' queries: what waits for a connection would run out of time."""


class SignalPoller:
    """Keeps what is known of every job that is decided on by a Prometheus."""

    def __init__(
        self, http: aiohttp.ClientSession, telemetry: Telemetry, clock: Callable[[], float] = time.time
    ) -> None:
        self._http = http
        self._telemetry = telemetry
        self._clock = clock
        self._watches: dict[Endpoint, _Watch] = {}

    def source(self, endpoint: Endpoint, wanted: WantedSignals) -> JobSignals:
        """Return what is known of a job, and have it read from now on."""
        watch = self._watches.get(endpoint)
        if watch is None:
            watch = self._watches[endpoint] = _Watch(endpoint, PrometheusClient(self._http, endpoint))
        known = watch.jobs.get(wanted.job)
        if known is None:
            self.forget(wanted.job)  # it may have been read from another one
            known = watch.jobs[wanted.job] = _Watched(JobSignals(wanted), 0.0)
        known.signals.want(wanted)
        known.asked_at = self._clock()
        return known.signals

    def forget(self, job: JobKey) -> None:
        """Stop reading a job."""
        for watch in self._watches.values():
            watch.jobs.pop(job, None)

    async def keep(self) -> None:
        """Read on, until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                for watch in self._watches.values():
                    if watch.running is not None and watch.running.done():
                        watch.running = None
                    if watch.jobs and watch.running is None and loop.time() >= watch.due:
                        watch.due = loop.time() + watch.endpoint.interval
                        watch.running = asyncio.create_task(self._round(watch))
                await asyncio.sleep(_TICK_SECONDS)
        finally:
            for watch in self._watches.values():
                if watch.running is not None:
                    watch.running.cancel()

    async def _round(self, watch: _Watch) -> None:
        """Ask once for every job: by turns for the newest samples and, where it is wanted, for a piece of history."""
        try:
            await self._ask_all(watch)
        except Exception:  # the edge of a round: what one answer does to us must not stop the others
            _logger.exception("Prometheus %s: a round failed; the next one comes", watch.endpoint.name)
        watch.rounds += 1

    async def _ask_all(self, watch: _Watch) -> None:
        now = self._clock()
        active = [item.signals for item in watch.jobs.values() if now - item.asked_at <= _UNASKED_SECONDS]
        for span, jobs in _questions(active, now, is_turn_of_history=watch.rounds % 2 == 1):
            await self._ask(watch, span, jobs)

    async def _ask(self, watch: _Watch, span: Span, jobs: Sequence[JobSignals]) -> None:
        keys = [signals.wanted.job for signals in jobs]
        wanted = [signals.wanted for signals in jobs]
        names = frozenset().union(*(one.names for one in wanted))
        query = samples_query(keys, names, max(1, math.ceil(span.end - span.start)))
        begun = time.perf_counter()
        try:
            series = await watch.client.samples(query, span.end)
        except AnswerError as error:
            self._telemetry.prometheus_asked(watch.endpoint.name, error.fault.reason.value, time.perf_counter() - begun)
            _logger.info("Prometheus %s: %s", watch.endpoint.name, error)
            for signals in jobs:
                signals.fail(_named(watch.endpoint, error.fault))
            return
        self._telemetry.prometheus_asked(watch.endpoint.name, "ok", time.perf_counter() - begun)
        runs, since = {one.job: one.uid for one in wanted}, {one.job: one.since for one in wanted}
        asked = dict(zip(keys, zip(jobs, wanted, strict=True), strict=True))
        waiting = []
        for key, samples in each_job(series, metric_names(names), keys, self._clock(), runs, since):
            signals, one = asked[key]
            if one.own:  # has more to ask
                waiting.append(self._take(watch, span, signals, one, samples))
            else:
                await self._take(watch, span, signals, one, samples)
                await asyncio.sleep(0)  # passes go on between two jobs
        await asyncio.gather(*waiting)

    async def _take(
        self, watch: _Watch, span: Span, signals: JobSignals, wanted: WantedSignals, samples: JobSamples
    ) -> None:
        own: dict[str, Points] = {}
        for signal in wanted.own:
            points, fault = await self._own(watch, span, signal)
            own[signal.name] = points
            if not span.is_history:
                signals.take_own_fault(signal, fault)
        if signals.wanted == wanted:  # else it was edited meanwhile, and is asked for anew
            signals.take(span, samples, own)

    async def _own(self, watch: _Watch, span: Span, signal: OwnSignal) -> tuple[Points, SignalFault | None]:
        step = max(watch.endpoint.interval, (span.end - span.start) / _MAX_POINTS)
        begun = time.perf_counter()
        try:
            async with watch.turns:
                series = await watch.client.evaluated(signal.query, span.start, span.end, step)
        except AnswerError as error:
            self._telemetry.prometheus_asked(watch.endpoint.name, error.fault.reason.value, time.perf_counter() - begun)
            reason = error.fault.reason
            if reason is SignalReason.REFUSED:
                reason = SignalReason.SIGNAL_FAULTY
            return [], SignalFault(reason=reason, message=error.fault.message)
        self._telemetry.prometheus_asked(watch.endpoint.name, "ok", time.perf_counter() - begun)
        points, fault = promql.one_series(series)
        finite = [(at, value) for at, value in points if math.isfinite(value) and span.start <= at <= span.end]
        if len(finite) < len(points) and fault is None:
            message = "it gives values that are no finite numbers, or of other times than were asked for"
            fault = SignalFault(reason=SignalReason.NOT_FINITE, message=f"{message}; they are left out")
        return finite, fault


def _questions(
    jobs: Sequence[JobSignals], now: float, *, is_turn_of_history: bool
) -> list[tuple[Span, list[JobSignals]]]:
    """Return what to ask in one round: at most one query for each hundred jobs, but for what would be too much at once.

    Args:
        jobs: Those to be read.
        now: Unix time.
        is_turn_of_history: Whether jobs that want history are asked for that, and the others alone for what is newest.
    """
    asked: list[tuple[Span, JobSignals]] = []
    for signals in jobs:
        history = signals.history_span() if is_turn_of_history else None
        asked.append((history or signals.newest_span(now), signals))
    # Alike spans together: one job that begins must not have a hundred others read again for an hour.
    asked.sort(key=lambda item: (item[0].is_history, item[0].start // 60, item[1].wanted.job))
    questions: list[tuple[Span, list[JobSignals]]] = []
    for span, signals in asked:
        if questions and _fits(*questions[-1], span, signals):
            last, together = questions[-1]
            together.append(signals)
            start, end = min(last.start, span.start), max(last.end, span.end)
            questions[-1] = Span(start, end, is_history=span.is_history), together
        else:
            questions.append((span, [signals]))
    return questions[: max(1, math.ceil(len(jobs) / JOBS_A_QUERY))]


def _fits(last: Span, together: Sequence[JobSignals], span: Span, signals: JobSignals) -> bool:
    if last.is_history != span.is_history or len(together) >= JOBS_A_QUERY:
        return False
    if span.is_history and (last.start, last.end) != (span.start, span.end):
        return False
    seconds = max(last.end, span.end) - min(last.start, span.start)
    metrics = len(signals.wanted.names) + 3
    return (len(together) + 1) * metrics * seconds / signals.wanted.interval <= _SAMPLES_A_QUERY


def _named(endpoint: Endpoint, fault: SignalFault) -> SignalFault:
    return SignalFault(reason=fault.reason, message=f"Prometheus {endpoint.name}: {fault.message}")


def own_signals(queries: Iterable[tuple[str, str]], job: JobKey) -> tuple[OwnSignal, ...]:
    """Return a job's own signals, bound to its namespace. They were judged when the manifest was accepted."""
    return tuple(own_signal(index, name, promql.bound(query, job)) for index, (name, query) in enumerate(queries))
