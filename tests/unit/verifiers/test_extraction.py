"""Answers are found by rule, in linear time, and never by luck."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prorl_api.spec.values import AnswerFormat
from prorl_verifiers.extraction import boxed_contents, extract

TABLE = [
    (AnswerFormat.TEXT, "  42\n", "42"),
    (AnswerFormat.TEXT, "", None),
    (AnswerFormat.TEXT, " \n\t ", None),
    (AnswerFormat.TEXT, "<think>41</think> 42", "42"),
    (AnswerFormat.TEXT, "<think>41</think>43</think>42", "42"),
    (AnswerFormat.TEXT, "<think>42</think>", None),
    (AnswerFormat.TEXT, "<think>never closed 42", None),
    (AnswerFormat.TEXT, "<think>a</think> 41 <think>never closed 42", None),
    (AnswerFormat.BOXED, r"\boxed{1} <think>\boxed{42}", None),
    (AnswerFormat.ANSWER_TAG, "<answer>42</answer>", "42"),
    (AnswerFormat.ANSWER_TAG, "<answer> 4\n2 </answer> bye", "4\n2"),
    (AnswerFormat.ANSWER_TAG, "<answer>1</answer> no, <answer>2</answer>", "2"),
    (AnswerFormat.ANSWER_TAG, "<answer>1</answer> <answer>2", "1"),
    (AnswerFormat.ANSWER_TAG, "<answer>1 <answer>2</answer>", "2"),
    (AnswerFormat.ANSWER_TAG, "42</answer>", None),
    (AnswerFormat.ANSWER_TAG, "</answer><answer>42", None),
    (AnswerFormat.ANSWER_TAG, "<answer></answer>", None),
    (AnswerFormat.ANSWER_TAG, "<think><answer>42</answer></think> I do not know", None),
    (AnswerFormat.ANSWER_TAG, "42", None),
    (AnswerFormat.BOXED, r"so \boxed{42}.", "42"),
    (AnswerFormat.BOXED, r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
    (AnswerFormat.BOXED, r"\boxed{1} then \boxed{2}", "2"),
    (AnswerFormat.BOXED, r"\boxed{1} then \boxed{2", "1"),
    (AnswerFormat.BOXED, r"\boxed{ {3 } and \boxed{4}", "4"),
    (AnswerFormat.BOXED, r"\boxed{\{1,2\}}", r"\{1,2\}"),
    (AnswerFormat.BOXED, r"\boxed{\left\{ x \right.}", r"\left\{ x \right."),
    (AnswerFormat.BOXED, r"\boxed {7}", "7"),
    (AnswerFormat.BOXED, r"} \boxed{7}", "7"),
    (AnswerFormat.BOXED, r"\boxed{}", None),
    (AnswerFormat.BOXED, r"boxed{7}", None),
    (AnswerFormat.BOXED, "42", None),
    (AnswerFormat.BOXED, r"<think>\boxed{42}</think> hm", None),
    (AnswerFormat.BOXED, "\\\\boxed{7}", None),
    (AnswerFormat.FIRST_INTEGER, "I say 12, not 13", "12"),
    (AnswerFormat.LAST_INTEGER, "I say 12, not 13.", "13"),
    (AnswerFormat.FIRST_INTEGER, "-5 degrees", "-5"),
    (AnswerFormat.FIRST_INTEGER, "- 5 degrees", "5"),
    (AnswerFormat.LAST_INTEGER, "5-3", "-3"),
    (AnswerFormat.FIRST_INTEGER, "12.5 is not 13", "13"),
    (AnswerFormat.FIRST_INTEGER, ".5", None),
    (AnswerFormat.FIRST_INTEGER, "1.2.3", None),
    (AnswerFormat.LAST_INTEGER, "it is 3.", "3"),
    (AnswerFormat.LAST_INTEGER, "1,000", "000"),
    (AnswerFormat.LAST_INTEGER, "x1y", "1"),
    (AnswerFormat.LAST_INTEGER, "007", "007"),
    (AnswerFormat.LAST_INTEGER, "\u0661\u0667", None),
    (AnswerFormat.LAST_INTEGER, "\uff11", None),
    (AnswerFormat.LAST_INTEGER, "none", None),
    (AnswerFormat.LAST_INTEGER, "<think>5</think>none", None),
]


@pytest.mark.parametrize(("answer_format", "completion", "answer"), TABLE)
def test_extraction_table(answer_format: AnswerFormat, completion: str, answer: str | None) -> None:
    assert extract(completion, answer_format) == answer


def test_every_format_is_in_the_table() -> None:
    assert {answer_format for answer_format, _, _ in TABLE} == set(AnswerFormat)


@given(st.text(alphabet=st.sampled_from(list("\\boxed{}<answer>/thk 0123.-\n\u0661")) | st.characters()))
def test_any_text_gives_a_trimmed_answer_or_none(completion: str) -> None:
    for answer_format in AnswerFormat:
        answer = extract(completion, answer_format)
        assert answer is None or (answer and answer == answer.strip())


@given(st.text(alphabet="ab{}\\", max_size=30))
def test_a_boxed_answer_is_balanced(completion: str) -> None:
    for content in boxed_contents("\\boxed{" + completion + "}"):
        depth = 0
        position = 0
        while position < len(content):
            character = content[position]
            position += 2 if character == "\\" else 1
            depth += {"{": 1, "}": -1}.get(character, 0)
            assert depth >= 0
        assert depth == 0


@pytest.mark.parametrize("pattern", ["\\boxed{", "{", "}", "<answer>", "</answer>", "\\", "1.", "-", "\\boxed ", "1"])
def test_two_megabytes_of_anything_take_about_a_second(pattern: str) -> None:
    completion = (pattern * 2_000_000)[:2_000_000]
    for answer_format in AnswerFormat:
        started = time.process_time()
        extract(completion, answer_format)
        assert time.process_time() - started < 10, "quadratic"
