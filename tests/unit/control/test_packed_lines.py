"""Lines in columns are the lines that were put, whatever comes in which order."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prorl_control.resets.packed_lines import PackedLines

NAMES = st.sampled_from(["step", "kl", "validation_accuracy", "signals.own"])
NUMBERS = st.one_of(st.integers(-(2**70), 2**70), st.floats(allow_nan=False))
LINES = st.lists(st.dictionaries(NAMES, NUMBERS), max_size=8)


def same(found: Any, put: Any) -> bool:
    return bool(found == float(put) or found == put)


@given(LINES, st.randoms(use_true_random=False))
def test_what_was_put_comes_back_in_its_order(lines: list[dict[str, Any]], random: Any) -> None:
    packed, plain = PackedLines(), list[dict[str, Any]]()
    for line in lines:
        index = random.randint(0, len(plain))
        packed.insert(index, line)
        plain.insert(index, line)
    found = packed.unpacked()
    assert len(packed) == len(plain)
    filled = [line for line in plain if line]
    assert [line.keys() for line in found if line] == [line.keys() for line in filled]
    for line, put in zip((line for line in found if line), filled, strict=True):
        assert all(same(line[name], value) for name, value in put.items())


def test_whole_numbers_stay_whole_and_others_are_doubles() -> None:
    packed = PackedLines([{"step": 1, "kl": 0.5}, {"step": 2, "kl": 1}])
    assert [(type(line["step"]), type(line["kl"])) for line in packed.unpacked()] == [(int, float)] * 2
    packed.insert(2, {"step": 2.5})
    assert packed.unpacked() == [{"step": 1.0, "kl": 0.5}, {"step": 2.0, "kl": 1.0}, {"step": 2.5}]


@pytest.mark.parametrize("value", [None, True, "7", math.nan])
def test_what_is_no_number_is_left_out(value: object) -> None:
    packed = PackedLines([{"step": 1, "kl": value}])
    assert packed.unpacked() == [{"step": 1}]
    assert packed.get(0, "kl") is None


def test_a_line_takes_a_value_later_and_lines_are_dropped_by_their_place() -> None:
    packed = PackedLines([{"step": step} for step in range(4)])
    packed.set(2, "signals.own", 0.25)
    packed.set(3, "step", 9)
    packed.keep([1, 2, 3])
    assert packed.unpacked() == [{"step": 1}, {"step": 2, "signals.own": 0.25}, {"step": 9}]
    assert packed.unpacked([2]) == [{"step": 9}]
    assert list(packed.column("step")) == [1, 2, 9]
    assert not packed.column("kl")


def test_lines_given_out_are_nobody_elses() -> None:
    packed = PackedLines([{"step": 1}])
    packed.unpacked()[0]["step"] = 5
    assert packed.unpacked() == [{"step": 1}]
