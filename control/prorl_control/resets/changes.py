"""What is to change among the records of a run's resets: proposals become records, the learner's answers update them,
validations judge them. Pure; whoever keeps the records carries the changes out, in files or in objects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from prorl_api.resets import ResetCondition, ResetRecord
from prorl_api.wire.learner import LearnerPhase, LearnerStatus, ResetOutcome
from prorl_control.plan import RunPlan
from prorl_control.resets.decide import ResetProposal, decide
from prorl_control.resets.judgement import with_judgement
from prorl_control.resets.records import (
    adopted,
    expired,
    of_the_learner_alone,
    out_of_reach,
    proposed,
    superseded,
    with_outcome,
)
from prorl_control.signals.reading import OriginOf

Records = Sequence[ResetRecord]
Samples = Sequence[dict[str, Any]]
Place = tuple[int, int]
"""Attempt and step of a line."""

_ENDING = frozenset({LearnerPhase.STOPPING, LearnerPhase.DONE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation:
    """A record that is to be stored under the next free number."""

    build: Callable[[int], ResetRecord]
    """The record, given its number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """A record that is to be read again, changed, and written."""

    name: str
    change: Callable[[ResetRecord], ResetRecord]
    """Gives the same record back where nothing is left to change."""


ResetChange = Creation | Update


def taken_over(
    records: Records, outcomes: Sequence[ResetOutcome], plan: RunPlan, *, attempt: int, now: float
) -> list[ResetChange]:
    """Take over what the learner says became of resets, those that it did by itself included."""
    by_uid = {outcome.uid: outcome for outcome in outcomes}
    changes: list[ResetChange] = []
    for record in records:
        outcome = by_uid.get(record.uid)
        if outcome is not None:
            changes += _update(record, partial(with_outcome, outcome=outcome))
        else:
            changes += _update(record, partial(out_of_reach, total_steps=plan.total_steps))
    for outcome in of_the_learner_alone(outcomes, records):
        build = partial(adopted, outcome, job_name=plan.job_name, attempt=attempt, now=now)
        changes.append(Creation(build=build))
    return changes


def advanced(
    records: Records,
    plan: RunPlan,
    learner: LearnerStatus | None,
    samples: Samples,
    *,
    new_uid: Callable[[], str],
    now: float,
    origin: OriginOf | None = None,
    decided: Place | None = None,
) -> list[ResetChange]:
    """Propose, expire and judge, as far as the newest samples allow.

    Args:
        records: All records as they are now.
        plan: The run's plan.
        learner: What it said last; None: nothing is decided without it.
        samples: Lines of the surviving timeline, ascending.
        new_uid: Gives a proposal its identity; where the platform gives it, an empty text.
        now: Unix time.
        origin: Says of evidence where the samples were read; None: in the learner's own series.
        decided: Line up to which was decided before: each one since is decided on, as a replay does. None: the newest
            alone.
    """
    if learner is None or learner.phase in _ENDING:
        return []
    # Samples and step must speak of the same moment; the status may be a step ahead of the series.
    step = int(samples[-1]["step"]) if samples else learner.step

    def judged(record: ResetRecord) -> ResetRecord:
        return with_judgement(expired(superseded(record, records), step), samples, records)

    changes = [change for record in records for change in _update(record, judged)]
    if step < plan.total_steps:
        proposal = _first_proposal(plan, samples, [judged(record) for record in records], step, decided)
        if proposal is not None:
            proposal = _with_origin(proposal, origin)
            changes.append(
                Creation(
                    build=lambda number: proposed(
                        proposal, job_name=plan.job_name, number=number, uid=new_uid(), now=now
                    )
                )
            )
    return changes


def concluded(records: Records, samples: Samples) -> list[ResetChange]:
    """Settle what is open once the run has succeeded and the learner's last word was taken over."""
    return [
        change
        for record in records
        for change in _update(
            record, lambda current: with_judgement(_conclusion(current), samples, records, is_over=True)
        )
    ]


def newest_place(samples: Samples) -> Place | None:
    """Return where the newest line stands; None: there is no line."""
    return _place(samples[-1]) if samples else None


def _place(line: dict[str, Any]) -> Place:
    return int(line["attempt"]), int(line["step"])


def _first_proposal(
    plan: RunPlan, samples: Samples, records: Records, step: int, decided: Place | None
) -> ResetProposal | None:
    """Decide on the series as each of the undecided lines ended it, and return the first proposal."""
    policy = plan.reference_reset
    for seen, at in _looks(samples, step, decided):
        if at + policy.expires_after_steps < step:
            continue  # it would expire before anybody could apply it
        proposal = decide(policy, seen, records, at)
        if proposal is not None:
            return proposal
    return None


def _looks(samples: Samples, step: int, decided: Place | None) -> Iterator[tuple[Samples, int]]:
    """Give the series up to each undecided line, and the step of that line; the newest is always looked at."""
    end = len(samples)
    while decided is not None and end > 1 and _place(samples[end - 2]) > decided:
        end -= 1
    for upto in range(end, len(samples)):
        yield samples[:upto], int(samples[upto - 1]["step"])
    yield samples, step


def _with_origin(proposal: ResetProposal, origin: OriginOf | None) -> ResetProposal:
    """Return the proposal with where its evidence was read; of steps alone the learner's word is enough."""
    evidence = proposal.evidence
    if origin is None or evidence.metric == "step":
        return proposal
    found = origin(evidence.metric, evidence.steps)
    return replace(proposal, evidence=evidence.model_copy(update={"origin": found}))


def _update(record: ResetRecord, change: Callable[[ResetRecord], ResetRecord]) -> list[ResetChange]:
    return [Update(name=record.name, change=change)] if change(record) != record else []


def _conclusion(record: ResetRecord) -> ResetRecord:
    if record.condition.is_final or record.dry_run:
        return record
    message = "the run ended before it was applied"
    return record.model_copy(update={"condition": ResetCondition.EXPIRED, "message": message})
