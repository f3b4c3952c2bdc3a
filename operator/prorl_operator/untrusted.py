"""What a pod says, made safe before anything else looks at it. Pure.

Whoever owns a job chooses what runs in its learner's pods, and the operator serves the jobs of others as well: all that
comes from a pod is hostile until it has gone through here. It is bounded in size before it is parsed, in depth and
number while it is walked over, and judged by its model last; texts are cut, and lose what could steer a terminal.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

import msgspec
from pydantic import BaseModel, ValidationError

from prorl_api.wire.learner import LearnerReport
from prorl_api.wording import wanted_at
from prorl_control.resets.triggers import DECISIVE

MAX_BYTES = 4 * 2**20
"""Of one answer: a page of steps with some hundred metrics each, and a thousand resets, are half of it."""
LINES_A_PAGE = 200
"""Steps that a report is asked for at once."""
_MAX_TEXT = 4096
_MAX_FAULT = 300
_MAX_NAME = 128
_MAX_ITEMS = 2000
_MAX_FIELDS = 1000
_MAX_DEPTH = 6
_LARGEST_COUNT = 2**31 - 1
_LARGEST_INTEGER = 2**53

_Model = TypeVar("_Model", bound=BaseModel)


class UntrustedError(ValueError):
    """It is not what was asked for; says why, in a few words of ours."""


def parsed(kind: type[_Model], body: bytes) -> _Model:
    """Return an answer as its model.

    Raises:
        UntrustedError: It is none, or larger than one could honestly be.
    """
    if len(body) > MAX_BYTES:
        raise UntrustedError(f"more than {MAX_BYTES} bytes")
    try:
        plain = _bounded(msgspec.json.decode(body), _MAX_DEPTH)
        answer = kind.model_validate(plain)
    except msgspec.DecodeError as error:
        raise UntrustedError(f"no JSON: {str(error)[:200]}") from None
    except RecursionError:
        raise UntrustedError("nested too deeply") from None
    except ValidationError as error:
        first = wanted_at(error.errors(include_url=False)[:1])
        raise UntrustedError(f"{error.error_count()} faults, the first at {first[:_MAX_FAULT]}") from None
    if isinstance(answer, LearnerReport):
        _check_lines(answer)
    return answer


def shown(body: bytes, length: int = 300) -> str:
    """Return the beginning of what a pod said, on one line of a log."""
    return _clean(body[: 4 * length].decode(errors="replace"))[:length].replace("\n", " ")


def _bounded(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return _clean(value[:_MAX_TEXT])
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        if abs(value) > _LARGEST_INTEGER:
            raise UntrustedError("a whole number beyond 2^53")
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise UntrustedError("a number that is not finite")
        return value
    if depth == 0:
        raise UntrustedError("nested too deeply")
    if isinstance(value, list):
        if len(value) > _MAX_ITEMS:
            raise UntrustedError(f"a list of {len(value)}, at most {_MAX_ITEMS} make sense")
        return [_bounded(item, depth - 1) for item in value]
    if len(value) > _MAX_FIELDS or any(len(name) > _MAX_NAME for name in value):
        raise UntrustedError(f"an object of {len(value)} fields, or with a name of more than {_MAX_NAME} characters")
    return {_clean(name): _bounded(item, depth - 1) for name, item in value.items()}


def _clean(text: str) -> str:
    """Without control characters, which a terminal would obey."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text)


def _check_lines(report: LearnerReport) -> None:
    """Check that steps and attempts are whole numbers that rise, and what resets are decided on is a number.

    Raises:
        UntrustedError: They are not.
    """
    before = -1
    if len(report.metrics.steps) > LINES_A_PAGE:
        raise UntrustedError(f"{len(report.metrics.steps)} steps at once, {LINES_A_PAGE} were asked for")
    for line in report.metrics.steps:
        for name in ("step", "attempt"):
            if type(line.get(name)) is not int or not 0 <= line[name] <= _LARGEST_COUNT:
                raise UntrustedError(f"a line of metrics without a whole number `{name}`")
        if line["step"] <= before:
            raise UntrustedError("lines of metrics whose steps do not rise")
        before = line["step"]
        for name in DECISIVE & line.keys():
            value = line[name]
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise UntrustedError(f"a metric `{name}` that is no number")
