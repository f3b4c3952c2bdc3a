"""Reads what the HTTP API of a Prometheus answers. Nothing in it is believed before it was looked at. Pure."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prorl_control.signals.reading import SignalFault, SignalReason

MAX_SERIES = 50_000
MAX_SAMPLES = 2_000_000
_MAX_TEXT = 200
_UNAUTHORIZED = (401, 403)


class AnswerError(Exception):
    """An answer that nothing can be taken from; holds the fault."""

    def __init__(self, reason: SignalReason, message: str) -> None:
        self.fault = SignalFault(reason=reason, message=message)
        super().__init__(message)


class Points:
    """Pairs of Unix time and value, packed: an answer for a hundred jobs has a quarter of a million."""

    def __init__(self, points: Iterable[tuple[float, float]]) -> None:
        self._numbers = array("d")
        for at, value in points:
            self._numbers.append(at)
            self._numbers.append(value)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._numbers) // 2

    def __iter__(self) -> Iterator[tuple[float, float]]:
        """Go through them in their order."""
        return zip(self._numbers[::2], self._numbers[1::2], strict=True)


@dataclass(frozen=True, slots=True)
class RawSeries:
    """One series as it came."""

    labels: Mapping[str, str]
    points: Points
    """The values may be no numbers; ascending by time as a rule."""


def refused(status: int, document: Any) -> AnswerError:
    """Return what an HTTP status other than 200 means.

    Args:
        status: The HTTP status.
        document: The answer's JSON, None where it is none.
    """
    if status in _UNAUTHORIZED:
        remedy = "check the token or password that the chart's monitoring.prometheus names"
        return AnswerError(SignalReason.UNAUTHORIZED, f"it answers {status}: {remedy}")
    if 300 <= status < 400:
        message = f"it answers {status}: redirects are not followed, for they would carry credentials elsewhere"
        return AnswerError(SignalReason.REFUSED, message)
    words = document.get("error") if isinstance(document, dict) else None
    said = f": {shown(words)}" if isinstance(words, str) and words else ""
    return AnswerError(SignalReason.REFUSED, f"it answers {status}{said}")


def matrix(document: Any, decoded: Callable[[Any], Any] = lambda item: item) -> list[RawSeries]:
    """Return the series of an answer of type `matrix`.

    Args:
        document: Its JSON.
        decoded: Decodes one series, where the document was decoded but for them.

    Raises:
        AnswerError: It is something else, or larger than one could honestly be.
    """
    if not isinstance(document, dict) or document.get("status") != "success":
        raise AnswerError(
            SignalReason.BAD_ANSWER, "its answer has no `status: success`; is this the API of a Prometheus?"
        )
    data = document.get("data")
    kind = data.get("resultType") if isinstance(data, dict) else None
    if not isinstance(data, dict) or kind != "matrix":
        raise AnswerError(SignalReason.BAD_ANSWER, f"its answer is of type {shown(str(kind))}, wanted a matrix")
    result = data.get("result")
    if not isinstance(result, list) or len(result) > MAX_SERIES:
        raise AnswerError(SignalReason.BAD_ANSWER, f"its answer is no list of at most {MAX_SERIES} series")
    found, count = [], 0
    for item in result:
        series = _series(decoded(item))
        count += len(series.points)
        if count > MAX_SAMPLES:
            raise AnswerError(SignalReason.BAD_ANSWER, f"its answer has more than {MAX_SAMPLES} samples")
        found.append(series)
    return found


def _series(item: Any) -> RawSeries:
    labels = item.get("metric") if isinstance(item, dict) else None
    values = item.get("values") if isinstance(item, dict) else None
    if not isinstance(labels, dict) or not all(isinstance(value, str) for value in labels.values()):
        raise AnswerError(SignalReason.BAD_ANSWER, "a series of its answer has no labels")
    if not isinstance(values, list):
        # Native histograms come as `histograms`.
        raise AnswerError(SignalReason.BAD_ANSWER, "a series of its answer has no plain values")
    try:
        points = Points((float(at), float(value)) for at, value in values)
    except (TypeError, ValueError):
        raise AnswerError(SignalReason.BAD_ANSWER, "a sample of its answer is no pair of time and value") from None
    if not all(math.isfinite(at) for at, _ in points):
        raise AnswerError(SignalReason.BAD_ANSWER, "a sample of its answer has no time")
    return RawSeries(labels, points)


def shown(words: str) -> str:
    """Return words of others on one line, cut and without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else " " for letter in words[: 4 * _MAX_TEXT])[:_MAX_TEXT]
