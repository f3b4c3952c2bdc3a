"""Outputs count as expected by the row's comparison and never by more than it says."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prorl_api.rows import Checker
from prorl_reward_sandbox.execution.judging.printed_output import is_expected_output, plain_input

TABLE = [
    ("lines", b"1\n2\n", "1\n2", True),
    ("lines", b"1 \r\n2\t\n\n\n", "1\n2\n", True),
    ("lines", b"1\n\n2\n", "1\n2\n", False),
    ("lines", b" 1\n", "1\n", True),
    ("lines", b"1", " 1", True),
    ("lines", b"YES", "\tYES", True),
    ("lines", b"1  2", "1 2", True),
    ("lines", b"1 2", " 1   2 \n", True),
    ("lines", b"1\t-2.5", "1 -2.5", True),
    ("lines", b"12", "1 2", False),
    ("lines", b"a  b", "a b", False),
    ("lines", b"a b", "a  b", False),
    ("lines", b"1  a", "1 a", False),
    ("lines", b"Case 1:  2", "Case 1: 2", False),
    ("lines", b"*\n**\n", " *\n**\n", False),
    ("lines", b"1\n1 1\n", " 1\n1 1\n", False),
    ("lines", b" 1\n1 1\n", " 1\n1 1\n", True),
    ("lines", b" 1\n1  1\n", " 1\n1 1\n", False),
    ("lines", b" 1\n 2", "1\n2", True),
    ("lines", b" 1\n2", "1\n2", True),
    ("lines", b"1.0", "1", False),
    ("lines", b"\n\n1\n", "\n1", True),
    ("lines", b"2\n1", "1\n2", False),
    ("lines", b"1\n2", "1\r\n2\r\n", True),
    ("lines", b"1\r2", "1\n2", False),
    ("lines", b"1 2\n", "1\n2\n", False),
    ("lines", b"\n1\n", "1\n", True),
    ("lines", b"", "", True),
    ("lines", b"\xff\n", "\ufffd\n", False),
    ("lines", "\u00e9\n".encode(), "\u00e9", True),
    ("lines", b"YES\n", "yes\n", False),
    ("lines", b"\xef\xbb\xbf1\n", "1\n", False),
    ("lines", b"1\x00\n", "1\n", False),
    ("lines", b"\x1b[32m1\n", "1\n", False),
    ("tokens", b"1   2\n3", "1 2 3", True),
    ("tokens", b"12 3", "1 2 3", False),
    ("tokens", b"1 2 3 4", "1 2 3", False),
    ("tokens", b"1.0", "1", False),
    ("numbers", b"0.3000000001", "0.3", True),
    ("numbers", b"0.31", "0.3", False),
    ("numbers", b"1e0", "1.0", True),
    ("numbers", b"1.0", "1", True),
    ("numbers", b"1000001", "1000000", False),
    ("numbers", b"007", "7", True),
    ("numbers", b"nan", "1.0", False),
    ("numbers", b"inf", "1.0", False),
    ("numbers", b"1e999", "1.0", False),
    ("numbers", b"0x1", "1", False),
    ("numbers", b"1_0", "10", False),
    ("numbers", "\u0661".encode(), "1", False),
    ("numbers", b"1.0 2.0", "1.0", False),
    ("numbers", b"0.1 0.2 0.3", "0.3", False),
    ("numbers", b"yes 1.0000000001", "yes 1.0", True),
    ("numbers", b"yes 1.0000000001", "yes 1", False),
    ("numbers", b"Yes 1", "yes 1", False),
    ("numbers", b"9" * 5000, "1", False),
    ("numbers", b"0.5", str(2**1100), False),
    ("numbers", b"7", "1e400", False),
    ("numbers", b"1e400", "1e400", True),
    ("numbers", b"10e399", "1e400", True),
    ("numbers", b"1e401", "1e400", False),
    ("numbers", b"1e999", "1e400", False),
    ("numbers", b"1e400", "1e308", False),
    ("numbers", b"-1e400", "1.0", False),
    ("numbers", b"123456700.5", "123456789", False),
    ("numbers", b"123456789.0", "123456789", True),
    ("numbers", b"123456789.00001", "123456789", False),
    ("numbers", b"1.23456789e8", "123456789", True),
    ("numbers", b"1.234568e8", "123456789", False),
    ("numbers", b"0.0000001", "0", False),
    ("numbers", b"-0.0", "0", True),
    ("numbers", b"0e9999", "0", True),
    ("numbers", b"1e-400", "0", False),
    ("numbers", b"-7", "7", False),
    ("numbers", b"+7.", "7", True),
    ("numbers", b"7.0000001", "7.0", True),
    ("numbers", b"7", "7.0000001", True),
    ("numbers", b"7.1", "7.0", False),
    ("numbers", str(2**1100).encode() + b".0", str(2**1100), True),
    ("numbers", str(2**1100).encode(), str(2**1100 + 1), False),
    ("numbers", str(2**60 + 1).encode(), str(2**60), False),
    ("numbers", str(2**60 + 1).encode() + b".0", str(2**60), False),
    ("numbers", b"0" * 500 + b"7", "7", True),
    ("numbers", b"1" + b"0" * 500, "1e500", True),
    ("numbers", b"9" * 5000, "9" * 4999 + "8", False),
    ("numbers", b"9" * 5000 + b".0", "9" * 5000, True),
    ("numbers", b"1e308", "1.7e308", False),
    ("numbers", b"1.0000001e18", "1e18", True),
    ("numbers", b"Infinity", "1e400", False),
    ("numbers", b"nan", "nan", True),
    ("numbers", b"NaN", "nan", False),
    ("numbers", b"inf", "Infinity", False),
    ("unordered-lines", b"b\na\n", "a\nb", True),
    ("unordered-lines", b" 2  1\n1", "1\n2 1", True),
    ("unordered-lines", b"a  b\n1", "1\na b", False),
    ("unordered-lines", b"1 2\n1", "1\n2 1", False),
    ("unordered-lines", b"*\n**", " *\n**", False),
    ("unordered-lines", b"a\na\nb\n", "a\nb\nb", False),
    ("unordered-lines", b"a\nb\nc\n", "a\nb", False),
    ("exact", b"1\n", "1\n", True),
    ("exact", b"1", "1\n", False),
    ("exact", b"1 \n", "1\n", False),
    ("exact", b"1\r\n", "1\n", False),
    ("exact", b" 1", "1", False),
]


@pytest.mark.parametrize(("kind", "stdout", "expected", "is_expected"), TABLE)
def test_comparison_table(kind: Any, stdout: bytes, expected: str, is_expected: bool) -> None:
    assert is_expected_output(stdout, expected, Checker(kind=kind)) is is_expected


@pytest.mark.parametrize(("found", "is_expected"), [("101", True), ("101.1", False), ("99", True)])
def test_the_larger_tolerance_holds(found: str, is_expected: bool) -> None:
    checker = Checker(kind="numbers", absolute_tolerance=0.5, relative_tolerance=0.01)
    # 1 % of 100.0 is 1, which is more than 0.5.
    assert is_expected_output(found.encode(), "100.0", checker) is is_expected


def test_huge_exponents_are_compared_without_their_digits() -> None:
    words = 100_000
    began = time.process_time()
    assert not is_expected_output(b"1e9999 " * words, "9e9998 " * words, Checker(kind="numbers"))
    assert is_expected_output(b"10e9998 " * words, "1e9999 " * words, Checker(kind="numbers"))
    assert time.process_time() - began < 20, "the digits of each would take minutes"


@given(st.integers(), st.integers(0, 30), st.integers(0, 30))
def test_one_value_is_the_same_however_it_is_written(value: int, zeros: int, shift: int) -> None:
    digits = str(abs(value)).rjust(shift + 1, "0")
    sign = "-" if value < 0 else ""
    point = len(digits) - shift
    written = f"{sign}{'0' * zeros}{digits[:point]}.{digits[point:]}{'0' * zeros}e{shift}"
    assert is_expected_output(written.encode(), str(value), Checker(kind="numbers"))
    other = f"{sign}{digits[:point]}.{digits[point:]}{'0' * zeros}1e{shift}"
    assert not is_expected_output(other.encode(), str(value), Checker(kind="numbers"))


@given(st.floats(allow_nan=True, allow_infinity=True), st.sampled_from(["1e400", "-1e400", "1e9999", str(10**400)]))
def test_nothing_is_close_to_what_no_float_holds(value: float, expected: str) -> None:
    assert not is_expected_output(repr(value).encode(), expected, Checker(kind="numbers", absolute_tolerance=1e9))


@pytest.mark.parametrize(
    ("kind", "stdin", "given"),
    [("lines", "1\r\n2\r\n", "1\n2\n"), ("tokens", "1\r\n2", "1\n2"), ("numbers", "a\rb\n", "a\rb\n"),
     ("exact", "1\r\n", "1\r\n")],
)  # fmt: skip
def test_inputs_have_one_kind_of_line_end_unless_every_byte_counts(kind: Any, stdin: str, given: str) -> None:
    assert plain_input(stdin, Checker(kind=kind)) == given
