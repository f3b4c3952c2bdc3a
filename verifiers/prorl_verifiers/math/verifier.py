r"""The math verifier: an own reader and comparison of answers, which asks math-verify about single formulas.

The own checker (`algebra`) fixes the shape of an answer (number, set, tuple, interval, equation, words) and compares
within it; what it reads, it decides. Formulas beyond its grammar (sums, integrals, limits) go to math-verify one by
one. So no part of an answer is ever dropped: what cannot be read as a whole is wrong.

Rules:
- An expected answer that is missing or not finite (nan, 0/0) is the data's fault: `unsupported`, no reward. One that
  cannot be read or computed is so too, except for an answer that is written the same.
- "41 or 42", doubt ("maybe 42"), and several different boxes are hedges: they count only where the expected answer is
  that very set.
- Answers longer than `MAX_ANSWER_CHARACTERS` are wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from prorl_api.spec.values import AnswerFormat
from prorl_api.wire.sandbox import Verdict
from prorl_verifiers.algebra import checker as algebra
from prorl_verifiers.algebra.reader import is_written_alike
from prorl_verifiers.algebra.tree import Answer, foreign_formulas
from prorl_verifiers.extraction import extract
from prorl_verifiers.judgement import Judgement, shorten
from prorl_verifiers.math.math_verify_checker import (
    TIMEOUT_SECONDS,
    MathVerifyChecker,
    RejectedError,
    TooSlowError,
)
from prorl_verifiers.math.statement import MAX_ANSWER_CHARACTERS, stated_answer
from prorl_verifiers.rows import math_answers

_CACHED_GOLDS = 4096
_NOT_A_NUMBER = frozenset({"", "nan", "+nan", "-nan", "inf", "+inf", "-inf", "none", "null", "undefined"})
_MAX_QUESTIONS = 4
_WARM_UP = (
    (r"\sum_{k=1}^{10} k", "55"),
    (r"\int_0^1 x^2 dx", r"\frac{1}{3}"),
    (r"\sum_{k=1}^{n} k", r"\frac{n(n+1)}{2}"),
    (r"\lim_{x \to 0} \frac{\sin x}{x}", "1"),
    (r"\frac{1}{2}", "1/2x"),
    (r"\sin x", r"\frac{\cos x}{2}"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gold:
    """An expected answer as it is read, or what is wrong with it."""

    text: str
    algebra: algebra.Expected
    fault: str
    is_answer: bool
    """False: nothing equals it, not even itself."""


class MathVerifier:
    """Judges rows `{"answer": gold}`, where gold is a string, a number, or a list of accepted ones."""

    def __init__(self) -> None:
        self._math_verify = MathVerifyChecker()
        self._gold = lru_cache(maxsize=_CACHED_GOLDS)(self._read_gold)

    def warm_up(self) -> None:
        """Fill math-verify's caches: its first use of each grammar path takes up to 200 ms."""
        for gold, answer in _WARM_UP:
            self.judge({"answer": gold}, AnswerFormat.BOXED, rf"\boxed{{{answer}}}")

    def judge(self, row: Mapping[str, Any], answer_format: AnswerFormat, completion: str) -> Judgement:
        """Tell whether the completion's answer equals one of the expected ones."""
        texts, fault = math_answers(row)
        if fault:
            return Judgement.unsupported(fault)
        golds = [self._gold(text) for text in texts]
        fault = next((gold.fault for gold in golds if not gold.is_answer), "")
        if fault:
            return Judgement.unsupported(fault)
        extracted = extract(completion, answer_format)
        if extracted is None:
            return Judgement.failed(Verdict.FORMAT_ERROR, f"no answer in the form {answer_format.value!r} was found")
        answer = stated_answer(extracted, answer_format)
        if answer is None:
            return Judgement.failed(Verdict.FORMAT_ERROR, f"no answer is stated in {shorten(extracted[-200:])!r}")
        if len(answer) > MAX_ANSWER_CHARACTERS:
            detail = f"the answer has {len(answer)} characters; at most {MAX_ANSWER_CHARACTERS} are judged"
            return Judgement.failed(Verdict.WRONG, detail)
        return self._compare(golds, answer)

    def _compare(self, golds: list[_Gold], answer: str) -> Judgement:
        shown = shorten(answer)
        question = _Question(self._math_verify)
        try:
            findings = [_finding(gold, answer, question) for gold in golds]
        except TooSlowError:
            detail = f"the verifier gave up on {shown!r} after {TIMEOUT_SECONDS} s"
            return Judgement.failed(Verdict.TIMEOUT_WALL, detail)
        if algebra.Finding.SAME in findings:
            by = " (by math-verify)" if question.was_asked else ""
            return Judgement.of_score(1.0, f"found {shown}, as expected{by}")
        fault = next((gold.fault for gold in golds if gold.fault), "")
        if fault:
            return Judgement.unsupported(fault)
        if algebra.Finding.TOO_COSTLY in findings:
            return Judgement.failed(Verdict.TIMEOUT_WALL, f"the value of {shown!r} is too large to compute")
        if algebra.Finding.UNREADABLE in findings:
            return Judgement.failed(Verdict.WRONG, f"found {shown} (not read as one answer)")
        return Judgement.failed(Verdict.WRONG, f"found {shown}")

    def _read_gold(self, text: str) -> _Gold:
        """Read an expected answer, and its formulas that only math-verify reads."""
        read = algebra.read_expected(text)
        shown = f"the expected answer {shorten(text)!r}"
        fault, is_answer = "", True
        if text.strip().lower() in _NOT_A_NUMBER or len(text) > MAX_ANSWER_CHARACTERS:
            fault, is_answer = f"{shown} is not one", False
        elif not read.is_finite:
            fault, is_answer = f"{shown} is not a number", False
        elif read.answer is None:
            fault = f"{shown} does not parse as mathematics"
        elif not read.is_computable:
            fault = f"{shown} is too large to compute"
        else:
            fault = self._fault_of_formulas(read.answer, shown)
        return _Gold(text=text, algebra=read, fault=fault, is_answer=is_answer)

    def _fault_of_formulas(self, answer: Answer, shown: str) -> str:
        for formula in foreign_formulas(answer):
            try:
                self._math_verify.are_same(formula, formula)
            except TooSlowError:
                return f"{shown} takes more than {TIMEOUT_SECONDS} s to verify"
            except RejectedError as error:
                return f"{shown} {error}"
        return ""


class _Question:
    """Asks math-verify about single formulas, a few times for one answer."""

    def __init__(self, checker: MathVerifyChecker) -> None:
        self._checker = checker
        self._left = _MAX_QUESTIONS
        self.was_asked = False

    def __call__(self, expected: str, answer: str) -> bool:
        self._left -= 1
        if self._left < 0:
            return False
        self.was_asked = True
        try:
            return self._checker.are_same(expected, answer)
        except RejectedError:
            return False


def _finding(gold: _Gold, answer: str, question: _Question) -> algebra.Finding:
    if gold.is_answer and gold.fault and is_written_alike(gold.text, answer):
        return algebra.Finding.SAME
    if gold.algebra.answer is None:
        return algebra.Finding.UNREADABLE
    return algebra.check(gold.algebra.answer, answer, question)
