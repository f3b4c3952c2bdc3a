"""The run in plain words, for someone who was not there. Pure."""

from __future__ import annotations

from prorl_cli.durations import duration
from prorl_cli.report.results import HeldOut, ResetLine, RunState, RunSummary
from prorl_cli.report.words import between, count, listed, score, share, signed
from prorl_control.resets.records import MANUAL_TRIGGER

_NAMED_RESETS = 3
"""More resets than this are told by trigger, not one by one; the table has them all."""
_NAMED_SOURCES = 4
"""More sources than this are left to the curves."""
_UNFINISHED = (RunState.RUNNING, RunState.INTERRUPTED, RunState.SUSPENDED)


def story(summary: RunSummary) -> list[str]:
    """Paragraphs in the order in which a reader asks: better or not, what the reference did, what it took."""
    return [" ".join(part) for part in (_learning(summary), _resets(summary), _course(summary)) if part]


def gain_line(result: HeldOut) -> str:
    """Return the line under the headline number."""
    if result.gain is None:
        return "no paired items on record"
    shown = f" (95 % interval {between(result.gain.interval)})" if result.gain.interval else ""
    return f"{signed(result.gain.gain)}{shown}, n = {result.gain.n}"


def _learning(summary: RunSummary) -> list[str]:
    if not summary.held_out:
        return ["There is no held-out accuracy yet: no validation is on record.", *_sampled(summary)]
    overall, *by_source = summary.held_out
    told = [_learned(overall)]
    if by_source and len(by_source) <= _NAMED_SOURCES and overall.first_step < overall.last_step:
        told.append(f"By source: {'; '.join(f'{result.source} {_short(result)}' for result in by_source)}.")
    if overall.improved or overall.worsened:
        better = f"{count(overall.improved, 'held-out prompt')} became better"
        told.append(f"{better}, {overall.worsened:,} became worse.")
    return [*told, *_sampled(summary)]


def _learned(result: HeldOut) -> str:
    where = f"held-out accuracy on {result.source}"
    if result.first_step == result.last_step:
        level = score(result.after)
        return f"The only validation so far, at step {result.first_step}, measured {where} at {level}."
    start = f"From step {result.first_step} to step {result.last_step} {where}"
    change = f"from {score(result.before)} to {score(result.after)}"
    if result.gain is None:
        return f"{start} went {change}; the items' rewards are not on record, so there is no interval."
    interval = result.gain.interval
    if interval is None:
        return f"{start} went {change} (n = {result.gain.n}); every item moved alike, so there is no interval."
    shown = f"(paired 95 % interval of the gain {between(interval)}, n = {result.gain.n})"
    if interval.low > 0:
        return f"{start} rose {change} {shown}."
    if interval.high < 0:
        return f"{start} fell {change} {shown}."
    return f"{start} went {change}, no more than chance explains {shown}."


def _short(result: HeldOut) -> str:
    change = f"{score(result.before)} to {score(result.after)}"
    if result.gain is None or result.gain.interval is None:
        return change
    return f"{change} (gain {between(result.gain.interval)}, n = {result.gain.n})"


def _sampled(summary: RunSummary) -> list[str]:
    if not summary.sampled:
        return []
    overall = summary.sampled[0]
    low, high = overall.last_steps
    if high <= overall.first_step:
        return [f"The mean sampled reward in step {high} was {score(overall.first)}."]
    span = f"over steps {low} to {high}" if low < high else f"in step {high}"
    start = f"{score(overall.first)} in step {overall.first_step}"
    return [f"The mean reward of sampled completions went from {start} to {score(overall.last)} {span}."]


def _resets(summary: RunSummary) -> list[str]:
    applied = summary.applied_resets
    others = len(summary.resets) - len(applied)
    verb = "was" if others == 1 else "were"
    rest = [f"{count(others, 'more reset' if applied else 'reset')} {verb} proposed but not applied."] if others else []
    if not applied:
        return ["The reference was not reset.", *rest]
    if len(applied) <= _NAMED_RESETS:
        told = listed([_told(reset) for reset in applied])
    else:
        triggers = list(dict.fromkeys(reset.trigger for reset in applied))
        counts = [f"{_times(sum(reset.trigger == name for reset in applied))} by {name}" for name in triggers]
        told = f"{listed(counts)}, last after step {applied[-1].step}"
    return [f"The reference was reset {_times(len(applied))}: {told}.", *rest]


def _told(reset: ResetLine) -> str:
    if reset.trigger == MANUAL_TRIGGER:  # its reason says no more than that
        return f"after step {reset.step} by hand"
    return f"after step {reset.step} by {reset.trigger} ({reset.reason.strip().rstrip('.')})"


def _times(number: int) -> str:
    return {1: "once", 2: "twice"}.get(number, f"{number} times")


def _course(summary: RunSummary) -> list[str]:
    told = []
    use = summary.time
    if use.seconds:
        largest = [f"{share(part.share)} {part.name}" for part in use.parts[:3]]
        so_far = " so far" if summary.state in _UNFINISHED else ""
        told.append(f"The run took {duration(use.seconds)}{so_far}{': ' + listed(largest) if largest else ''}.")
    if summary.attempts > 1:
        again = _times(summary.attempts - 1)
        told.append(f"The learner was started again {again} and went on from a checkpoint.")
    if summary.masked:
        told.append(
            f"{count(summary.masked, 'completion')} got no reward because the judge failed; left out, not wrong"
            f"{': ' + summary.masked_reason if summary.masked_reason else ''}."
        )
    return told
