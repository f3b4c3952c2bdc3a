"""The STEM verifier's golden cases, each with its reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prorl_api.spec.values import AnswerFormat
from prorl_api.wire.sandbox import Verdict
from prorl_verifiers.judgement import Judgement
from prorl_verifiers.math.verifier import MathVerifier
from prorl_verifiers.stem.verifier import StemVerifier

FILE = Path(__file__).parent / "golden" / "stem.tsv"
CASES = [
    tuple(line.split("\t"))
    for line in FILE.read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("# ")
]
OUTCOMES = {
    Verdict.CORRECT: "right",
    Verdict.WRONG: "wrong",
    Verdict.FORMAT_ERROR: "format",
    Verdict.UNSUPPORTED: "unsupported",
}


@pytest.fixture(scope="module")
def verifier() -> StemVerifier:
    return StemVerifier(MathVerifier())


def judge(verifier: StemVerifier, kind: str, expected: str, options: str, form: str, answer: str) -> Judgement:
    row: dict[str, Any] = {"kind": kind, "answer": expected}
    if options != "-":
        row["choices"] = dict(zip("ABCDEFGH", options.split("|"), strict=False))
    if form == "boxed":
        return verifier.judge(row, AnswerFormat.BOXED, rf"So it is \boxed{{{answer}}}.")
    if form == "tag":
        return verifier.judge(row, AnswerFormat.ANSWER_TAG, f"So it is <answer>{answer}</answer>.")
    return verifier.judge(row, AnswerFormat.TEXT, answer.replace("\\n", "\n"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(case[:5]))
def test_golden_case(verifier: StemVerifier, case: tuple[str, ...]) -> None:
    kind, expected, options, form, answer, outcome, reason = case
    judgement = judge(verifier, kind, expected, options, form, answer)
    assert OUTCOMES[judgement.verdict] == outcome, (reason, judgement)
    assert judgement.reward == {"right": 1.0, "unsupported": None}.get(outcome, 0.0)


def test_the_suite_covers_each_kind_and_repeats_nothing() -> None:
    assert len(CASES) >= 60
    assert {case[0] for case in CASES} == {"choice", "number", "expression"}
    assert len({case[:5] for case in CASES}) == len(CASES)


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"answer": "B"},
        {"kind": "choice"},
        {"answer": "BC", "kind": "choice"},
        {"answer": "5", "kind": "number", "choices": {"A": "x"}},
        {"answer": "5", "kind": "number", "relative_tolerance": 2},
        {"answer": 5, "kind": "number"},
        {"answer": "5", "kind": "essay"},
    ],
)
def test_a_bad_row_is_unsupported(verifier: StemVerifier, row: dict[str, Any]) -> None:
    judgement = verifier.judge(row, AnswerFormat.BOXED, r"\boxed{5}")
    assert judgement.verdict is Verdict.UNSUPPORTED
    assert judgement.reward is None
    assert "row is not judgeable as StemRow" in judgement.detail


def test_the_rows_tolerance_holds(verifier: StemVerifier) -> None:
    row = {"answer": "100", "kind": "number", "relative_tolerance": 0.1}
    assert verifier.judge(row, AnswerFormat.BOXED, r"\boxed{91}").reward == 1.0
    assert verifier.judge(row, AnswerFormat.BOXED, r"\boxed{89}").reward == 0.0
