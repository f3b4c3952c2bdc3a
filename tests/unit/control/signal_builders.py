"""Answers of a Prometheus, as its HTTP API writes them, for tests of what is made of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from prorl_api.wire.learner import LearnerPhase, LearnerStatus
from prorl_control.signals.answers import matrix
from prorl_control.signals.job_signals import JobSignals, OwnSignal, Span, WantedSignals
from prorl_control.signals.questions import metric_names
from prorl_control.signals.snapshots import JobSamples, each_job

JOB = ("team-a", "demo")
NOW = 1_800_000_000.0
INTERVAL = 15.0
NAMES = frozenset({"kl", "validation_accuracy"})
PREFIX = "prorl_learner_"
TARGET = {"namespace": "team-a", "prorl_job": "demo", "prorl_role": "learner", "pod": "demo-learner-1-0"}

Scrape = tuple[float, Mapping[str, float | str]]
"""Seconds before now, and values by Prometheus name without its prefix."""


def result(scrapes: Iterable[Scrape], **labels: str) -> list[dict[str, Any]]:
    """The series of one target."""
    series: dict[str, list[list[Any]]] = {}
    for ago, values in scrapes:
        for name, value in values.items():
            series.setdefault(name, []).append([NOW - ago, str(value)])
    target = {**TARGET, **labels}
    return [
        {"metric": {"__name__": PREFIX + name, **target}, "values": sorted(values)} for name, values in series.items()
    ]


def answer(*results: list[dict[str, Any]]) -> dict[str, Any]:
    """A whole answer."""
    joined = [series for one in results for series in one]
    return {"status": "success", "data": {"resultType": "matrix", "result": joined}}


def step(number: int, *, attempt: int = 1, kl: float | str | None = 0.1, **more: float | str) -> dict[str, float | str]:
    """What a scrape of a learner at a step has."""
    values: dict[str, float | str] = {"step": number, "attempt": attempt, "resumed_from_step": -1, **more}
    return values if kl is None else {**values, "kl_nats": kl}


def samples(*results: list[dict[str, Any]], names: frozenset[str] = NAMES, since: float = 0.0) -> JobSamples:
    """What an answer has of the job."""
    return dict(each_job(matrix(answer(*results)), metric_names(names), [JOB], NOW, since={JOB: since}))[JOB]


def make_wanted(**changes: Any) -> WantedSignals:
    """What is wanted of the job."""
    values: dict[str, Any] = {
        "job": JOB,
        "uid": "uid-1",
        "names": NAMES,
        "own": (),
        "since": NOW - 3600,
        "recent": 16,
        "target_step": 0,
        "prometheus": "main",
        "interval": INTERVAL,
        **changes,
    }
    return WantedSignals(**values)


def make_own(name: str = "judged", query: str = "judged") -> OwnSignal:
    """An own signal."""
    return OwnSignal(name=f"signals.{name}", query=query, path="spec.monitoring.signals[0].query")


def fed(*results: list[dict[str, Any]], wanted: WantedSignals | None = None) -> JobSignals:
    """The signals of the job after one question that reached back to its beginning."""
    wanted = wanted or make_wanted()
    signals = JobSignals(wanted)
    signals.take(Span(wanted.since, NOW), samples(*results, since=wanted.since), {})
    return signals


def make_learner(step: int = 100, *, attempt: int = 1, resumed: int | None = None) -> LearnerStatus:
    """What the learner says."""
    return LearnerStatus(
        attempt=attempt,
        phase=LearnerPhase.SAMPLING,
        phase_since=NOW,
        heartbeat=NOW,
        step=step,
        total_steps=1000,
        resumed_from_step=resumed,
    )
