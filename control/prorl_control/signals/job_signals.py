"""What is known of one job from a Prometheus: what to ask next, what came, and whether it can be decided on. Pure.

Newest samples are asked for first, again and again; the history, back to the last applied reset, behind them. Nothing
is decided before it is there: half a timeline has another best validation than the whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from prorl_api.resets import EvidenceOrigin
from prorl_api.wire.learner import LearnerStatus
from prorl_control.signals.questions import ATTEMPT, SIGNAL_PREFIX, STEP, JobKey, is_own_signal, metric_query
from prorl_control.signals.reading import Reading, SignalFault, SignalReason
from prorl_control.signals.snapshots import JobSamples
from prorl_control.signals.timeline import Timeline, unseen_steps

STALE_INTERVALS = 5.0
"""Without a sample for so many scrape intervals the data are stale: Prometheus itself writes a series off after one."""
_OVERLAP_INTERVALS = 4.0
"""Asked for again each time, for samples that arrive late."""
_RACE_INTERVALS = 2.0
"""The learner's word and the samples of so many intervals may have crossed."""
_CHUNK_SAMPLES = 240
"""Scrapes of the first question, and of the longest gap that is closed; a longer one is history."""
_HISTORY_SAMPLES = 1000
_MAX_DOUBLED = 8
"""Where there is nothing, history is asked for in pieces of twice the length, up to 2^8 times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnSignal:
    """A signal of the job, ready to be asked for."""

    name: str
    """As triggers know it: with its prefix."""
    query: str
    """Bound to the job's namespace."""
    path: str
    """Of the query in the manifest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedSignals:
    """What is to be read of a job."""

    job: JobKey
    uid: str
    """Of the job."""
    names: frozenset[str]
    """Of the metrics table."""
    own: tuple[OwnSignal, ...]
    since: float
    """Unix time; samples from before it are of another job of the same name."""
    recent: int
    """Newest lines to keep, whatever they hold."""
    target_step: int
    """History goes back to the line after this step, that of the last applied reset."""
    prometheus: str
    """What the Prometheus is called."""
    interval: float
    """Seconds between scrapes."""


@dataclass(frozen=True, slots=True)
class Span:
    """A range of time to ask for, in Unix time."""

    start: float
    end: float
    is_history: bool = False


class JobSignals:
    """The signals of one job."""

    def __init__(self, wanted: WantedSignals) -> None:
        self.wanted = wanted
        self._timeline = Timeline()
        self._covered: tuple[float, float] | None = None
        self._empty_pieces = 0
        self._faults: tuple[SignalFault, ...] = ()
        self._source_fault: SignalFault | None = None
        self._own_faults: dict[str, SignalFault] = {}
        self._asked = False

    def want(self, wanted: WantedSignals) -> None:
        """Take up a change of what is wanted; with other metrics or signals everything is read anew."""
        before = self.wanted
        if (before.uid, before.names, before.own) != (wanted.uid, wanted.names, wanted.own):
            self._forget()
            self._own_faults = {}
        self.wanted = wanted

    def newest_span(self, now: float) -> Span:
        """Return what to ask for the newest samples."""
        wanted = self.wanted
        longest = _CHUNK_SAMPLES * wanted.interval
        if self._covered is not None:
            newest = self._timeline.newest_at
            start = min(self._covered[1], newest if newest is not None else now) - _OVERLAP_INTERVALS * wanted.interval
            if now - start <= longest:
                return Span(max(start, wanted.since), now)
        if self._covered is not None and now - self._covered[1] > longest:
            self._forget()
        return Span(max(wanted.since, now - longest), now)

    def history_span(self) -> Span | None:
        """Return the next piece of history to ask for, from the newest to the oldest; None: it is complete."""
        if self._covered is None or self.has_history:
            return None
        end, wanted = self._covered[0], self.wanted
        length = _HISTORY_SAMPLES * wanted.interval * 2.0 ** min(self._empty_pieces, _MAX_DOUBLED)
        # Pieces begin at the same times for all jobs, so that they are asked for together.
        start = (end - 1) // length * length
        return Span(max(wanted.since, start), end, is_history=True)

    @property
    def has_history(self) -> bool:
        """Whether the lines go back far enough."""
        if self._covered is None:
            return False
        first = self._timeline.first_step
        reaches = first is not None and first <= self.wanted.target_step + 1
        return reaches or self._covered[0] <= self.wanted.since

    def take(self, span: Span, samples: JobSamples, own: Mapping[str, Sequence[tuple[float, float]]]) -> None:
        """Take what was answered for a span.

        Args:
            span: What was asked for.
            samples: Of the learner's metrics.
            own: Points of own signals by their name, finite.
        """
        self._asked, self._source_fault = True, None
        if self._timeline.is_thinned and self._has_new_attempt(samples):
            # What the attempt before did after its checkpoint ends, and of what was before that too little was kept.
            self._forget()
            return
        if span.is_history:
            if self._covered is None or span.end < self._covered[0] or not self._touches(span):
                return  # everything was forgotten meanwhile
            self._empty_pieces = 0 if samples.snapshots else self._empty_pieces + 1
        else:
            self._faults = tuple(samples.faults)
        self._timeline.add(samples.snapshots)
        for name, points in own.items():
            self._timeline.add_signal(name, points)
        before = self._covered
        self._covered = (
            (span.start, span.end) if before is None else (min(before[0], span.start), max(before[1], span.end))
        )
        self._timeline.thin(self.wanted.recent)

    def take_own_fault(self, signal: OwnSignal, fault: SignalFault | None) -> None:
        """Take what was wrong with one of the own signals, or that nothing was."""
        if fault is None:
            self._own_faults.pop(signal.path, None)
        else:
            message = f"{signal.path}: {fault.message}"
            self._own_faults[signal.path] = SignalFault(reason=fault.reason, message=message)

    def fail(self, fault: SignalFault) -> None:
        """Take that the Prometheus could not be asked."""
        self._asked, self._source_fault = True, fault

    def read(self, now: float, learner: LearnerStatus | None, *, heard_now: bool = True) -> Reading:
        """Return what can be decided on now.

        Args:
            now: Unix time.
            learner: What the learner said last: a Prometheus that knows more than it is not believed.
            heard_now: It said so after the Prometheus was asked; else it may have come further since.
        """
        lines = self._lines(learner)
        fault = self._blocking(now, learner if heard_now else None, lines)
        if fault is not None:
            return Reading(name=self.wanted.prometheus, fault=self._with_field(fault))
        passable = next((fault for fault in (*self._own_faults.values(), *self._faults)), None)
        origin = _Origin(self.wanted, self._timeline, lines)
        told = None if passable is None else self._with_field(passable)
        return Reading(lines=lines, name=self.wanted.prometheus, fault=told, origin=origin)

    def _with_field(self, fault: SignalFault) -> SignalFault:
        """Return the fault with the field that names the Prometheus, unless it names one or passes by itself."""
        if fault.is_for_a_moment or fault.message.startswith("spec."):
            return fault
        field = "prometheusUrl" if "://" in self.wanted.prometheus else "prometheus"
        return replace(fault, message=f"{fault.message} (spec.monitoring.{field})")

    def _lines(self, learner: LearnerStatus | None) -> list[dict[str, Any]]:
        """Return the lines that the learner's attempt goes on from, and its own."""
        lines = self._timeline.lines
        if learner is None:
            return lines
        resumed = -1 if learner.resumed_from_step is None else learner.resumed_from_step
        return [
            line
            for line in lines
            if line[STEP] <= learner.step and (line[ATTEMPT] == learner.attempt or line[STEP] <= resumed)
        ]

    def _blocking(self, now: float, learner: LearnerStatus | None, lines: list[dict[str, Any]]) -> SignalFault | None:
        newest_at = self._timeline.newest_at
        is_stale = newest_at is None or now - newest_at > STALE_INTERVALS * self.wanted.interval
        if is_stale and self._source_fault is not None:
            return self._source_fault
        if not self._asked:
            return _fault(SignalReason.NOT_READ_YET, f"Prometheus {self.wanted.prometheus} was not asked yet")
        blocking = [fault for fault in (*self._faults, self._timeline.fault) if fault is not None and fault.blocks]
        if blocking:
            return blocking[0]
        if newest_at is None:
            return _no_series(self.wanted, learner)
        if is_stale:
            message = f"the newest sample is {now - newest_at:.0f} s old; is the learner scraped, is Prometheus behind?"
            return _fault(SignalReason.STALE, message)
        before = now - _RACE_INTERVALS * self.wanted.interval
        return _unbelievable(learner, self._timeline, before) or self._history_fault(lines)

    def _history_fault(self, lines: list[dict[str, Any]]) -> SignalFault | None:
        if self.has_history:
            return None
        have = f"back to step {lines[0][STEP]}" if lines else "none yet"
        message = f"its history is being read: {have}, wanted from step {self.wanted.target_step + 1} on"
        return _fault(SignalReason.READING_HISTORY, message)

    def _has_new_attempt(self, samples: JobSamples) -> bool:
        newest = self._timeline.newest_attempt
        return any(snapshot.attempt > newest for snapshot in samples.snapshots)

    def _touches(self, span: Span) -> bool:
        return self._covered is not None and span.start <= self._covered[0] <= span.end

    def _forget(self) -> None:
        self._timeline, self._covered, self._empty_pieces, self._asked = Timeline(), None, 0, False
        self._faults = ()


@dataclass(frozen=True, slots=True)
class _Origin:
    """Says of evidence where it was read."""

    wanted: WantedSignals
    timeline: Timeline
    lines: list[dict[str, Any]]

    def __call__(self, metric: str, steps: Sequence[int]) -> EvidenceOrigin:
        own = {signal.name: signal.query for signal in self.wanted.own}
        query = own.get(metric) or metric_query(self.wanted.job, STEP if is_own_signal(metric) else metric)
        first, last = (min(steps), max(steps)) if steps else (0, 0)
        window = [line for line in self.lines if first <= line[STEP] <= last]
        times = [at for line in window if (at := self.timeline.seen_at(line)) is not None]
        return EvidenceOrigin(
            prometheus=self.wanted.prometheus,
            query=query,
            window_start=min(times, default=0.0),
            window_end=max(times, default=0.0),
            steps_seen=len(window),
            steps_unseen=unseen_steps(window),
        )


def own_signal(index: int, name: str, query: str) -> OwnSignal:
    """Return an own signal by its place in the manifest."""
    return OwnSignal(name=SIGNAL_PREFIX + name, query=query, path=f"spec.monitoring.signals[{index}].query")


def _fault(reason: SignalReason, message: str) -> SignalFault:
    return SignalFault(reason=reason, message=message)


def _no_series(wanted: WantedSignals, learner: LearnerStatus | None) -> SignalFault:
    if learner is None or learner.step == 0:
        return _fault(SignalReason.NOT_READ_YET, "no step has been completed yet")
    query = metric_query(wanted.job, STEP)
    remedy = "is the chart's monitoring.podMonitor enabled, and does Prometheus select it?"
    return _fault(SignalReason.NO_SERIES, f"Prometheus {wanted.prometheus} has no {query}: {remedy}")


def _unbelievable(learner: LearnerStatus | None, timeline: Timeline, before: float) -> SignalFault | None:
    """Find what no scrape of this job's learner could have seen.

    Args:
        learner: What it said a moment ago.
        timeline: What scrapes saw.
        before: Unix time; what was seen later the learner may have done since it was heard.
    """
    if learner is None:
        return None
    early = timeline.places_before(before)
    if not early:
        return None
    newest = max(attempt for attempt, _ in early)
    if newest > learner.attempt:
        message = f"it has samples of attempt {newest}, the learner is attempt {learner.attempt}"
        return _fault(SignalReason.UNKNOWN_ATTEMPT, message)
    step = max((step for attempt, step in early if attempt == learner.attempt), default=0)
    if step > learner.step:
        message = f"it has samples of step {step}, the learner has completed {learner.step}"
        return _fault(SignalReason.AHEAD_OF_LEARNER, message)
    return None
