"""How the parts of a run stand, as the body last wrote it, what to do about it, and the ends of their logs."""

from __future__ import annotations

import re
from dataclasses import dataclass

from prorl_api.run_folder import RunFolder
from prorl_api.status import Condition, ConditionStatus, ConditionType
from prorl_cli.local.files import tail
from prorl_cli.report.loading import RunData
from prorl_cli.report.settings import as_it_ran
from prorl_control.advice import Advice, Severity, advise_on

LOG_LINES = 60
_LONGEST_LINE = 2000
_AFTER_THE_END = (ConditionType.SUCCEEDED, ConditionType.SUSPENDED)
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Colours, titles and other control characters, which a page shows as rubbish."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Components:
    """Conditions with what stands beside them."""

    summary: str
    """Whether anything runs now, in a sentence."""
    conditions: tuple[Condition, ...]
    checkpoint_step: int | None
    restarts: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogTail:
    """The end of one log."""

    name: str
    written: float
    """Unix time."""
    text: str


def components_of(data: RunData) -> Components | None:
    """Return the components' state; None before a body has written any."""
    status = data.status
    if status is None:
        return None
    # What an ended body last saw of its members says nothing about now.
    shown = [item for item in status.conditions if data.is_driven is not False or item.type in _AFTER_THE_END]
    restarts = ", ".join(f"{role} {count}" for role, count in status.restarts.items() if count)
    return Components(
        summary={
            True: "The run is driven by a command on this machine.",
            False: "Nothing drives this run now; this is what its last body said.",
            None: "As its body last wrote it.",
        }[data.is_driven],
        conditions=tuple(shown),
        checkpoint_step=status.last_checkpoint_step,
        restarts=restarts or "none",
    )


def advice_of(data: RunData) -> tuple[Advice, ...]:
    """Return what is wrong with the run and what to do; nothing where all is well, or the settings are unknown."""
    healthy = data.status.condition(ConditionType.HEALTHY) if data.status is not None else None
    if data.is_driven and healthy is not None and healthy.status is ConditionStatus.FALSE:
        # Its body sees more than the lines: a learner that hangs, a server that is missing.
        return (Advice(name=healthy.reason, severity=Severity.WARNING, seen="", remedy=healthy.message),)
    if data.job is None:
        return ()
    return advise_on(as_it_ran(data.job, is_local=data.folder.lock.exists()).spec, data.lines)


def log_tails(run: RunFolder) -> tuple[LogTail, ...]:
    """Return the last lines of every log, by name; what cannot be read is left out."""
    found = []
    for path in sorted(run.logs.glob("*.log")):
        try:
            written = path.stat().st_mtime
        except OSError:
            continue
        lines = [_ESCAPES.sub("", line)[:_LONGEST_LINE] for line in tail(path, LOG_LINES)]
        found.append(LogTail(name=path.name, written=written, text="\n".join(lines)))
    return tuple(found)
