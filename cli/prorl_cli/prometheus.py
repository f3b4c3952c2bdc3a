"""Reads the stored series of a job from a Prometheus, for replays: asked and judged as the operator does it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from prorl_control.signals.answers import AnswerError, RawSeries, matrix, refused
from prorl_control.signals.questions import JobKey, metric_names, samples_query
from prorl_control.signals.reading import SignalFault, SignalReason
from prorl_control.signals.snapshots import by_job
from prorl_control.signals.timeline import Timeline

_PIECE_SECONDS = 6 * 3600.0
"""Of one question: at a scrape every 15 seconds 1,440 samples of each metric."""
_TIMEOUT_SECONDS = 60.0
_OK = 200


@dataclass(frozen=True, slots=True)
class StoredSeries:
    """What a Prometheus holds of a job."""

    lines: list[dict[str, Any]]
    """Of the surviving timeline, ascending; steps that no scrape saw are absent."""
    faults: tuple[SignalFault, ...]
    """What was left out, and why."""


def stored_series(
    url: str,
    job: JobKey,
    names: Iterable[str],
    *,
    start: float,
    end: float,
    headers: Mapping[str, str] | None = None,
) -> StoredSeries:
    """Read a job's lines.

    Args:
        url: Of the Prometheus, without `/api/v1`.
        job: Namespace and name.
        names: Metrics that are wanted, as in the metrics table.
        start: Unix time.
        end: Unix time.
        headers: Credentials, a tenant.

    Raises:
        AnswerError: The Prometheus gives no usable answer.
    """
    wanted = metric_names(names)
    timeline = Timeline()
    faults: dict[SignalReason, SignalFault] = {}
    with httpx.Client(timeout=_TIMEOUT_SECONDS, headers=dict(headers or {}), follow_redirects=False) as http:
        until = start
        while until < end:
            since, until = until, min(until + _PIECE_SECONDS, end)
            query = samples_query([job], names, max(1, math.ceil(until - since)))
            series = _ask(http, url.rstrip("/") + "/api/v1/query", {"query": query, "time": f"{until:.3f}"})
            found = by_job(series, wanted, [job], end)[job]
            timeline.add(found.snapshots)
            for fault in (*found.faults, *([timeline.fault] if timeline.fault is not None else [])):
                faults.setdefault(fault.reason, fault)
    return StoredSeries(timeline.lines, tuple(faults.values()))


def _ask(http: httpx.Client, url: str, form: Mapping[str, str]) -> list[RawSeries]:
    try:
        answer = http.post(url, data=dict(form))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise AnswerError(SignalReason.UNREACHABLE, f"{url} cannot be reached: {error}") from error
    try:
        document = answer.json()
    except ValueError:
        document = None
    if answer.status_code != _OK:
        raise refused(answer.status_code, document)
    return matrix(document)
