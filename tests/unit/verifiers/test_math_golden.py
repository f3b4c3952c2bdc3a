"""The math verifier's golden cases, each with its reason: which checker accepts, or why nothing is earned."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from prorl_api.spec.values import AnswerFormat
from prorl_api.wire.sandbox import Verdict
from prorl_verifiers.judgement import Judgement
from prorl_verifiers.math.verifier import MathVerifier

FILE = Path(__file__).parent / "golden" / "math.tsv"
CASES = [
    tuple(line.split("\t"))
    for line in FILE.read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("# ") and line != "#"
]
FAILURES = {
    Verdict.WRONG: "wrong",
    Verdict.FORMAT_ERROR: "format",
    Verdict.UNSUPPORTED: "unsupported",
    Verdict.TIMEOUT_WALL: "timeout",
}


@pytest.fixture(scope="module")
def verifier() -> MathVerifier:
    verifier = MathVerifier()
    verifier.warm_up()
    return verifier


def judge(verifier: MathVerifier, form: str, expected: str, answer: str) -> Judgement:
    if form == "boxed":
        return verifier.judge({"answer": expected}, AnswerFormat.BOXED, rf"So it is \boxed{{{answer}}}.")
    return verifier.judge({"answer": expected}, AnswerFormat.TEXT, answer.replace("\\n", "\n"))


def outcome_of(judgement: Judgement) -> str:
    if judgement.reward == 1.0:
        assert judgement.detail.startswith("found ")
        return "math-verify" if judgement.detail.endswith(", as expected (by math-verify)") else "own"
    return FAILURES[judgement.verdict]


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(case[:3]))
def test_golden_case(verifier: MathVerifier, case: tuple[str, ...]) -> None:
    form, expected, answer, outcome, reason = case
    judgement = judge(verifier, form, expected, answer)
    assert outcome_of(judgement) == outcome, (reason, judgement)
    assert judgement.reward == (None if outcome == "unsupported" else float(outcome in ("own", "math-verify")))


def test_the_suite_is_large_and_without_repetition() -> None:
    assert len(CASES) >= 200
    assert len({case[:3] for case in CASES}) == len(CASES)


HOSTILE = [
    r"\binom{10^9}{5\cdot 10^8}",
    "(x+y+z+w+v)^{200}",
    r"\sum_{k=1}^{10^8} k",
    r"\int_0^{10^9} \sin(x^x) dx",
    r"\prod_{k=1}^{10^7} k",
    r"\sin(" * 60 + "x" + ")" * 60 + "^{99}",
    r"\frac{1}{1+" * 150 + "1" + "}" * 150,
    r"\sqrt{" * 150 + "2" + "}" * 150,
    "(" * 400 + "42" + ")" * 400,
    "{" * 1000 + "42" + "}" * 1000,
    "-" * 2000 + "42",
    "2" + "^{2" * 40 + "}" * 40,
    "10000!",
    r"\lfloor e^{10^6} \rfloor",
    "1" * 3000,
    "1,2" * 500,
    r"\begin{pmatrix}" + r"\\".join("&".join("1" * 20) for _ in range(20)) + r"\end{pmatrix}",
    r"\log_{1}(42)",
    "x" * 2000,
    "=".join(["42"] * 300) + "=41",
    "$" * 2000,
    r"\boxed{" * 200 + "1" + "}" * 200,
    "e^{e^{e^{e^{e}}}}",
    r"\tan(\frac{\pi}{2})",
    "0^{-1}",
    r"\infty-\infty",
]


@pytest.mark.parametrize("answer", HOSTILE, ids=lambda answer: answer[:30])
def test_a_hostile_answer_earns_nothing_within_the_time_limits(verifier: MathVerifier, answer: str) -> None:
    started = time.process_time()
    judgement = judge(verifier, "boxed", "7", answer)
    assert judgement.reward == 0.0
    assert time.process_time() - started < 10  # two limits of two seconds, and some for the rest
