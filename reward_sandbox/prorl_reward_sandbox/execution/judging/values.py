"""Compare a returned value with the expected one. Pure, outside the program's process; nothing of a program's runs.

Equality is the test language's (Python's): 3.0 and True equal 3 and 1, as everywhere where public sets are judged. The
forms are plain data of `harness.canonical`; sequences of any kind in the expected order count as a list, a set only
where the test says that order does not matter.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

from prorl_api.rows import Checker

_SEQUENCES = ("", "t", "q", "a")
_SETS = ("s", "z")
_MAX_DEPTH = 64
_LONGEST_DECIMAL = 5000


def is_expected_value(
    form: object, expected: object, checker: Checker, depth: int = 0, *, is_unordered: bool = False
) -> bool:
    """Tell whether a returned value is the expected one.

    Args:
        form: As `harness.canonical.encode` writes values; anything malformed is not equal to anything.
        expected: JSON: what `CallTest.expected` holds.
        checker: Its tolerances hold where a float is expected.
        depth: Of this part in the whole.
        is_unordered: The value's members may come in any order, also in a set; compared exactly.
    """
    tag, content = _untag(form)
    if tag == "a" and not isinstance(content, list):  # an array without dimensions is a number
        tag, content = _untag(content)
    if not isinstance(expected, list | dict):
        return _is_expected_scalar(_scalar(tag, content), expected, checker)
    if depth > _MAX_DEPTH or not isinstance(content, list):
        return False
    if isinstance(expected, dict):
        return tag == "d" and _is_expected_dict(content, expected, checker, depth)
    parts = _members(tag, content, len(expected))
    if is_unordered:
        return _are_same_members(content if tag in _SETS else parts, expected)
    return parts is not None and _are_expected(parts, expected, checker, depth)


class _Nothing:
    """What equals nothing."""


_NOTHING = _Nothing()


def _scalar(tag: str, content: object) -> Any:
    """Return the plain value of a form, `_NOTHING` where it is none."""
    if tag == "":
        return content
    if tag == "D" and isinstance(content, str) and len(content) <= _LONGEST_DECIMAL:
        try:
            return Decimal(content)
        except InvalidOperation:
            return _NOTHING
    if tag == "F" and isinstance(content, list) and [type(part) for part in content] == [int] * 2 and content[1]:
        return Fraction(*content)
    return _NOTHING


def _is_expected_scalar(value: Any, expected: object, checker: Checker) -> bool:
    if not isinstance(expected, int | float):  # a text, or nothing
        return type(value) is type(expected) and value == expected
    if not isinstance(value, int | float | Decimal | Fraction):
        return False
    if value == expected and _is_finite(expected):
        return True
    is_measured = isinstance(expected, float) and not isinstance(value, bool)
    return is_measured and is_close(value, float(expected), checker)


def _is_finite(number: float) -> bool:
    return isinstance(number, int) or math.isfinite(number)


def is_close(value: float | Decimal | Fraction, expected: float, checker: Checker) -> bool:
    """Tell whether a number is within the larger of the tolerances.

    Where either is infinite or undefined it never is.
    """
    try:
        number = value if isinstance(value, int) else float(value)
        if not (math.isfinite(number) and math.isfinite(expected)):
            return False
        return abs(number - expected) <= max(checker.absolute_tolerance, checker.relative_tolerance * abs(expected))
    except OverflowError:  # a number beyond every float
        return False


def _untag(form: object) -> tuple[str, object]:
    """Return the tag of a form and what it holds; plain values have the tag ""."""
    if isinstance(form, dict):
        return next(iter(form.items())) if len(form) == 1 else ("?", None)
    return "", form


def _members(tag: str, content: list[object], wanted: int) -> list[object] | None:
    """Return what a sequence holds in order; None if it is no sequence, or too long to be the wanted one."""
    if tag in _SEQUENCES:
        return content
    numbers = [part for part in content if type(part) is int]
    if tag != "r" or len(numbers) != 3 or len(content) != 3 or not numbers[2]:
        return None
    start, stop, step = numbers
    head = range(start, stop, step)[: wanted + 1]  # it may be longer than any list
    return list(head) if len(head) == wanted else None


def _are_expected(parts: list[object], expected: list[object], checker: Checker, depth: int) -> bool:
    return len(parts) == len(expected) and all(
        is_expected_value(part, each, checker, depth + 1) for part, each in zip(parts, expected, strict=True)
    )


def _is_expected_dict(pairs: list[object], expected: dict[str, object], checker: Checker, depth: int) -> bool:
    """JSON has text keys only, so another key stands for its text in JSON."""
    found: dict[str, object] = {}
    for pair in pairs:
        if not (isinstance(pair, list) and len(pair) == 2):
            return False
        key = _key(pair[0])
        if key is None:
            return False
        found[key] = pair[1]
    return len(found) == len(pairs) == len(expected) and all(
        key in found and is_expected_value(found[key], value, checker, depth + 1) for key, value in expected.items()
    )


def _key(key: object) -> str | None:
    """Return a key as JSON writes it; None for one that JSON cannot have."""
    if isinstance(key, str):
        return key
    return json.dumps(key) if key is None or isinstance(key, int | float) else None


def _are_same_members(parts: list[object] | None, expected: list[object]) -> bool:
    """Return whether both hold the same members equally often; compared exactly."""
    if parts is None or len(parts) != len(expected):
        return False
    try:
        found = Counter(json.dumps(_normal(part)) for part in parts)
        return found == Counter(json.dumps(_normal_expected(part)) for part in expected)
    except RecursionError:
        return False


def _normal(form: object) -> object:
    """Return a form that is the same for equal members; what JSON cannot expect is equal to nothing."""
    tag, content = _untag(form)
    if isinstance(content, list) and tag in _SEQUENCES:
        return ["list", *map(_normal, content)]
    if isinstance(content, list) and tag == "d":
        pairs = [pair for pair in content if isinstance(pair, list) and len(pair) == 2 and _key(pair[0]) is not None]
        named = sorted([_key(key), json.dumps(_normal(value))] for key, value in pairs)
        return ["dict", len(content), *named]
    return _normal_scalar(content) if tag == "" else ["only here", tag]


def _normal_expected(value: object) -> object:
    if isinstance(value, list):
        return ["list", *map(_normal_expected, value)]
    if isinstance(value, dict):
        pairs = sorted([key, json.dumps(_normal_expected(part))] for key, part in value.items())
        return ["dict", len(value), *pairs]
    return _normal_scalar(value)


def _normal_scalar(value: object) -> object:
    is_whole = isinstance(value, bool) or (isinstance(value, float) and value.is_integer())
    return int(value) if is_whole else value  # type: ignore[call-overload]
