"""Returned values are compared by exact type, outside, and no value of a program's own making can pass."""

from __future__ import annotations

import json
import math
from collections import Counter, OrderedDict, defaultdict, namedtuple
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prorl_api.rows import Checker
from prorl_reward_sandbox.execution.harness.canonical import MAX_DEPTH, RefusedError, decode, encode, loads
from prorl_reward_sandbox.execution.judging.values import is_expected_value

CHECKER = Checker()
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
KEYS = st.integers() | st.text() | st.tuples(st.integers(), st.text())
VALUES = st.recursive(
    SCALARS | st.sets(st.integers()) | st.frozensets(st.text()),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(KEYS, inner),
    max_leaves=20,
)
EQUAL = [
    (3, 3),
    (-0, 0),
    (True, True),
    (None, None),
    ("a\u0301", "a\u0301"),
    (2.0, 2.0),
    (2, 2.0),
    (0.1 + 0.2, 0.3),
    (1e6 + 0.5, 1e6),
    ([1, [2, "x"]], [1, [2, "x"]]),
    ((1, (2, 3)), [1, [2, 3]]),
    ({3, 1, 2}, [1, 2, 3]),
    ({3, 1, 2}, [3, 2, 1]),
    (frozenset({(1, 2)}), [[1, 2]]),
    ({"a": 1}, {"a": 1}),
    ({1: [2.0]}, {"1": [2.0]}),
    (Counter("aab"), {"a": 2, "b": 1}),
    (defaultdict(list, {"x": [1]}), {"x": [1]}),
    (OrderedDict(b=1, a=2), {"a": 2, "b": 1}),
    (10**4000, 10**4000),
]
DIFFERENT = [
    (True, 1),
    (1, True),
    (0, False),
    (0, None),
    (2.0, 2),
    (3, "3"),
    ("3", 3),
    (b"a", "a"),
    (math.nan, 1.0),
    (math.inf, 1e308),
    (10**400, 1e308),
    (10**400, math.inf),
    (7, math.inf),
    (math.inf, math.inf),
    (1e308, math.nan),
    (True, 1.0),
    ([1, 2], [2, 1]),
    ([1], [1, 2]),
    ([], None),
    ({}, []),
    ([], {}),
    ({1, 2}, [1, 2, 2]),
    ({1, 2}, [1, 3]),
    ({1.0}, [1]),
    ({"1": 1, 1: 1}, {"1": 1}),
    ({None: 1}, {"None": 1}),
    ({True: 1}, {"True": 1}),
    ("\u00e9", "e\u0301"),
]


class Liar(int):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


class Anything:
    __class__ = int  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


Pair = namedtuple("Pair", "a b")
REFUSED = [
    Liar(3),
    Anything(),
    Pair(1, 2),
    (n for n in [3]),
    range(3),
    print,
    int,
    3j,
    bytearray(b"a"),
    [1, Anything()],
]


@pytest.mark.parametrize(("value", "expected"), EQUAL)
def test_a_value_equals_what_json_says_of_it(value: object, expected: Any) -> None:
    assert is_expected_value(encode(value), expected, CHECKER)


@pytest.mark.parametrize(("value", "expected"), DIFFERENT)
def test_types_are_exact_and_nothing_is_converted(value: object, expected: Any) -> None:
    assert not is_expected_value(encode(value), expected, CHECKER)


@pytest.mark.parametrize("value", REFUSED, ids=lambda value: type(value).__name__)
def test_what_is_no_exact_builtin_type_cannot_cross(value: object) -> None:
    with pytest.raises(RefusedError, match="a value of type"):
        encode(value)


@given(VALUES)
def test_values_cross_unchanged(value: object) -> None:
    crossed = decode(loads(json.dumps(encode(value)).encode()))
    assert crossed == value
    assert repr(type(crossed)) == repr(type(value))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"NaN",
        b"Infinity",
        b'{"a": 1, "a": 2}',
        b"[" * 100_000,
        b"\xff",
        b"1" * 5000,
    ],
)
def test_malformed_text_is_refused(text: bytes) -> None:
    with pytest.raises(RefusedError, match="malformed"):
        loads(text)


@pytest.mark.parametrize(
    "form",
    [{}, {"t": [], "s": []}, {"x": []}, {"t": 1}, {"s": [[]]}, {"d": [[1]]}, {"d": [[[], 1]]}, {"f": "1"}, {"b": "!"}],
)
def test_malformed_forms_are_refused(form: Any) -> None:
    with pytest.raises(RefusedError):
        decode(form)


@pytest.mark.parametrize(
    "form", [{"x": [1]}, {"t": 1}, {"d": [[1]]}, {"d": [1]}, {"s": 3}, {"t": [], "d": []}, {"f": "nan"}]
)
@pytest.mark.parametrize("expected", [[1], {"1": 1}, 1, 1.0, None, "t"])
def test_malformed_forms_equal_nothing(form: Any, expected: Any) -> None:
    assert not is_expected_value(form, expected, CHECKER)


def test_1e999_is_no_number_that_could_be_expected() -> None:
    assert not is_expected_value(loads(b"1e999"), 1e308, Checker(relative_tolerance=0.99, absolute_tolerance=1e9))


def test_a_cycle_is_too_deep() -> None:
    cycle: list[object] = []
    cycle.append(cycle)
    with pytest.raises(RefusedError, match=f"deeper than {MAX_DEPTH}"):
        encode(cycle)


def test_colliding_keys_are_compared_in_linear_time() -> None:
    # All of these have the same hash as integers; hashing them would take minutes.
    form = {"d": [[number * (2**61 - 1), 0] for number in range(100_000)]}
    expected: dict[str, int] = {str(number * (2**61 - 1)): 0 for number in range(100_000)}
    assert is_expected_value(form, expected, CHECKER)
