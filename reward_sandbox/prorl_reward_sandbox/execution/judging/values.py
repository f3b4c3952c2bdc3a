"""Compare a value that a function returned, in its canonical form, with the expected one. Pure.

The form is a program's word, so it is walked and never hashed but by text: colliding keys cannot make this slow. Types
are exact. `True` is not 1, 1.0 is not 1, and no program's own notion of equality is asked.
"""

from __future__ import annotations

import json
import math

from prorl_api.rows import Checker

_LISTS = ("t",)
_SETS = ("s", "z")
_MAX_DEPTH = 64


def is_expected_value(form: object, expected: object, checker: Checker, depth: int = 0) -> bool:
    """Tell whether a returned value is the expected one.

    Args:
        form: As `harness.canonical.encode` writes values; anything malformed is not equal to anything.
        expected: JSON: what `CallTest.expected` holds.
        checker: Its tolerances hold where a float is expected.
    """
    tag, content = _untag(form)
    if not isinstance(expected, list | dict):
        return tag == "" and _is_expected_scalar(content, expected, checker)
    if depth > _MAX_DEPTH or not isinstance(content, list):
        return False
    if isinstance(expected, dict):
        return tag == "d" and _is_expected_dict(content, expected, checker, depth)
    if tag in _SETS:
        return _is_expected_set(content, expected)
    return tag in ("", *_LISTS) and _are_expected(content, expected, checker, depth)


def _is_expected_scalar(content: object, expected: object, checker: Checker) -> bool:
    if isinstance(expected, float):
        return type(content) in (int, float) and is_close(content, expected, checker)  # type: ignore[arg-type]
    return type(content) is type(expected) and content == expected


def is_close(value: int | float, expected: float, checker: Checker) -> bool:
    """Tell whether a number is within the larger of the tolerances.

    Where either is infinite or undefined it never is.
    """
    try:
        if not (math.isfinite(value) and math.isfinite(expected)):
            return False
        return abs(value - expected) <= max(checker.absolute_tolerance, checker.relative_tolerance * abs(expected))
    except OverflowError:  # an integer beyond every float
        return False


def _untag(form: object) -> tuple[str, object]:
    """Return the tag of a form and what it holds; plain values have the tag ""."""
    if isinstance(form, dict):
        return next(iter(form.items())) if len(form) == 1 else ("?", None)
    return "", form


def _are_expected(parts: list[object], expected: list[object], checker: Checker, depth: int) -> bool:
    return len(parts) == len(expected) and all(
        is_expected_value(part, each, checker, depth + 1) for part, each in zip(parts, expected, strict=True)
    )


def _is_expected_dict(pairs: list[object], expected: dict[str, object], checker: Checker, depth: int) -> bool:
    """JSON has text keys only, so an integer key stands for its decimal text."""
    found: dict[str, object] = {}
    for pair in pairs:
        if not (isinstance(pair, list) and len(pair) == 2 and type(pair[0]) in (str, int)):
            return False
        found[str(pair[0])] = pair[1]
    return len(found) == len(pairs) == len(expected) and all(
        key in found and is_expected_value(found[key], value, checker, depth + 1) for key, value in expected.items()
    )


def _is_expected_set(parts: list[object], expected: list[object]) -> bool:
    """Return the same members, each once, in any order; compared exactly."""
    try:
        members = sorted(json.dumps(_as_json(part)) for part in parts)
        wanted = sorted(json.dumps(part) for part in expected)
    except RecursionError:
        return False
    return members == wanted and len(set(wanted)) == len(wanted)


def _as_json(form: object) -> object:
    """Return a member as JSON would hold it: a tuple as a list, other tagged forms as they are."""
    tag, content = _untag(form)
    if tag in _LISTS and isinstance(content, list):
        return [_as_json(part) for part in content]
    return form
