"""Reading samples: lines of the metrics table on the surviving timeline, ascending.

A value that is missing is no evidence, for or against.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prorl_api.spec.triggers import WeightedSource
from prorl_control.resets.statistics import binomial_variance

Samples = Sequence[Mapping[str, Any]]

ACCURACY = "validation_accuracy"
_OF_SOURCE = "validation_source_accuracy"
_COMPLETIONS = ("validation_completions", "validation_source_completions")
_STDERR = ("validation_stderr", "validation_source_stderr")


@dataclass(frozen=True, slots=True)
class Validation:
    """One validation's accuracy."""

    step: int
    accuracy: float
    count: float | None
    """Judged completions; None: the metrics do not say."""
    stderr: float | None
    """Of the accuracy of these very prompts; None: nobody says how much it scatters."""

    @property
    def variance(self) -> float | None:
        """Of the accuracy, by sampling noise; None where nobody says what it rests on.

        Where the learner says how far the accuracy of these prompts scatters, that is it, for the same prompts are
        judged every time; else it is a binomial's. One completion's weight is the least: no accuracy is finer.
        """
        if self.count is None:
            return None
        if self.stderr is None:
            return binomial_variance(min(1.0, max(0.0, self.accuracy)), self.count)
        return max(self.stderr, 1 / self.count) ** 2


def number(sample: Mapping[str, Any], name: str) -> float | None:
    """Return the finite value of a metric in a sample; None if there is none."""
    value = sample.get(name)
    if value.__class__ is float:
        return value if math.isfinite(value) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def step_of(sample: Mapping[str, Any]) -> int:
    """Return the step that a sample speaks of."""
    return int(sample["step"])


def within(samples: Samples, after: int, upto: int) -> Samples:
    """Return the samples of steps after one and up to another."""
    first = bisect_right(samples, after, key=step_of)
    last = bisect_right(samples, upto, key=step_of)
    return samples[first:last]


def accuracy_names(sources: Sequence[WeightedSource]) -> frozenset[str]:
    """Return the metrics that an accuracy is read from: the overall one, or those of sources."""
    if not sources:
        return frozenset({ACCURACY, _COMPLETIONS[0], _STDERR[0]})
    names = (_OF_SOURCE, _COMPLETIONS[1], _STDERR[1])
    return frozenset(f"{name}/{source.name}" for name in names for source in sources)


def validations(
    samples: Samples, sources: Sequence[WeightedSource] = (), *, newest: int | None = None
) -> list[Validation]:
    """Return the validations, ascending; one that lacks a source is left out.

    Args:
        samples: Ascending.
        sources: Whose accuracies are blended; none: the overall accuracy.
        newest: How many are enough; None: all.
    """
    found: list[Validation] = []
    first = f"{_OF_SOURCE}/{sources[0].name}" if sources else ACCURACY
    for sample in samples if newest is None else reversed(samples):
        if sample.get(first) is None:
            continue
        read = _blended(sample, sources) if sources else _read(sample, ACCURACY, _COMPLETIONS[0], _STDERR[0])
        if read is not None:
            found.append(read)
            if len(found) == newest:
                break
    return found if newest is None else found[::-1]


def _blended(sample: Mapping[str, Any], sources: Sequence[WeightedSource]) -> Validation | None:
    parts = [
        _read(sample, *(f"{name}/{source.name}" for name in (_OF_SOURCE, _COMPLETIONS[1], _STDERR[1])))
        for source in sources
    ]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    total = math.fsum(source.weight for source in sources)
    shares = [source.weight / total for source in sources]
    variances = [variance for part in known if (variance := part.variance) is not None]
    is_sure = len(variances) == len(known)
    return Validation(
        step_of(sample),
        math.fsum(share * part.accuracy for share, part in zip(shares, known, strict=True)),
        sum(part.count or 0 for part in known) if is_sure else None,
        math.sqrt(math.fsum(share**2 * variance for share, variance in zip(shares, variances, strict=True)))
        if is_sure
        else None,
    )


def _read(sample: Mapping[str, Any], accuracy: str, completions: str, stderr: str) -> Validation | None:
    value = number(sample, accuracy)
    if value is None:
        return None
    count = number(sample, completions)
    return Validation(step_of(sample), value, count if count and count >= 1 else None, number(sample, stderr))
