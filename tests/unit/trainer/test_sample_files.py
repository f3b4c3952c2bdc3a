"""What a sample says to people of the answer that was expected."""

from __future__ import annotations

from typing import Any

import pytest

from prorl_trainer.sample_files import expected_answer, validation_lines
from tests.unit.trainer.test_storage import turns


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"answer": "12"}, "12"),
        ({"answer": 12}, 12),
        ({"answer": ["1/2", 0.5]}, ["1/2", 0.5]),
        ({"task": "chain_sum", "entry": {"question": "1 + 1?", "answer": "2", "metadata": {}}}, "2"),
        ({"kind": "choice", "answer": "B", "choices": ["1", "2"]}, "B"),
        ({"tests": [{"type": "stdio", "stdin": "1", "expected_stdout": "2"}]}, None),
        ({"entry": "no object"}, None),
        ({"task": "x", "entry": {"answer": None}}, None),
        ({}, None),
        ({"answer": "x" * 600}, "x" * 500 + "…"),
        ({"answer": {"deep": "x" * 600}}, '{"deep": "' + "x" * 490 + "…"),
    ],
)
def test_the_expected_answer_of_a_row(row: dict[str, Any], expected: Any) -> None:
    assert expected_answer(row) == expected


def test_samples_say_what_was_expected_beside_what_was_found() -> None:
    group = turns()
    lines = list(validation_lines([group], 3, 1))
    assert len(lines) == len(group.rollouts)
    assert {line["expected"] for line in lines} == {expected_answer(group.prompt.row)}
