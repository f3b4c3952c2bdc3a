"""Returned values are compared outside, as Python compares, and no value of a program's own making can pass."""

from __future__ import annotations

import json
import math
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Iterator
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from fractions import Fraction
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prorl_api.rows import Checker
from prorl_reward_sandbox.execution.harness.canonical import MAX_DEPTH, RefusedError, decode, encode, loads
from prorl_reward_sandbox.execution.judging.values import is_expected_value


class Liar(int):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


class Rows(list[int]):
    def __iter__(self) -> Iterator[int]:
        return iter([0])


class Table(dict[str, int]):
    def items(self) -> Any:
        return [("a", 2)]


class Colour(IntEnum):
    RED = 1


class Plain(Enum):
    A = 1


class Word(StrEnum):
    YES = "yes"


Pair = namedtuple("Pair", "a b")
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
    (2.0, 2),
    (True, 1),
    (1, True),
    (0, False),
    (False, 0.0),
    (2**53, float(2**53)),
    (Fraction(6, 2), 3),
    (Fraction(1, 3), 0.3333333333),
    (Decimal("2.50"), 2.5),
    (Decimal("3E+2"), 300),
    (range(3), [0, 1, 2]),
    (range(5, 0, -2), [5, 3, 1]),
    (range(0), []),
    ([range(1), range(2)], [[0], [0, 1]]),
    (deque([1, 2], maxlen=9), [1, 2]),
    (Pair(1, 2), [1, 2]),
    ([Pair(1, 2)], [[1, 2]]),
    (Colour.RED, 1),
    (Word.YES, "yes"),
    (Liar(3), 3),
    (Rows([1, 2]), [1, 2]),
    (Table({"a": 1}), {"a": 1}),
    (numpy.int64(3), 3),
    (numpy.float32(0.1), 0.1),
    (numpy.bool_(True), True),
    (numpy.str_("a"), "a"),
    (numpy.array([1, 2]), [1, 2]),
    (numpy.array([[1.0, 2.0]]), [[1, 2]]),
    (numpy.array(7), 7),
    ([numpy.int8(1), (numpy.array([2]),)], [1, [[2]]]),
    ({"a": 1}, {"a": 1}),
    ({1: [2.0]}, {"1": [2.0]}),
    ({True: 1, None: 2, 1.5: 3}, {"true": 1, "null": 2, "1.5": 3}),
    (Counter("aab"), {"a": 2, "b": 1}),
    (defaultdict(list, {"x": [1]}), {"x": [1]}),
    (OrderedDict(b=1, a=2), {"a": 2, "b": 1}),
    (10**4000, 10**4000),
]
DIFFERENT = [
    (0, None),
    (False, None),
    (2.5, 2),
    (2, 1.5),
    (2.0000000001, 2),
    (Fraction(1, 3), 0),
    (Decimal("2.5"), 2),
    (Decimal("2.5"), "2.5"),
    (Decimal("1E+999999"), 1e308),
    (True, "True"),
    (True, 1.0000001),
    (Liar(0), 3),
    (Colour.RED, 2),
    (Pair(2, 1), [1, 2]),
    (deque([2, 1]), [1, 2]),
    (range(3), [0, 1]),
    (range(2), [0, 1, 2]),
    (range(10**30), [0, 1]),
    (range(0), None),
    (numpy.array([2, 1]), [1, 2]),
    (numpy.array([1, 2]), 1),
    (numpy.array([1]), 1),
    (numpy.int64(4), 3),
    ({1, 3}, [3, 1]),
    ({1, 3}, [1, 3]),
    (frozenset({1}), [1]),
    (set(), []),
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
    ([1, 2], [2, 1]),
    ([1], [1, 2]),
    ([], None),
    ({}, []),
    ([], {}),
    ({"1": 1, 1: 1}, {"1": 1}),
    ({None: 1}, {"None": 1}),
    ({True: 1}, {"True": 1}),
    ({True: 1}, {"1": 1}),
    ({1.5: 1}, {"1": 1}),
    ({(1, 2): 1}, {"(1, 2)": 1}),
    ({(1, 2): 1}, {"[1, 2]": 1}),
    ("\u00e9", "e\u0301"),
]


class Anything:
    __class__ = int  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


UNORDERED = [
    ({3, 1, 2}, [3, 2, 1], True),
    (frozenset({(1, 2)}), [[1, 2]], True),
    ({1.0, 2}, [2, 1], True),
    ([2, 1, 2], [1, 2, 2], True),
    ((1, 2), [2, 1], True),
    (deque([1, 2]), [2, 1], True),
    (range(3), [2, 1, 0], True),
    ([{"a": 1}, {"b": [2]}], [{"b": [2]}, {"a": 1}], True),
    ([{1: 2}], [{"1": 2}], True),
    (set(), [], True),
    ({1, 2}, [1, 2, 2], False),
    ({1, 2}, [1, 3], False),
    ([1, 1, 2], [1, 2, 2], False),
    ([[1, 2]], [[2, 1]], False),
    ({"1": 2}, ["1"], False),
    ([{"a": 1}], [["a", 1]], False),
    ([{"list": [1]}], [[1]], False),
    (["1"], [1], False),
    ([None], [0], False),
    (range(10**30), [1, 0], False),
    (1, [1], False),
]
REFUSED = [
    Anything(),
    (n for n in [3]),
    {}.keys(),
    zip([1], [2], strict=True),
    Plain.A,
    numpy.longdouble("1e4000"),
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
def test_what_python_does_not_hold_equal_is_not(value: object, expected: Any) -> None:
    assert not is_expected_value(encode(value), expected, CHECKER)


@pytest.mark.parametrize(("value", "expected", "is_expected"), UNORDERED)
def test_members_in_any_order_are_compared_where_the_test_says_so(
    value: object, expected: Any, is_expected: bool
) -> None:
    form = loads(json.dumps(encode(value)).encode())
    assert is_expected_value(form, expected, CHECKER, is_unordered=True) is is_expected


@pytest.mark.parametrize("value", REFUSED, ids=lambda value: type(value).__name__)
def test_what_holds_no_builtin_value_cannot_cross(value: object) -> None:
    with pytest.raises(RefusedError, match="a value"):
        encode(value)


@pytest.mark.parametrize("value", [Liar(3), Pair(1, 2), Colour.RED, Rows([1]), Table(), numpy.int64(3)])
def test_what_would_arrive_as_another_type_is_refused_where_it_must_not(value: object) -> None:
    with pytest.raises(RefusedError, match="a value of type"):
        encode(value, is_faithful=True)


@pytest.mark.parametrize("value", [range(5, 0, -2), deque([1, (2,)]), Decimal("2.50"), Fraction(1, 3)])
def test_richer_values_cross_as_what_they_are(value: object) -> None:
    crossed = decode(loads(json.dumps(encode(value, is_faithful=True)).encode()))
    assert crossed == value
    assert type(crossed) is type(value)


def test_an_array_crosses_as_an_array() -> None:
    crossed = decode(loads(json.dumps(encode(numpy.array([[1, 2], [3, 4]]), is_faithful=True)).encode()))
    assert type(crossed) is numpy.ndarray
    assert crossed.tolist() == [[1, 2], [3, 4]]


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
    [
        {},
        {"t": [], "s": []},
        {"x": []},
        {"t": 1},
        {"s": [[]]},
        {"d": [[1]]},
        {"d": [[[], 1]]},
        {"f": "1"},
        {"b": "!"},
        {"r": [0, 1]},
        {"r": [0, 1, 0]},
        {"r": [0, 1, True]},
        {"D": "x"},
        {"D": "NaN"},
        {"D": 1},
        {"F": [1, 0]},
        {"F": [1]},
        {"a": [[1], 2]},
        {"a": {"x": 1}},
    ],
)
def test_malformed_forms_are_refused(form: Any) -> None:
    with pytest.raises(RefusedError):
        decode(form)


@pytest.mark.parametrize(
    "form",
    [
        {"x": [1]},
        {"t": 1},
        {"d": [[1]]},
        {"d": [1]},
        {"s": 3},
        {"t": [], "d": []},
        {"f": "nan"},
        {"r": [1, 2, 0]},
        {"r": 3},
        {"D": "x"},
        {"D": [1]},
        {"F": [1, 0]},
        {"F": 1},
        {"a": {"x": 1}},
    ],
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
