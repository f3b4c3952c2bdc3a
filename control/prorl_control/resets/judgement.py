"""Judging an applied reset: what held-out accuracy and KL were before and after it, and whether that is help or harm.

One run cannot tell what a reset caused from what training would have done anyway. So two things that might have been
are asked: accuracy stays at its mean before the reset, or its line from before goes on (where it has a slope beyond
doubt). A reset helped where accuracy after it is above both, hurt where it is below both, and did nothing that can be
told apart otherwise. Learning curves flatten, so a line carried on alone would call every reset in a climb harmful, and
a mean alone would call it helpful.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from prorl_api.resets import Estimate, Judgement, ResetCondition, ResetEffect, ResetRecord
from prorl_control.resets.samples import Samples, Validation, number, validations, within
from prorl_control.resets.statistics import fitted_line, normal_quantile, student_quantile

VALIDATIONS = 10
"""On either side, at most: as many as are looked at."""
LEAST_VALIDATIONS = 3
"""On either side: a line needs them."""
KL_STEPS = 20
"""Steps whose KL is averaged on either side."""
CONFIDENCE = 0.95
_LEAST_VARIANCE = 1e-12


def neighbours(record: ResetRecord, records: Iterable[ResetRecord]) -> tuple[int, int | None]:
    """Return the steps of the applied resets next to this one: before it (-1 if there is none) and after it."""
    assert record.applied_step is not None
    steps = [other.applied_step for other in records if other.applied_step is not None and other.uid != record.uid]
    before = [step for step in steps if step < record.applied_step]
    after = [step for step in steps if step > record.applied_step]
    return max(before, default=-1), min(after, default=None)


def with_judgement(
    record: ResetRecord, samples: Samples, records: Iterable[ResetRecord], *, is_over: bool = False
) -> ResetRecord:
    """Return an applied record with what there is to say of it by now.

    Args:
        record: The record.
        samples: Lines of the surviving timeline, ascending.
        records: Every record of the run: what follows the next reset says nothing of this one.
        is_over: Whether no more samples will come.
    """
    applied = record.applied_step
    if record.condition is not ResetCondition.APPLIED or applied is None or record.judgement is not None:
        return record
    first, last = neighbours(record, records)
    before = within(samples, first, applied)
    after = within(samples, applied, samples[-1]["step"] if last is None and samples else last or applied)
    update: dict[str, object] = {}
    if record.kl_before is None and (kl := _kl(before)) is not None:
        update["kl_before"] = kl
    earlier, later = validations(before)[-VALIDATIONS:], validations(after)[:VALIDATIONS]
    if record.validation_before is None and earlier:
        update["validation_before"] = earlier[-1].accuracy
    if record.validation_after is None and later:
        update["validation_after"] = later[0].accuracy
    is_whole = len(later) == VALIDATIONS or is_over or last is not None
    if is_whole and min(len(earlier), len(later)) >= LEAST_VALIDATIONS:
        until = within(after, applied, later[-1].step)
        update["judgement"] = judged(earlier, later, _kl(until))
    return record.model_copy(update=update) if update else record


@dataclass(frozen=True, slots=True)
class _Level:
    """Validations of one side, as a mean and a line."""

    mean: float
    mean_error: float
    slope: float
    slope_error: float
    middle: float
    """Step that the mean speaks of."""
    quantile: float
    """Of two-sided intervals at `CONFIDENCE`."""
    count: int

    @property
    def estimate(self) -> Estimate:
        """The mean with its interval."""
        return _estimate(self.mean, self.mean_error, self.quantile, self.count)


def judged(before: Sequence[Validation], after: Sequence[Validation], kl_after: Estimate | None = None) -> Judgement:
    """Compare the validations after a reset with what those before it let expect.

    Args:
        before: At least three, ascending.
        after: At least three, ascending.
        kl_after: Of the same steps.
    """
    early, late = _level(before), _level(after)
    quantile = max(early.quantile, late.quantile)
    ways = [(early.mean, early.mean_error)]
    has_trend = abs(early.slope) > early.quantile * early.slope_error
    if has_trend:
        ahead = late.middle - early.middle
        ways.append((early.mean + early.slope * ahead, math.hypot(early.mean_error, ahead * early.slope_error)))
    margins = [(late.mean - mean, quantile * math.hypot(late.mean_error, error)) for mean, error in ways]
    effect = ResetEffect.NOTHING
    if all(change > margin for change, margin in margins):
        effect = ResetEffect.HELPED
    elif all(change < -margin for change, margin in margins):
        effect = ResetEffect.HURT
    return Judgement(
        effect=effect,
        accuracy_before=early.estimate,
        accuracy_after=late.estimate,
        change=_estimate(late.mean - early.mean, math.hypot(late.mean_error, early.mean_error), quantile, late.count),
        expected_by_trend=ways[-1][0] if has_trend else None,
        kl_after=kl_after,
        until_step=after[-1].step,
    )


def _level(found: Sequence[Validation]) -> _Level:
    """Describe one side; where nobody says how noisy validations are, their scatter about their line does."""
    known = [item.variance for item in found if item.variance is not None]
    is_known = len(known) == len(found)
    variances = known if is_known else [_LEAST_VARIANCE] * len(found)
    steps = [float(item.step) for item in found]
    slope, slope_error, scale = fitted_line(steps, [item.accuracy for item in found], variances)
    probability = (1 + CONFIDENCE) / 2
    return _Level(
        mean=statistics.fmean(item.accuracy for item in found),
        mean_error=scale * math.sqrt(math.fsum(variances)) / len(found),
        slope=slope,
        slope_error=slope_error,
        middle=statistics.fmean(steps),
        quantile=normal_quantile(probability) if is_known else student_quantile(probability, len(found) - 2),
        count=len(found),
    )


def _kl(samples: Samples) -> Estimate | None:
    """Return the mean KL of the last steps, with Student's interval."""
    values = [value for sample in samples[-KL_STEPS:] if (value := number(sample, "kl")) is not None]
    if not values:
        return None
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 3 else math.nan
    quantile = student_quantile((1 + CONFIDENCE) / 2, len(values) - 1)
    return _estimate(statistics.fmean(values), error, quantile, len(values))


def _estimate(value: float, error: float, quantile: float, count: int) -> Estimate:
    is_known = math.isfinite(error)
    margin = quantile * error if is_known else 0.0
    return Estimate(
        value=value,
        low=value - margin if is_known else None,
        high=value + margin if is_known else None,
        count=count,
    )
