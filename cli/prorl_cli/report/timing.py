"""Where a run's time went, and how fast its tokens came. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from prorl_cli.report.loading import Line, value
from prorl_cli.speed import sampled_per_second, trained_per_second

PARTS = {
    "seconds_waiting": "waiting for servers",
    "seconds_sampling": "sampling and scoring",
    "seconds_reference": "reference log-probabilities",
    "seconds_old_logprobs": "old log-probabilities",
    "seconds_updating": "updating",
    "seconds_publishing": "publishing weights",
    "seconds_validating": "validating",
    "seconds_resetting": "resetting the reference",
    "seconds_checkpointing": "checkpointing",
}
"""What people read for each of `prorl_api.metrics.STEP_PARTS`."""

OTHER_IN_STEPS = "rest of the steps"
REPEATED = "steps done again after a restart"
OUTSIDE = "start-up, restarts and pauses"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimePart:
    """One part of the run's time."""

    name: str
    seconds: float
    share: float
    """Of all parts together, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeUse:
    """The whole run's time and tokens."""

    seconds: float
    """Wall time from start to last sign of life; without a status, the steps' alone."""
    step_seconds: float
    """In the steps that survived."""
    parts: tuple[TimePart, ...]
    """Largest first; parts that took no time are absent."""
    tokens_generated: int
    tokens_prompt: int
    tokens_trained: int
    generated_per_second: float | None
    """Completion tokens per second of sampling."""
    trained_per_second: float | None
    """Packed positions per second of updating."""


def time_use(lines: tuple[Line, ...], repeated: tuple[Line, ...], elapsed: float | None) -> TimeUse:
    """Add up the steps.

    Args:
        lines: The surviving timeline.
        repeated: Lines that a later attempt did again.
        elapsed: Seconds from the run's start to its last sign of life, if known.
    """
    seconds = {label: _total(lines, name) for name, label in PARTS.items()}
    in_steps = sum(step_seconds(line) for line in lines)
    seconds[OTHER_IN_STEPS] = in_steps - sum(seconds.values())
    seconds[REPEATED] = sum(step_seconds(line) for line in repeated)
    whole = max(elapsed or 0.0, in_steps + seconds[REPEATED])
    seconds[OUTSIDE] = whole - in_steps - seconds[REPEATED]
    return TimeUse(
        seconds=whole,
        step_seconds=in_steps,
        parts=_parts(seconds, whole),
        tokens_generated=int(_total(lines, "tokens_generated")),
        tokens_prompt=int(_total(lines, "tokens_prompt")),
        tokens_trained=int(_total(lines, "tokens_trained")),
        generated_per_second=sampled_per_second(lines),
        trained_per_second=trained_per_second(lines),
    )


def step_seconds(line: Line) -> float:
    """Wall time of one line: its total, or what its parts add up to where that is more or all there is."""
    return max(value(line, "seconds_total") or 0.0, sum(value(line, name) or 0.0 for name in PARTS))


def _parts(seconds: dict[str, float], whole: float) -> tuple[TimePart, ...]:
    shown = [
        TimePart(name=name, seconds=spent, share=spent / whole)
        for name, spent in seconds.items()
        if spent > 1e-3 * whole
    ]
    return tuple(sorted(shown, key=lambda part: -part.seconds))


def _total(lines: tuple[Line, ...], name: str) -> float:
    return sum(value(line, name) or 0.0 for line in lines)
