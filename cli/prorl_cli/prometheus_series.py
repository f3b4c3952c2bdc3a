"""A job's series as a Prometheus holds it, read as the operator reads it: for `prorl resets replay --prometheus`."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from prorl_api.errors import Fault, SpecError
from prorl_api.spec.job import ProRLJobSpec
from prorl_cli.errors import RunFolderError
from prorl_cli.replaying import StoredSeries
from prorl_control.resets.triggers import DECISIVE, names_wanted
from prorl_control.signals import promql
from prorl_control.signals.answers import AnswerError, RawSeries
from prorl_control.signals.questions import (
    LABEL_JOB,
    LABEL_NAMESPACE,
    LABEL_RUN,
    SIGNAL_PREFIX,
    JobKey,
    metric_names,
    samples_query,
)
from prorl_control.signals.reading import SignalFault, SignalReason
from prorl_control.signals.snapshots import each_job
from prorl_control.signals.timeline import Timeline
from prorl_operator.signals.client import PrometheusClient, make_session
from prorl_operator.signals.endpoints import CA_FILE, TOKEN_FILE, USERNAME_FILE, Endpoint

_PIECE_SECONDS = 3600.0
"""Of one question: an answer holds every scrape."""
_POINTS_APART = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAt:
    """Where a series is stored, as the command line says it."""

    url: str
    """Of the Prometheus, without `/api/v1`."""
    job: str
    """`NAMESPACE/NAME`."""
    start: str
    """As `2026-01-31T12:00:00Z`, or Unix time."""
    end: str | None = None
    """The same; None: now."""
    credentials: Path | None = None
    """Folder with the files that the chart mounts for the operator: `token`, or `username` and `password`; `ca.crt`."""
    headers: Sequence[str] = ()
    """Each `Name: value`."""


def read_series(stored: StoredAt, spec: ProRLJobSpec) -> StoredSeries:
    """Return the lines that scrapes saw between two times, with notes of what was left out.

    Args:
        stored: Where.
        spec: Whose triggers and own signals say what is read.

    Raises:
        SpecError: An argument is none.
        RunFolderError: The Prometheus has nothing that can be decided on, or cannot be asked.
    """
    namespace, _, name = stored.job.partition("/")
    if not namespace or not name:
        raise _misused("--job", stored.job, "NAMESPACE/NAME")
    first = _time("--from", stored.start)
    last = _time("--to", stored.end) if stored.end is not None else datetime.now(UTC).timestamp()
    if last <= first:
        raise _misused("--to", str(stored.end), "a time after --from")
    url = stored.url.rstrip("/")
    endpoint = Endpoint(name=url, url=url, headers=_headers(stored.headers), folder=_folder(stored.credentials))
    found = _Found()
    try:
        asyncio.run(_read(endpoint, (namespace, name), first, last, spec, found))
    except AnswerError as error:
        raise RunFolderError(f"{stored.url}: {error}") from None
    timeline, faults = found.timeline, found.faults
    blocking = next((fault for fault in faults if fault.blocks), timeline.fault)
    if blocking is not None:
        raise RunFolderError(f"{stored.url}: {blocking.message}: nothing is decided on that")
    if not timeline.lines:
        raise RunFolderError(
            f"{stored.url} has no step of job {stored.job} between {stored.start} and {stored.end or 'now'}; look at "
            "the labels namespace and prorl_job of prorl_learner_step"
        )
    return StoredSeries(lines=timeline.lines, notes=[fault.message for fault in faults])


@dataclass(slots=True)
class _Found:
    """What the answers had."""

    timeline: Timeline = field(default_factory=Timeline)
    faults: list[SignalFault] = field(default_factory=list)
    """At most one a reason."""
    runs: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Uid of each run that was scraped, with the times of its first and last sample."""

    def note(self, faults: Iterable[SignalFault]) -> None:
        """Keep the first of each reason."""
        known = {fault.reason for fault in self.faults}
        self.faults += [fault for fault in faults if fault.reason not in known]

    def note_runs(self, series: Iterable[RawSeries], job: JobKey) -> None:
        """Keep when each run of this name was scraped: a job that was deleted and made again is another run."""
        for item in series:
            labels = item.labels
            if (labels.get(LABEL_NAMESPACE), labels.get(LABEL_JOB)) != job or not item.points:
                continue
            times = [at for at, _ in item.points]
            first, last = self.runs.get(labels.get(LABEL_RUN, ""), (math.inf, -math.inf))
            self.runs[labels.get(LABEL_RUN, "")] = min(first, *times[:1]), max(last, *times[-1:])

    def check_runs(self) -> None:
        """Refuse a span that has two runs.

        Raises:
            AnswerError: It does.
        """
        if len(self.runs) > 1:
            spans = "; ".join(
                f"{run or 'one without the label prorl_run'} from {_shown(first)} to {_shown(last)}"
                for run, (first, last) in sorted(self.runs.items(), key=lambda item: item[1])
            )
            message = f"{len(self.runs)} runs of that name were scraped: {spans}. Choose one by --from and --to"
            raise AnswerError(SignalReason.TWO_LEARNERS, message)


async def _read(endpoint: Endpoint, job: JobKey, first: float, last: float, spec: ProRLJobSpec, found: _Found) -> None:
    names = DECISIVE | names_wanted(spec.reference_reset)
    async with make_session() as http:
        client = PrometheusClient(http, endpoint)
        snapshots = []
        end = last
        while end > first:
            seconds = min(_PIECE_SECONDS, end - first)
            series = await client.samples(samples_query([job], names, max(1, math.ceil(seconds))), end)
            read = dict(each_job(series, metric_names(names), [job], last, since={job: first}))[job]
            found.note_runs(series, job)
            found.note(read.faults)
            snapshots += read.snapshots
            end -= seconds
        found.check_runs()
        found.timeline.add(snapshots)
        for signal in spec.monitoring.signals:
            apart = max(_POINTS_APART, (last - first) / 5000)
            query = promql.bound(signal.query, job)
            points, fault = promql.one_series(await client.evaluated(query, first, last, apart))
            if fault is not None:
                raise RunFolderError(f"signal {signal.name}: {fault.message}")
            found.timeline.add_signal(SIGNAL_PREFIX + signal.name, [one for one in points if math.isfinite(one[1])])


def _headers(given: Sequence[str]) -> tuple[tuple[str, str], ...]:
    found = []
    for text in given:
        name, colon, value = text.partition(":")
        if not colon or not name.strip() or not text.isprintable():
            raise _misused("--header", text, "`Name: value`, such as `X-Scope-OrgID: research`")
        found.append((name.strip(), value.strip()))
    return tuple(found)


def _folder(given: Path | None) -> Path | None:
    files = (TOKEN_FILE, USERNAME_FILE, CA_FILE)
    if given is not None and not any((given / file).is_file() for file in files):
        raise _misused("--credentials", str(given), f"a folder with at least one of the files {', '.join(files)}")
    return given


def _shown(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _misused(option: str, got: str, want: str) -> SpecError:
    return SpecError([Fault(path=option, got=got, want=want)], source="the command line")


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
        raise _misused(option, text, "Unix time, or a time with its zone such as 2026-01-31T12:00:00Z") from None
    return found.timestamp()
