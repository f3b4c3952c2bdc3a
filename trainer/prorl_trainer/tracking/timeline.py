"""What a tracker is to be told next, from what the learner has written. Pure.

A run that is killed goes on from its last checkpoint, and does the steps after it again. Steps up to the checkpoint
are settled: nothing supersedes them. Trackers that cannot take anything back are told settled steps only. One that can
is told every step at once, and takes back those that a later attempt does again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prorl_api.wire.base import WireModel
from prorl_trainer.storage.checkpoints import LearnerState, LineageEntry

RESET, RESET_REASON = "reset", "reset_reason"
"""Of the marker that a reference reset leaves: 1 at its step, and why."""
_NO_METRICS = frozenset({"step", "attempt", "time", "stage"})


class Mark(WireModel):
    """How far a tracker has come."""

    attempt: int = 0
    """Of the last line that it was told."""
    step: int = -1
    """Of that line; -1: none yet."""
    resets: dict[str, int] = {}
    """Resets that it was told, uid to step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One moment that a tracker is told."""

    step: int
    time: float
    """Unix time."""
    values: Mapping[str, float] = field(default_factory=dict)
    """Under the names of `metrics.jsonl`."""
    texts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What is to be done."""

    rewind_to: int | None
    """Take back this step and all after it first; None: nothing."""
    rows: tuple[Row, ...]
    mark: Mark
    """Where the tracker stands afterwards."""


def due(lines: Sequence[Mapping[str, Any]], state: LearnerState | None, mark: Mark, *, is_live: bool) -> Due:
    """Return what a tracker lacks.

    Args:
        lines: The surviving timeline of `metrics.jsonl`, ascending.
        state: Of the checkpoint that the run continues from; None: there is none yet.
        mark: How far the tracker has come.
        is_live: The tracker can take steps back.
    """
    rewind_to = _superseded(lines, mark) if is_live else None
    told = mark.step if rewind_to is None else rewind_to - 1
    limit = None if is_live else _settled(state)
    new = [line for line in lines if line["step"] > told and (limit is None or line["step"] <= limit)]
    known = {uid: step for uid, step in mark.resets.items() if rewind_to is None or step < rewind_to}
    resets = [entry for entry in _resets(state) if entry.reset_uid not in known]
    rows = [*(_row(line) for line in new), *(_marker(entry, lines) for entry in resets)]
    last = new[-1] if new else None
    attempt = last["attempt"] if last is not None else mark.attempt
    return Due(
        rewind_to=rewind_to,
        # A marker before its step: whoever holds the step then holds the marker as well.
        rows=tuple(sorted(rows, key=lambda row: (row.step, RESET not in row.values))),
        mark=Mark(
            attempt=attempt,
            step=last["step"] if last is not None else told,
            resets=known | {str(entry.reset_uid): entry.since_step for entry in resets},
        ),
    )


def after_interruption(mark: Mark, pending: Mark | None, held: int | None) -> Mark:
    """Return how far a tracker has come that was perhaps killed while it was told.

    Args:
        mark: As far as it was told for sure.
        pending: As far as it was being told; None: nothing was under way.
        held: The last step that it says it holds, -1 for none; None: it cannot say. Then what was under way counts as
            told: rather not than twice.
    """
    reached = mark if pending is None else pending
    if held is None:
        return reached
    return Mark(
        attempt=reached.attempt,
        step=held,
        resets={uid: step for uid, step in reached.resets.items() if step <= held},
    )


def _superseded(lines: Sequence[Mapping[str, Any]], mark: Mark) -> int | None:
    """Return the first told step that a later attempt has done again."""
    again = [line["step"] for line in lines if line["attempt"] > mark.attempt and line["step"] <= mark.step]
    return min(again, default=None)


def _settled(state: LearnerState | None) -> int:
    """Return the last step that no later attempt can do, or record, again."""
    return -1 if state is None else state.recorded_step


def _resets(state: LearnerState | None) -> list[LineageEntry]:
    """Return the resets of this run; those of a run that it continues come before an entry without a uid."""
    own: list[LineageEntry] = []
    for entry in state.lineage if state is not None else ():
        own = [] if entry.reset_uid is None else [*own, entry]
    return own


def _row(line: Mapping[str, Any]) -> Row:
    values = {
        name: float(value)
        for name, value in line.items()
        if name not in _NO_METRICS and isinstance(value, int | float) and not isinstance(value, bool)
    }
    stage = {"stage": str(line["stage"])} if line.get("stage") else {}
    return Row(step=line["step"], time=float(line.get("time", 0.0)), values=values, texts=stage)


def _marker(entry: LineageEntry, lines: Sequence[Mapping[str, Any]]) -> Row:
    time = next((float(line.get("time", 0.0)) for line in lines if line["step"] >= entry.since_step), 0.0)
    return Row(step=entry.since_step, time=time, values={RESET: 1.0}, texts={RESET_REASON: entry.trigger or "by hand"})
