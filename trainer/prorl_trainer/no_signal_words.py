"""What it means that sampling after sampling found no group with a signal. Pure.

A group whose rewards are all equal teaches nothing. Whether it is all right or all wrong makes the difference between a
run that has mastered its data and one that cannot begin to learn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import Enum

from prorl_api.errors import MasteredError, NoSignalError
from prorl_api.spec.job import ProRLJobSpec
from prorl_api.wire.learner import PHASE_REMARK
from prorl_api.wire.sandbox import CORRECT_REWARD
from prorl_trainer.algorithm.dynamic_sampling import has_signal, is_scored
from prorl_trainer.algorithm.types import GroupSummary, SampledStep


class GroupOutcome(Enum):
    """What the rewards of a group say; the value reads on in `3 groups ...`."""

    RIGHT = "all right"
    WRONG = "all wrong"
    EQUAL = "all equal in between"
    MIXED = "mixed"
    UNJUDGED = "with fewer than two judged rollouts"


def outcome_of(group: GroupSummary) -> GroupOutcome:
    """Sort a group by its rewards."""
    if not is_scored(group.rewards):
        return GroupOutcome.UNJUDGED
    if has_signal(group.rewards):
        return GroupOutcome.MIXED
    reward = next(reward for reward in group.rewards if reward is not None)
    if reward >= CORRECT_REWARD:
        return GroupOutcome.RIGHT
    return GroupOutcome.WRONG if reward <= 0 else GroupOutcome.EQUAL


def without_signal(sampled: SampledStep, spec: ProRLJobSpec, step: int) -> NoSignalError:
    """Say what the samplings of a step without a signal have in common, and what can be done.

    Args:
        sampled: All samplings of the step, none of which kept a group.
        spec: As it holds at the step.
        step: Counted from 1.
    """
    counts = Counter(outcome_of(group) for group in sampled.sampled)
    samplings = f"{sampled.num_empty + 1} sampling{'s' if sampled.num_empty else ''} in a row at step {step}"
    found = f"of {len(sampled.sampled)} groups in {samplings}: {_listed(sampled)}"
    if set(counts) - {GroupOutcome.UNJUDGED} == {GroupOutcome.RIGHT}:
        doubt = ". No step was trained: make sure that the judge does not accept everything" if step == 1 else ""
        return MasteredError(
            f"the policy has mastered its data, there is nothing left to learn from it: {found}{doubt}. To go on, "
            "continue this run with harder tasks: a new job with initFrom"
        )
    return NoSignalError(f"nothing to learn from: {found}. {_remedy(counts, sampled, spec)}")


def remark_on(earlier: SampledStep | None, spec: ProRLJobSpec) -> str:
    """Say, behind the progress of a sampling, that those before it found no signal; empty if there was none."""
    if earlier is None:
        return ""
    limit, done = spec.algorithm.dynamic_sampling.max_empty_samplings, earlier.num_empty + 1
    return (
        f"{PHASE_REMARK}{done} of {limit} samplings in a row without a signal, after which the run ends: "
        f"{_listed(earlier)}; completions begin {_beginnings(earlier)!r}"
    )


def _listed(sampled: SampledStep) -> str:
    counts = Counter(outcome_of(group) for group in sampled.sampled)
    return ", ".join(f"{counts[outcome]} {outcome.value}" for outcome in GroupOutcome if counts[outcome])


def _remedy(counts: Counter[GroupOutcome], sampled: SampledStep, spec: ProRLJobSpec) -> str:
    settings = (
        f"raise spec.learner.groupSize (now {spec.learner.group_size}) or spec.rollout.temperature "
        f"(now {spec.rollout.temperature})"
    )
    if counts[GroupOutcome.UNJUDGED] == counts.total():
        return "Look at the sandboxes' logs, or lower spec.sandbox.maxMaskedFraction so that this shows at once"
    if counts[GroupOutcome.RIGHT] > counts[GroupOutcome.WRONG]:
        return f"Choose harder tasks, or {settings}"
    texts = _beginnings(sampled)
    return f"Choose easier tasks, {settings}, or check `answerFormat`: completions begin {texts!r}"


def _beginnings(sampled: SampledStep) -> Sequence[str]:
    return [group.rollouts[0].text[:200] for group in sampled.shown[:2]]
