"""Lines of data files: every fault with its place, as many as help."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prorl_api.data_lines import MAX_FAULTS_OF_A_LINE, BadLine, GoodLine, data_faults, judge_line
from prorl_api.jsonl import raw_lines
from prorl_api.spec.values import Domain

"""Other work on the machine, and tables of characters made at first use, say nothing about the code."""

STDIO = {"type": "stdio", "stdin": "1", "expected_stdout": "2"}


def line(row: Any, prompt: Any = "1 + 1?") -> dict[str, Any]:
    return {"prompt": prompt, "row": row}


def paths(value: dict[str, Any], domain: Domain = Domain.MATH) -> list[str]:
    return [fault.path for fault in data_faults(value, domain)]


def test_good_and_bad_lines_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join([json.dumps(line({"answer": 2})), "{", "", json.dumps(line({}))]))
    first, second, third = (judge_line(raw, f"{path}:{raw.number}", Domain.MATH) for raw in raw_lines(path))
    assert isinstance(first, GoodLine)
    assert (first.where, first.question, first.row) == (f"{path}:1", "1 + 1?", {"answer": 2})
    assert isinstance(second, BadLine)
    assert second.where == f"{path}:2"
    assert isinstance(third, BadLine)
    assert [fault.path for fault in third.faults] == [f"{path}:4 row.answer"]


@pytest.mark.parametrize(
    ("domain", "row"),
    [
        (Domain.MATH, {"answer": ["1/2", 0.5]}),
        (Domain.STEM, {"answer": "B", "kind": "choice", "choices": {"A": "x", "B": "y"}}),
        (Domain.LOGIC, {"task": "chain_sum", "entry": {"question": "1+1", "answer": "2", "metadata": {}}}),
        (Domain.INSTRUCTION_FOLLOWING, {"instructions": [{"id": "punctuation:no_comma"}]}),
        (Domain.CODE, {"tests": [STDIO], "solution": "print(2)"}),
    ],
)
def test_a_row_of_every_domain(domain: Domain, row: dict[str, Any]) -> None:
    assert data_faults(line(row), domain) == []
    others = [other for other in Domain if other not in (domain, Domain.CUSTOM)]
    assert all(data_faults(line(row), other) for other in others)
    assert data_faults(line(row), Domain.CUSTOM) == [], "what a function of one's own reads is its own affair"


@pytest.mark.parametrize(
    ("prompt", "path"),
    [
        ("", "prompt"),
        (" \n", ""),
        ([], "prompt"),
        (3, "prompt"),
        ([{"role": "user", "content": ""}], "prompt.0.content"),
        ([{"role": "tool", "content": "x"}], "prompt.0.role"),
        ([{"role": "user", "content": "x", "name": "me"}], "prompt.0.name"),
        ([{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}], ""),
        ([{"role": "user", "content": "x"}, {"role": "system", "content": "y"}, {"role": "user", "content": "z"}], ""),
    ],
)
def test_prompts_that_are_refused(prompt: Any, path: str) -> None:
    found = paths(line({"answer": 2}, prompt))
    assert path in found
    assert not any(place.startswith("row") for place in found)


def test_faults_of_the_prompt_and_of_the_row_come_together() -> None:
    assert paths({"prompt": 3, "row": {}, "extra": 1}) == ["prompt", "extra", "row.answer"]


def test_alternatives_of_one_place_are_one_fault() -> None:
    (fault,) = data_faults(line({"answer": {"a": 1}}), Domain.MATH)
    assert fault.path == "row.answer"
    assert fault.got == "{'a': 1}"
    assert "a text, quoted" in fault.want
    assert "a whole number" in fault.want


def test_a_fault_within_alternatives_is_named_by_its_place_in_the_file() -> None:
    row = {"tests": [STDIO, {"type": "call", "function": "f(", "expected": 1}, {"type": "stdio"}]}
    assert paths(line(row), Domain.CODE) == ["row.tests.1.function", "row.tests.2.expected_stdout"]


def test_one_line_names_only_its_first_faults() -> None:
    found = data_faults(line({"tests": [{"type": "stdio"}] * 1000}), Domain.CODE)
    assert len(found) == MAX_FAULTS_OF_A_LINE
    assert found[-1].got == f"{1000 - MAX_FAULTS_OF_A_LINE + 1} more faults"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ROW_KEYS = ("answer", "kind", "choices", "task", "entry", "instructions", "tests", "checker", "language")


@pytest.mark.parametrize("domain", list(Domain))
@given(prompt=JSON, row=JSON | st.dictionaries(st.sampled_from(ROW_KEYS), JSON))
def test_every_object_is_a_line_or_has_faults_that_say_what_to_do(domain: Domain, prompt: Any, row: Any) -> None:
    for fault in data_faults({"prompt": prompt, "row": row}, domain):
        assert fault.got
        assert fault.want
