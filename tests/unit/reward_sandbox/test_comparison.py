"""Outputs count as expected by the row's comparison and never by more than it says."""

from __future__ import annotations

from typing import Any

import pytest

from prorl_api.rows import Checker
from prorl_reward_sandbox.execution.judging.printed_output import is_expected_output

TABLE = [
    ("lines", b"1\n2\n", "1\n2", True),
    ("lines", b"1 \r\n2\t\n\n\n", "1\n2\n", True),
    ("lines", b"1\n\n2\n", "1\n2\n", False),
    ("lines", b" 1\n", "1\n", False),
    ("lines", b"1 2\n", "1\n2\n", False),
    ("lines", b"\n1\n", "1\n", False),
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
    ("numbers", b"yes 1.0000000001", "yes 1", True),
    ("numbers", b"Yes 1", "yes 1", False),
    ("numbers", b"9" * 5000, "1", False),
    ("unordered-lines", b"b\na\n", "a\nb", True),
    ("unordered-lines", b"a\na\nb\n", "a\nb\nb", False),
    ("unordered-lines", b"a\nb\nc\n", "a\nb", False),
    ("exact", b"1\n", "1\n", True),
    ("exact", b"1", "1\n", False),
    ("exact", b"1 \n", "1\n", False),
]


@pytest.mark.parametrize(("kind", "stdout", "expected", "is_expected"), TABLE)
def test_comparison_table(kind: Any, stdout: bytes, expected: str, is_expected: bool) -> None:
    assert is_expected_output(stdout, expected, Checker(kind=kind)) is is_expected


@pytest.mark.parametrize(("found", "is_expected"), [("101", True), ("101.1", False), ("99", True)])
def test_the_larger_tolerance_holds(found: str, is_expected: bool) -> None:
    checker = Checker(kind="numbers", absolute_tolerance=0.5, relative_tolerance=0.01)
    # 1 % of 100.0 is 1, which is more than 0.5.
    assert is_expected_output(found.encode(), "100.0", checker) is is_expected
