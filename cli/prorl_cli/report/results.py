"""The run in numbers: what the page's header and the terminal's table both say. Pure; from loaded data to values."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from prorl_api.resets import ResetCondition, ResetRecord
from prorl_api.status import ConditionStatus, ConditionType
from prorl_cli.local.unjudged import unjudged_reason
from prorl_cli.report.intervals import PairedGain, paired_gain
from prorl_cli.report.loading import RunData, series, sources_of, value
from prorl_cli.report.samples import Item, Rewards
from prorl_cli.report.timing import TimeUse, time_use

ALL_SOURCES = "all sources"
LAST_STEPS = 3
"""The sampled reward of single steps is noisy: its end is a mean over so many."""
SILENCE_SECONDS = 900.0
"""A run of another machine whose status is older than this is said to have stopped; bodies write every half minute."""
RIGHT = 0.99
"""Rewards from here on count as right, as in the metrics table."""


class RunState(StrEnum):
    """How a run stands, in one word."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SUSPENDED = "suspended"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    NOT_STARTED = "not started"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Held-out accuracy of one source, first against last validation."""

    source: str
    first_step: int
    last_step: int
    before: float
    after: float
    gain: PairedGain | None
    """Over the items judged both times; None if only the metrics are there, or one validation."""
    improved: int = 0
    worsened: int = 0
    """Items whose reward rose, and fell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """A training reward at its start and over its last steps."""

    name: str
    first_step: int
    first: float
    last_steps: tuple[int, int]
    last: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetLine:
    """One reset in short."""

    name: str
    step: int
    """Where it was applied; else the step of its evidence."""
    trigger: str
    condition: ResetCondition
    is_dry_run: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """Everything that the header and the table say."""

    name: str
    model: str
    state: RunState
    message: str
    """What the job's summary condition says, reason included; may be empty."""
    step: int
    total_steps: int
    attempts: int
    created: float | None
    updated: float | None
    """Unix times."""
    held_out: tuple[HeldOut, ...]
    """By source; with several, all of them together first."""
    sampled: tuple[Sampled, ...]
    """Mean reward of all sources first, then accuracy by source."""
    resets: tuple[ResetLine, ...]
    time: TimeUse
    masked: int
    """Rollouts that the judge could not judge."""
    masked_reason: str
    """What it said of most of the newest that are known; may be empty."""
    report: str

    @property
    def applied_resets(self) -> tuple[ResetLine, ...]:
        """Those that changed the reference."""
        return tuple(reset for reset in self.resets if reset.condition is ResetCondition.APPLIED)

    def as_json(self) -> dict[str, Any]:
        """Plain values only, for `json.dumps`."""
        return asdict(self)


def summary_of(data: RunData, rewards: Rewards, *, now: float | None = None) -> RunSummary:
    """Summarise a loaded run.

    Args:
        data: The run.
        rewards: Of its held-out items, by validation.
        now: Unix time at which "running" is judged; unset: the clock.
    """
    updated = data.status.updated if data.status and data.status.updated else None
    step = max([line["step"] for line in data.lines], default=data.status.step if data.status else 0)
    planned = data.job.spec.schedule.total_steps if data.job else 0
    state, message = _state(data, time.time() if now is None else now)
    return RunSummary(
        name=data.name,
        model=_model(data),
        state=state,
        message=message,
        step=step,
        total_steps=data.status.total_steps if data.status and data.status.total_steps else planned,
        attempts=data.attempts,
        created=data.created,
        updated=updated,
        held_out=_held_out(data, rewards),
        sampled=_sampled(data),
        resets=tuple(_reset_line(record) for record in data.resets),
        time=time_use(data.lines, data.repeated, _elapsed(data.created, updated)),
        masked=sum(int(value(line, "rollouts_masked") or 0) for line in data.lines),
        masked_reason=unjudged_reason(data.folder, data.lines),
        report=str(data.folder.report),
    )


def _model(data: RunData) -> str:
    if data.job is None:
        return "unknown model"
    return (data.job.spec.local.model_path if data.folder.lock.exists() else None) or data.job.spec.model.path


def _elapsed(created: float | None, updated: float | None) -> float | None:
    return updated - created if created is not None and updated is not None and updated > created else None


def _state(data: RunData, now: float) -> tuple[RunState, str]:
    if data.status is None:
        return (RunState.INTERRUPTED, "There is no status.") if data.lines else (RunState.NOT_STARTED, "")
    summary = data.status.condition(ConditionType.SUCCEEDED)
    suspended = data.status.condition(ConditionType.SUSPENDED)
    if summary is not None and summary.status is not ConditionStatus.UNKNOWN:
        is_success = summary.status is ConditionStatus.TRUE
        return (
            (RunState.SUCCEEDED, summary.message)
            if is_success
            else (
                RunState.FAILED,
                ": ".join(part for part in (summary.reason, summary.message) if part),
            )
        )
    if suspended is not None and suspended.status is ConditionStatus.TRUE:
        return RunState.SUSPENDED, suspended.message
    if data.is_driven is False or (data.is_driven is None and now - data.status.updated > SILENCE_SECONDS):
        return RunState.INTERRUPTED, "It stopped without saying so; the same command resumes it."
    return RunState.RUNNING, summary.message if summary else ""


def _held_out(data: RunData, rewards: Rewards) -> tuple[HeldOut, ...]:
    found = [
        result
        for source in sources_of(data.lines, "validation_source_accuracy")
        if (result := _held_out_of(data, rewards, source)) is not None
    ]
    if len(found) == 1:
        return tuple(found)
    together = _held_out_of(data, rewards, None)
    return (together, *found) if together else tuple(found)


def _held_out_of(data: RunData, rewards: Rewards, source: str | None) -> HeldOut | None:
    """Compare one source, or all: paired over items where the samples are there, else from the metrics."""
    metric = "validation_accuracy" if source is None else f"validation_source_accuracy/{source}"
    steps, values = series(data.lines, metric)
    if not steps:
        return None
    first, last = steps[0], steps[-1]
    early, late = rewards.get(first, {}), rewards.get(last, {})
    paired = [item for item in early if item in late and source in (None, item[0])] if last > first else []
    gain = paired_gain([early[item] for item in paired], [late[item] for item in paired]) if paired else None
    return HeldOut(
        source=ALL_SOURCES if source is None else source,
        first_step=first,
        last_step=last,
        before=gain.before if gain else values[0],
        after=gain.after if gain else values[-1],
        gain=gain,
        improved=_count_moved(early, late, paired),
        worsened=_count_moved(late, early, paired),
    )


def _count_moved(low: dict[Item, float], high: dict[Item, float], items: list[Item]) -> int:
    return sum(high[item] > low[item] for item in items)


def _sampled(data: RunData) -> tuple[Sampled, ...]:
    metrics = {"reward, all sources": "reward_mean"}
    metrics |= {source: f"accuracy_sampled/{source}" for source in sources_of(data.lines, "accuracy_sampled")}
    found = []
    for name, metric in metrics.items():
        steps, values = series(data.lines, metric)
        if steps:
            # At most half of the values, so that a short run does not compare a step with itself.
            span = min(LAST_STEPS, max(1, len(values) // 2))
            last = sum(values[-span:]) / span
            found.append(
                Sampled(
                    name=name, first_step=steps[0], first=values[0], last_steps=(steps[-span], steps[-1]), last=last
                )
            )
    return tuple(found)


def _reset_line(record: ResetRecord) -> ResetLine:
    return ResetLine(
        name=record.name,
        step=record.evidence_step if record.applied_step is None else record.applied_step,
        trigger=record.evidence.trigger,
        condition=record.condition,
        is_dry_run=record.dry_run,
        reason=record.evidence.reason,
    )
