"""A job's series as a Prometheus holds it, read as the operator reads it: for `prorl resets replay --prometheus`."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime

from prorl_api.errors import Fault, SpecError
from prorl_api.spec.job import ProRLJobSpec
from prorl_cli.errors import RunFolderError
from prorl_cli.replaying import StoredSeries
from prorl_control.resets.triggers import DECISIVE, names_wanted
from prorl_control.signals import promql
from prorl_control.signals.answers import AnswerError
from prorl_control.signals.questions import SIGNAL_PREFIX, JobKey, metric_names, samples_query
from prorl_control.signals.snapshots import by_job
from prorl_control.signals.timeline import Timeline
from prorl_operator.signals.client import PrometheusClient, make_session
from prorl_operator.signals.endpoints import Endpoint

_PIECE_SECONDS = 3600.0
"""Of one question: an answer holds every scrape."""
_POINTS_APART = 15.0


def read_series(url: str, job: str, start: str, end: str | None, spec: ProRLJobSpec) -> StoredSeries:
    """Return the lines that scrapes saw between two times.

    Args:
        url: Of the Prometheus, without `/api/v1`.
        job: `NAMESPACE/NAME`.
        start: As `2026-01-31T12:00:00Z`, or Unix time.
        end: The same; None: now.
        spec: Whose triggers and own signals say what is read.

    Raises:
        SpecError: An argument is none of these.
        RunFolderError: The Prometheus has nothing, or cannot be asked.
    """
    namespace, _, name = job.partition("/")
    if not namespace or not name:
        raise SpecError([Fault(path="--job", got=job, want="NAMESPACE/NAME")], source="the command line")
    first = _time("--from", start)
    last = _time("--to", end) if end is not None else datetime.now(UTC).timestamp()
    if last <= first:
        raise SpecError([Fault(path="--to", got=str(end), want="a time after --from")], source="the command line")
    try:
        timeline = asyncio.run(_read(url.rstrip("/"), (namespace, name), first, last, spec))
    except AnswerError as error:
        raise RunFolderError(f"{url}: {error}") from None
    if not timeline.lines:
        raise RunFolderError(f"{url} has no step of job {job} between {start} and {end or 'now'}; look at the labels "
                             "namespace and prorl_job of prorl_learner_step")  # fmt: skip
    return StoredSeries(lines=timeline.lines)


async def _read(url: str, job: JobKey, first: float, last: float, spec: ProRLJobSpec) -> Timeline:
    names = DECISIVE | names_wanted(spec.reference_reset)
    timeline = Timeline()
    async with make_session() as http:
        client = PrometheusClient(http, Endpoint(name=url, url=url))
        snapshots = []
        end = last
        while end > first:
            seconds = min(_PIECE_SECONDS, end - first)
            series = await client.samples(samples_query([job], names, max(1, math.ceil(seconds))), end)
            snapshots += by_job(series, metric_names(names), [job], last)[job].snapshots
            end -= seconds
        timeline.add(snapshots)
        for signal in spec.monitoring.signals:
            apart = max(_POINTS_APART, (last - first) / 5000)
            query = promql.bound(signal.query, job)
            points, fault = promql.one_series(await client.evaluated(query, first, last, apart))
            if fault is not None:
                raise RunFolderError(f"signal {signal.name}: {fault.message}")
            timeline.add_signal(SIGNAL_PREFIX + signal.name, [point for point in points if math.isfinite(point[1])])
    return timeline


def _time(option: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = datetime.min
    if found.tzinfo is None:
        want = "Unix time, or a time with its zone such as 2026-01-31T12:00:00Z"
        raise SpecError([Fault(path=option, got=text, want=want)], source="the command line") from None
    return found.timestamp()
