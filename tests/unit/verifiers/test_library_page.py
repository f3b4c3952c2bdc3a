"""The examples of docs/verifiers-library.md run, and do what the page says of them."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "verifiers-library.md"


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    """The names that the page's Python defines, and what it prints."""
    names: dict[str, Any] = {}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
            exec(block, names)
    return {**names, "printed": printed.getvalue()}


def test_the_first_example_prints_its_verdict(page: dict[str, Any]) -> None:
    assert page["printed"] == "correct 1.0\n"


def test_a_reward_function_for_trl_takes_texts_and_conversations(page: dict[str, Any]) -> None:
    said = [r"\boxed{4}", r"\boxed{5}"]
    conversations = [[{"role": "assistant", "content": text}] for text in said]
    for completions in (said, conversations):
        assert page["math_reward"](completions=completions, answer=["4", "4"], prompts=["2+2?"] * 2) == [1.0, 0.0]


def test_a_score_for_verl_is_a_number(page: dict[str, Any]) -> None:
    assert page["compute_score"]("math", "The answer is 4.", "4") == 1.0
    assert page["compute_score"]("math", "The answer is 5.", "4", extra_info={}) == 0.0
