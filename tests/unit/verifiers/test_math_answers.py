r"""The math verifier's judgements, by a table worked out by hand."""

from __future__ import annotations

import pytest

from prorl_api.spec.values import AnswerFormat
from prorl_api.wire.sandbox import Verdict
from prorl_verifiers.judgement import Judgement
from prorl_verifiers.math.statement import MAX_ANSWER_CHARACTERS
from prorl_verifiers.math.verifier import MathVerifier

RIGHT, WRONG, UNSUPPORTED, FORMAT = Verdict.CORRECT, Verdict.WRONG, Verdict.UNSUPPORTED, Verdict.FORMAT_ERROR
BOXED = [
    ("42", "42", RIGHT),
    ("42", "43", WRONG),
    ("42", "42.", RIGHT),
    ("42", "042", RIGHT),
    ("42", "42!", WRONG),
    ("42", "42.0", RIGHT),
    ("-3", "-3", RIGHT),
    ("-3", "3", WRONG),
    ("3", "|-3|", RIGHT),
    ("1000", "1,000", RIGHT),
    ("1000", "10^3", RIGHT),
    (r"\frac{1}{2}", "1/2", RIGHT),
    (r"\frac12", "0.5", RIGHT),
    (r"$\frac{1}{2}$", r"\dfrac{1}{2}", RIGHT),
    (r"\boxed{\frac{1}{2}}", "0.5", RIGHT),
    ("1/3", "0.333", WRONG),
    ("1/3", "0.333333", RIGHT),
    ("0", "0.0000001", WRONG),
    ("1", "0.9999999", WRONG),
    ("3.14", r"\pi", WRONG),
    (r"\frac{\pi}{2}", r"\pi/2", RIGHT),
    (r"\sqrt{8}", r"2\sqrt{2}", RIGHT),
    ("x^2-1", "(x-1)(x+1)", RIGHT),
    ("x^2-1", "x^2+1", WRONG),
    ("x>3", "3<x", RIGHT),
    ("x>3", "x<3", WRONG),
    ("5", "x=5", RIGHT),
    ("5", "2+3=5", RIGHT),
    ("y=2x+1", "2x+1", RIGHT),
    (r"\{1,2\}", "2, 1", RIGHT),
    (r"\{1,2\}", "1", WRONG),
    ("(1,2)", "(1,2)", RIGHT),
    ("(1,2)", "(2,1)", WRONG),
    ("[0,1)", "[0,1]", WRONG),
    (r"\infty", r"\infty", RIGHT),
    ("50", r"50\%", RIGHT),
    ("12", r"12^\circ", RIGHT),
    ("5", r"5\text{ dollars}", RIGHT),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{bmatrix}1\\2\end{bmatrix}", RIGHT),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}2\\1\end{pmatrix}", WRONG),
    ("A", "A", RIGHT),
    (r"\text{A}", "A", RIGHT),
    ("A", "B", WRONG),
    # Hedges and tricks.
    ("42", "41, 42", WRONG),
    ("42", "41 or 42", WRONG),
    ("42", r"41 \text{ or } 42", WRONG),
    ("42", r"\{41, 42\}", WRONG),
    ("42", "nan", WRONG),
    ("42", "0/0", WRONG),
    ("42", "x", WRONG),
    ("17", "\u0661\u0667", WRONG),
    ("42", "__import__('os').system('true')", WRONG),
    ("42", "", FORMAT),
    # The data's fault.
    ("nan", "nan", UNSUPPORTED),
    ("NaN", "5", UNSUPPORTED),
    ("0/0", "0/0", UNSUPPORTED),
    (r"\frac{0}{0}", "0", UNSUPPORTED),
    ("1/0", "5", UNSUPPORTED),
    ("", "5", UNSUPPORTED),
    ("None", "5", UNSUPPORTED),
    ("9^{9^{9^9}}", "5", UNSUPPORTED),
]
TEXT = [
    ("42", "The answer is 42", RIGHT),
    ("42", "#### 42", RIGHT),
    ("42", r"Therefore $x = 42$.", RIGHT),
    ("42", r"First \boxed{41}, no: \boxed{42}", WRONG),
    ("42", r"\boxed{42} and again \boxed{42}", RIGHT),
    ("42", r"The final answer is 42. \boxed{43}", WRONG),
    ("42", r"The final answer is 41. \boxed{42}", RIGHT),
    ("42", "The answer is 41 or 42", WRONG),
    ("42", "Either 42 or 41.", WRONG),
    ("41", "Either 42 or 41.", WRONG),
    (r"\{41, 42\}", r"\boxed{41} or \boxed{42}", RIGHT),
    ("42", "<think>The answer is 42</think> The answer is 41", WRONG),
    ("42", "I do not know", FORMAT),
    ("42", "", FORMAT),
]


@pytest.fixture(scope="module")
def verifier() -> MathVerifier:
    return MathVerifier()


@pytest.mark.parametrize(("gold", "content", "verdict"), BOXED)
def test_boxed_table(verifier: MathVerifier, gold: str, content: str, verdict: Verdict) -> None:
    judgement = verifier.judge({"answer": gold}, AnswerFormat.BOXED, rf"So it is \boxed{{{content}}}.")
    assert judgement.verdict is verdict, judgement
    assert judgement.reward == {RIGHT: 1.0, UNSUPPORTED: None}.get(verdict, 0.0)


@pytest.mark.parametrize(("gold", "completion", "verdict"), TEXT)
def test_text_table(verifier: MathVerifier, gold: str, completion: str, verdict: Verdict) -> None:
    judgement = verifier.judge({"answer": gold}, AnswerFormat.TEXT, completion)
    assert judgement.verdict is verdict, judgement


@pytest.mark.parametrize("answer_format", list(AnswerFormat))
def test_each_format_finds_its_own_answer(verifier: MathVerifier, answer_format: AnswerFormat) -> None:
    completions = {
        AnswerFormat.TEXT: "the answer is 7",
        AnswerFormat.ANSWER_TAG: "<answer>7</answer>",
        AnswerFormat.BOXED: r"\boxed{7}",
        AnswerFormat.FIRST_INTEGER: "7 or 8",
        AnswerFormat.LAST_INTEGER: "6 or 7",
    }
    assert verifier.judge({"answer": "7"}, answer_format, completions[answer_format]).reward == 1.0
    assert verifier.judge({"answer": "9"}, answer_format, completions[answer_format]).reward == 0.0


def test_any_of_several_expected_answers_counts(verifier: MathVerifier) -> None:
    row = {"answer": ["7", r"\frac{1}{2}"]}
    assert verifier.judge(row, AnswerFormat.BOXED, r"\boxed{0.5}").reward == 1.0
    assert verifier.judge(row, AnswerFormat.BOXED, r"\boxed{8}").reward == 0.0


@pytest.mark.parametrize("row", [{}, {"answer": None}, {"answer": []}, {"answer": True}, {"answer": {"a": 1}}])
def test_a_row_without_expected_answer_is_unsupported(verifier: MathVerifier, row: dict[str, object]) -> None:
    judgement = verifier.judge(row, AnswerFormat.BOXED, r"\boxed{8}")
    assert judgement.verdict is Verdict.UNSUPPORTED
    assert judgement.reward is None
    assert judgement.detail


@pytest.mark.parametrize("gold", [7, 7.0])
def test_a_number_is_an_expected_answer(verifier: MathVerifier, gold: float) -> None:
    assert verifier.judge({"answer": gold}, AnswerFormat.BOXED, r"\boxed{7}").reward == 1.0


def test_an_oversized_answer_is_wrong(verifier: MathVerifier) -> None:
    completion = rf"\boxed{{{'1+' * MAX_ANSWER_CHARACTERS}1}}"
    judgement = verifier.judge({"answer": "7"}, AnswerFormat.BOXED, completion)
    assert judgement.verdict is Verdict.WRONG
    assert len(judgement.detail) < 1000


def test_two_megabytes_of_text_before_the_answer_do_not_matter(verifier: MathVerifier) -> None:
    completion = "so $x$ is 3, " * 150_000 + r"\boxed{7}"
    assert verifier.judge({"answer": "7"}, AnswerFormat.BOXED, completion).reward == 1.0
    assert verifier.judge({"answer": "7"}, AnswerFormat.TEXT, completion).reward == 1.0


def test_an_answer_that_outlasts_the_verifier_is_the_models_failure(verifier: MathVerifier) -> None:
    judgement: Judgement = verifier.judge({"answer": "7"}, AnswerFormat.BOXED, r"\boxed{((10!)!)!}")
    assert judgement.verdict is Verdict.TIMEOUT_WALL
    assert judgement.reward == 0.0
