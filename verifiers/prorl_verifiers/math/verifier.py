r"""The math verifier: two independent checkers, of which one must accept.

The own checker (`algebra`) goes first: it is cheap, exact, and computes nothing without a bound. math-verify decides
what the own one does not accept, unless that is certain: the answer hedges, is a plain number or a sum of powers that
differs, or has another unit. So a false acceptance of math-verify (it drops units, for one) does not become a reward.

Rules:
- An expected answer that is missing, is not finite (nan, 0/0), or that neither checker reads within the time limit is
  the data's fault: `unsupported`, no reward.
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
from prorl_verifiers.extraction import extract
from prorl_verifiers.judgement import Judgement, shorten
from prorl_verifiers.math.math_verify_checker import (
    TIMEOUT_SECONDS,
    MathVerifyChecker,
    RejectedError,
    TooSlowError,
)
from prorl_verifiers.math.statement import MAX_ANSWER_CHARACTERS, is_hedge, stated_answer
from prorl_verifiers.rows import math_answers

_CACHED_GOLDS = 4096
_NOT_A_NUMBER = frozenset({"", "nan", "+nan", "-nan", "inf", "+inf", "-inf", "none", "null", "undefined"})
_WARM_UP = (
    ("42", "41 + 1.0"),
    (r"\frac{1}{2}", r"\frac{x}{2}"),
    ("x^2-1", "x^2-2x+1"),
    (r"\{1,2\}", "1, 3"),
    ("(1,2]", "(1,2)"),
    ("x>3", "x<3"),
    (r"\sqrt{2}\pi", r"\pi\sqrt{3}x"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1\\3\end{pmatrix}"),
    ("y=2x", r"y=3\cdot x"),
    ("10", r"\text{ten}"),
    ("(x,2)", "(2,x)"),
    ("y=2x", "x=2y"),
    (r"(-\infty,3]", r"(-\infty,3)"),
    (r"\pi", "3.14"),
    (r"e^{2}", r"2\cdot e+\ln 3"),
    (r"\sin x", r"\frac{\cos x}{2}"),
    ("10", "eval(1)"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gold:
    """An expected answer as each checker reads it; a fault if neither does."""

    text: str
    algebra: algebra.Expected
    fault: str = ""


class MathVerifier:
    """Judges rows `{"answer": gold}`, where gold is a string, a number, or a list of accepted ones."""

    def __init__(self) -> None:
        self._math_verify = MathVerifyChecker()
        self._gold = lru_cache(maxsize=_CACHED_GOLDS)(self._read_gold)
        self._parsed_gold = lru_cache(maxsize=_CACHED_GOLDS)(self._parse_gold)

    def warm_up(self) -> None:
        """Fill math-verify's caches: its first use of each grammar path takes up to 200 ms."""
        for gold, answer in _WARM_UP:
            self.judge({"answer": gold}, AnswerFormat.BOXED, rf"\boxed{{{answer}}}")

    def judge(self, row: Mapping[str, Any], answer_format: AnswerFormat, completion: str) -> Judgement:
        """Whether the completion's answer equals one of the expected ones."""
        texts, fault = math_answers(row)
        if fault:
            return Judgement.unsupported(fault)
        golds = [self._gold(text) for text in texts]
        fault = next((gold.fault for gold in golds if gold.fault), "")
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

    def accepting_checker(self, gold: str, answer: str) -> str:
        """Which checker accepts a stated answer: `own`, `math-verify` or none (empty)."""
        judgement = self._compare([self._gold(gold)], answer)
        return judgement.detail.partition(" accepts: ")[0] if judgement.reward == 1.0 else ""

    def _compare(self, golds: list[_Gold], answer: str) -> Judgement:
        findings = [
            algebra.check(gold.algebra.answer, answer) if gold.algebra.answer else algebra.Finding.UNREADABLE
            for gold in golds
        ]
        if algebra.Finding.SAME in findings:
            return Judgement.of_score(1.0, f"own accepts: {shorten(answer)}")
        if is_hedge(answer):
            return Judgement.failed(Verdict.WRONG, f"no single answer: {shorten(answer)}")
        open_golds = [
            gold for gold, finding in zip(golds, findings, strict=True) if finding is not algebra.Finding.CONTRADICTORY
        ]
        if not open_golds:
            return Judgement.failed(Verdict.WRONG, f"answer: {shorten(answer)}")
        return self._ask_math_verify(open_golds, answer)

    def _ask_math_verify(self, golds: list[_Gold], answer: str) -> Judgement:
        expected: list[Any] = []
        for gold in golds:
            parsed, _ = self._parsed_gold(gold.text)
            expected.extend(parsed)
        detail = f"answer: {shorten(answer)}"
        if not expected:
            return Judgement.failed(Verdict.WRONG, detail)
        try:
            is_right = self._math_verify.accepts(expected, answer)
        except TooSlowError:
            detail = f"the verifier gave up on {shorten(answer)!r} after {TIMEOUT_SECONDS} s"
            return Judgement.failed(Verdict.TIMEOUT_WALL, detail)
        except RejectedError as error:
            return Judgement.failed(Verdict.WRONG, f"{shorten(answer)!r}: {error}")
        return Judgement.of_score(float(is_right), f"math-verify accepts: {shorten(answer)}" if is_right else detail)

    def _read_gold(self, text: str) -> _Gold:
        """Read an expected answer with the cheap checker, and with the other one if that fails."""
        read = algebra.read_expected(text)
        fault = ""
        if text.strip().lower() in _NOT_A_NUMBER or len(text) > MAX_ANSWER_CHARACTERS:
            fault = f"the expected answer {shorten(text)!r} is not one"
        elif not read.is_finite:
            fault = f"the expected answer {shorten(text)!r} is not a number"
        elif read.answer is None:
            _, fault = self._parsed_gold(text)
        return _Gold(text=text, algebra=read, fault=fault)

    def _parse_gold(self, text: str) -> tuple[tuple[Any, ...], str]:
        """What math-verify makes of an expected answer, or why it can make nothing of it."""
        try:
            return tuple(self._math_verify.read_expected(text)), ""
        except TooSlowError:
            return (), f"the expected answer {shorten(text)!r} takes more than {TIMEOUT_SECONDS} s to verify"
        except RejectedError as error:
            return (), f"the expected answer {shorten(text)!r} {error}"
