"""Rows say what they hold, and refuse what no judge could use."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from prorl_api.data_lines import data_faults
from prorl_api.rows import ROWS, AssertTest, CallTest, CodeRow, StdioTest
from prorl_api.spec.values import Domain

STDIO = {"expected_stdout": "1"}
CALL = {"type": "call", "function": "f", "expected": 1}


def test_every_domain_has_a_row() -> None:
    assert set(ROWS) == set(Domain)


def test_a_test_that_does_not_say_its_type_is_stdio() -> None:
    tests = CodeRow.model_validate(
        {"tests": [STDIO, CALL, {"type": "asserts", "source": "assert f()", "functions": ["f"]}]}
    ).tests
    assert [type(test) for test in tests] == [StdioTest, CallTest, AssertTest]


def test_a_code_row_survives_json() -> None:
    row = CodeRow.model_validate({"tests": [STDIO, CALL]})
    assert CodeRow.model_validate_json(row.model_dump_json()) == row


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"tests": []}, "at least 1 item"),
        ({}, "Field required"),
        ({"tests": [{}]}, "expected_stdout"),
        ({"tests": [{"type": "guess"}]}, "guess"),
        ({"tests": [{"type": 3}]}, "3"),
        ({"tests": ["x"]}, "stdio"),
        ({"tests": [{**STDIO, "expected": 1}]}, "Extra inputs"),
        ({"tests": [{**CALL, "function": "f()"}]}, "pattern"),
        ({"tests": [{**CALL, "function": "a.b.c"}]}, "pattern"),
        ({"tests": [{"type": "asserts", "source": "pass", "functions": []}]}, "at least 1 item"),
        ({"tests": [{"type": "asserts", "source": "pass"}]}, "Field required"),
        ({"tests": [CALL], "language": "cpp"}, "tests of type call need language `python`, got `cpp`"),
        ({"tests": [STDIO], "reward": "most"}, "fraction"),
        ({"tests": [STDIO], "checker": {"kind": "program"}}, "need each other"),
        ({"tests": [STDIO], "checker": {"kind": "lines", "source": "x"}}, "need each other"),
        ({"tests": [STDIO], "total_wall_seconds": float("nan")}, "finite"),
        ({"tests": [STDIO], "total_wall_seconds": 0}, "greater than 0"),
    ],
)
def test_a_row_that_cannot_be_judged_is_refused(row: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CodeRow.model_validate(row)


def test_choices_as_a_list_are_refused_with_the_wanted_shape() -> None:
    row = {"answer": "B", "kind": "choice", "choices": ["iron", "lead", "tin"]}
    (fault,) = data_faults({"prompt": "q", "row": row}, Domain.STEM)
    assert fault.path == "row.choices"
    assert '{"A": "iron", "B": "lead", ...}' in fault.want
