"""How one evaluation scored a group of items, and what changed between two: normal and strict scoring side by side.

Normal: the mean reward, partial credit included. Strict: full marks alone (`CORRECT_REWARD`). Stricter: the share of
items of which at least a share tau of the samples is right (Cover@tau, arXiv 2510.08325), which guesses do not reach.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prorl_analysis.answers import answer_entropy, has_answers, majority
from prorl_analysis.bayes import posterior_pass_at_k
from prorl_analysis.estimators import (
    Estimate,
    FloatArray,
    bootstrapped,
    mean_over_items,
    paired_difference,
    paired_p_value,
)
from prorl_analysis.results import Item, Results
from prorl_api.wire.sandbox import Verdict

TAUS = (0.1, 0.5, 0.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """One evaluation of a group of items."""

    average: Estimate
    """avg@n: the mean share of right samples."""
    reward: Estimate
    answered: Estimate
    """The share of samples in which an answer was found, right or wrong."""
    majority: Estimate | None
    """maj@n; None: the domain's answers cannot be counted."""
    entropy: Estimate | None
    """Of the answers, in nats."""
    covered: tuple[tuple[float, Estimate], ...]
    """(tau, share of items)."""
    posterior: Estimate
    """avg@n again, the Bayesian estimate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gains:
    """Checkpoint less base on the same items, paired."""

    average: Estimate
    average_p: float | None
    """Of a paired permutation test; None: no item differs."""
    reward: Estimate
    majority: Estimate | None
    majority_p: float | None
    format_part: Estimate | None
    """What of `average` comes from finding an answer at all; None: one of the two answers nothing."""
    content_part: Estimate | None
    """What comes from answers being right more often. The two add up to `average`."""


def scores(results: Results, items: Sequence[Item]) -> Scores:
    """Score a group of items, each with a judged sample."""
    counts = [results.counts(item) for item in items]
    shares = _shares(results, items)
    countable = has_answers([sample for item in items for sample in results.samples[item]])
    return Scores(
        average=mean_over_items(shares),
        reward=mean_over_items(_rewards(results, items)),
        answered=mean_over_items(_answered(results, items)),
        majority=mean_over_items(_majorities(results, items)) if countable else None,
        entropy=mean_over_items([answer_entropy(results.samples[item]) for item in items]) if countable else None,
        covered=tuple((tau, mean_over_items((shares >= tau - 1e-9).astype(np.float64))) for tau in TAUS),
        posterior=posterior_pass_at_k([n for n, _ in counts], [c for _, c in counts], 1),
    )


def gains(base: Results, checkpoint: Results, items: Sequence[Item]) -> Gains:
    """Compare two evaluations of a group of items."""
    before, after = _shares(base, items), _shares(checkpoint, items)
    samples = [sample for side in (base, checkpoint) for item in items for sample in side.samples[item]]
    votes = (_majorities(base, items), _majorities(checkpoint, items)) if has_answers(samples) else None
    form, content = format_split(_answered(base, items), before, _answered(checkpoint, items), after)
    return Gains(
        average=paired_difference(before, after),
        average_p=paired_p_value(before, after),
        reward=paired_difference(_rewards(base, items), _rewards(checkpoint, items)),
        majority=paired_difference(*votes) if votes else None,
        majority_p=paired_p_value(*votes) if votes else None,
        format_part=form,
        content_part=content,
    )


def format_split(
    answered_before: FloatArray, right_before: FloatArray, answered_after: FloatArray, right_after: FloatArray
) -> tuple[Estimate | None, Estimate | None]:
    """Split a gain of accuracy into format and content (Kitagawa 1955; the Oaxaca-Blinder decomposition).

    Accuracy is F x A: the share F of samples with an answer, the share A of answers that is right. The change of F
    times the mean of both A is the format's part, the change of A times the mean of both F the content's; they add up
    exactly.

    Args:
        answered_before: Of each item, the share of the base's samples with an answer.
        right_before: Of each item, the share that is right.
        answered_after: As before, of the checkpoint.
        right_after: As before, of the checkpoint.

    Returns:
        Both parts with intervals over items; None where one side answers nothing, so that A is not defined.
    """
    data = (answered_before, right_before, answered_after, right_after)
    if answered_before.sum() == 0 or answered_after.sum() == 0:
        return None, None
    return bootstrapped(data, _format_part), bootstrapped(data, _content_part)


def _parts(
    f0: FloatArray, c0: FloatArray, f1: FloatArray, c1: FloatArray, axis: int
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    f_before, f_after = f0.mean(axis=axis), f1.mean(axis=axis)
    # A resample without any answer has nothing right either: 0 of 0 is taken as 0.
    a_before = c0.mean(axis=axis) / np.maximum(f_before, 1e-12)
    a_after = c1.mean(axis=axis) / np.maximum(f_after, 1e-12)
    return f_before, a_before, f_after, a_after


def _format_part(f0: FloatArray, c0: FloatArray, f1: FloatArray, c1: FloatArray, axis: int = -1) -> FloatArray:
    f_before, a_before, f_after, a_after = _parts(f0, c0, f1, c1, axis)
    part: FloatArray = (f_after - f_before) * (a_before + a_after) / 2
    return part


def _content_part(f0: FloatArray, c0: FloatArray, f1: FloatArray, c1: FloatArray, axis: int = -1) -> FloatArray:
    f_before, a_before, f_after, a_after = _parts(f0, c0, f1, c1, axis)
    part: FloatArray = (a_after - a_before) * (f_before + f_after) / 2
    return part


def _shares(results: Results, items: Sequence[Item]) -> FloatArray:
    return np.array([c / n for n, c in (results.counts(item) for item in items)])


def _rewards(results: Results, items: Sequence[Item]) -> FloatArray:
    return np.array([np.mean(results.rewards(item)) for item in items])


def _answered(results: Results, items: Sequence[Item]) -> FloatArray:
    judged = ([sample for sample in results.samples[item] if sample.reward is not None] for item in items)
    return np.array([np.mean([sample.verdict != Verdict.FORMAT_ERROR for sample in found]) for found in judged])


def _majorities(results: Results, items: Sequence[Item]) -> FloatArray:
    return np.array([majority(results.samples[item]) for item in items])
