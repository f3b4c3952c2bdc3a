"""From the samples of a Prometheus to snapshots of learners: what one scrape saw, step and attempt included. Pure.

All samples of one scrape have the same timestamp, so a snapshot never mixes two steps. What cannot be a snapshot of the
job's one learner becomes a fault, never a number.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from prorl_api.metrics import BY_NAME
from prorl_control.signals.answers import RawSeries
from prorl_control.signals.questions import (
    ATTEMPT,
    LABEL_JOB,
    LABEL_NAMESPACE,
    LABEL_POD,
    LABEL_RUN,
    LABEL_SOURCE,
    RESUMED,
    STEP,
    JobKey,
)
from prorl_control.signals.reading import SignalFault, SignalReason

FUTURE_SECONDS = 60.0
"""Clocks of machines differ by less; a sample from later than this was not scraped."""
_LARGEST = 2**31 - 1
_OF_A_SCRAPE = frozenset({"__name__", "stage", LABEL_SOURCE})
"""Labels that differ among the series of one target; the rest says which target, and which replica scraped it."""

_Instance = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one scrape saw of a learner."""

    at: float
    """Unix time of the scrape."""
    attempt: int
    step: int
    resumed_from: int | None
    """Completed steps that the attempt began with, -1 for none; None: the learner does not say."""
    values: Mapping[str, float]
    """By name in the metrics table; finite."""


@dataclass(slots=True)
class JobSamples:
    """What an answer has of one job."""

    snapshots: list[Snapshot] = field(default_factory=list)
    """By time."""
    faults: list[SignalFault] = field(default_factory=list)
    """At most one a reason."""

    def add_fault(self, reason: SignalReason, message: str) -> None:
        """Keep the first of each reason."""
        if all(fault.reason is not reason for fault in self.faults):
            self.faults.append(SignalFault(reason=reason, message=message))


def each_job(
    series: Iterable[RawSeries],
    names: Mapping[str, str],
    jobs: Collection[JobKey],
    now: float,
    runs: Mapping[JobKey, str] | None = None,
    since: Mapping[JobKey, float] | None = None,
) -> Iterator[tuple[JobKey, JobSamples]]:
    """Give what an answer has of each job, one after the other: all together would be large.

    Args:
        series: The answer; what is of other jobs is passed over.
        names: Prometheus names to names of the metrics table (`questions.metric_names`).
        jobs: Those that were asked for; each comes once.
        now: Unix time.
        runs: Uid of each job: series that say another one are of an earlier job of the same name.
        since: Unix time at which each job began, for series that do not say whose they are.
    """
    found: dict[JobKey, dict[_Instance, list[tuple[str, RawSeries]]]] = {job: {} for job in jobs}
    for item in series:
        labels = item.labels
        job = labels.get(LABEL_NAMESPACE, ""), labels.get(LABEL_JOB, "")
        instances = found.get(job)
        name = names.get(labels.get("__name__", ""))
        if instances is None or name is None:
            continue
        if runs is not None and labels.get(LABEL_RUN, runs[job]) != runs[job]:
            continue
        metric = BY_NAME.get(name)
        if metric is not None and metric.by_source:
            name = f"{name}/{labels.get(LABEL_SOURCE, '')}"
        instance = frozenset(pair for pair in labels.items() if pair[0] not in _OF_A_SCRAPE)
        instances.setdefault(instance, []).append((name, item))
    begun = since or {}
    for job in list(found):
        yield job, _samples(found.pop(job), begun.get(job, 0.0), now)


def _samples(instances: Mapping[_Instance, list[tuple[str, RawSeries]]], since: float, now: float) -> JobSamples:
    result = JobSamples()
    learners: dict[int, set[str]] = {}
    for instance, series in instances.items():
        snapshots = _snapshots(series, since, now, result)
        target = dict(instance)
        for snapshot in snapshots:
            learners.setdefault(snapshot.attempt, set()).add(target.get(LABEL_POD) or target.get("instance", ""))
        result.snapshots += snapshots
    for attempt, pods in learners.items():
        if len(pods) > 1:
            which = " and ".join(sorted(pods)[:3])
            result.add_fault(SignalReason.TWO_LEARNERS, f"{which} both say to be attempt {attempt} of this job")
    result.snapshots.sort(key=lambda snapshot: snapshot.at)
    return result


def _snapshots(series: list[tuple[str, RawSeries]], since: float, now: float, result: JobSamples) -> list[Snapshot]:
    """Put the samples of one target together by time."""
    scrapes: dict[float, dict[str, float]] = {}
    torn: set[float] = set()
    for name, item in series:
        for at, value in item.points:
            if at < since:
                continue
            scrape = scrapes.setdefault(at, {})
            known = scrape.setdefault(name, value)
            if known == value or math.isnan(value):  # NaN: of a series that ended, beside the one that goes on
                continue
            if not math.isnan(known):
                torn.add(at)
            scrape[name] = value
    if torn:
        message = f"{len(torn)} scrapes have two values of one metric; these are left out"
        result.add_fault(SignalReason.CONTRADICTORY, message)
    snapshots = []
    for at in sorted(scrapes.keys() - torn):
        if at > now + FUTURE_SECONDS:
            message = f"it has samples from {at - now:.0f} s in the future: check the clocks"
            result.add_fault(SignalReason.FROM_THE_FUTURE, message)
            break
        snapshot = _snapshot(at, scrapes[at], result)
        if snapshot is not None:
            snapshots.append(snapshot)
    return snapshots


def _snapshot(at: float, scrape: Mapping[str, float], result: JobSamples) -> Snapshot | None:
    if scrape.keys() <= {RESUMED}:
        return None  # no step is done yet
    if all(map(math.isnan, scrape.values())):
        return None  # the target ended: VictoriaMetrics shows Prometheus' marks of that as NaN, Prometheus hides them
    step, attempt = _count(scrape.get(STEP)), _count(scrape.get(ATTEMPT))
    if step is None or attempt is None:
        got = ", ".join(f"{name} {scrape.get(name, 'nothing')}" for name in (STEP, ATTEMPT))
        message = f"a scrape without whole numbers `step` and `attempt` ({got}) is left out"
        result.add_fault(SignalReason.INCOMPLETE, message)
        return None
    values = {}
    for name, value in scrape.items():
        if name in (STEP, ATTEMPT, RESUMED):
            continue
        if math.isfinite(value):
            values[name] = value
        else:
            result.add_fault(SignalReason.NOT_FINITE, f"{name} of step {step} is {value}; it is left out")
    resumed = scrape.get(RESUMED)
    return Snapshot(at, attempt, step, _resumed(resumed, step), values)


def _count(value: float | None) -> int | None:
    if value is None or not math.isfinite(value) or value != int(value) or not 0 <= value <= _LARGEST:
        return None
    return int(value)


def _resumed(value: float | None, step: int) -> int | None:
    if value == -1:
        return -1
    count = _count(value)
    return count if count is not None and count <= step else None


def line_of(snapshot: Snapshot) -> dict[str, Any]:
    """Return the snapshot as a line of the metrics table."""
    return {STEP: snapshot.step, ATTEMPT: snapshot.attempt, **snapshot.values}
