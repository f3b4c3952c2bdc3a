"""The table of public reports' cases: each completion with the reward that is right, or a reasoned exception."""

from __future__ import annotations

import pytest

from prorl_api.spec.values import AnswerFormat
from prorl_verifiers.math.verifier import MathVerifier
from tests.unit.verifiers.case_table import GOLDEN, Case, load_cases

CASES = load_cases("cases_math.tsv")
# Where docs/verifiers.md ("Where the table of reports is judged otherwise") judges otherwise: (gold, completion).
OTHERWISE: dict[tuple[str, str], float] = {
    ("e", r"So it is \boxed{e^2/e}."): 1.0,
}


@pytest.fixture(scope="module")
def verifier() -> MathVerifier:
    verifier = MathVerifier()
    verifier.warm_up()
    return verifier


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case_of_a_public_report(verifier: MathVerifier, case: Case) -> None:
    judgement = verifier.judge(case.row, case.answer_format, case.completion)
    wanted = OTHERWISE.get((case.row["answer"], case.completion), case.right)
    assert judgement.reward == wanted, (case.row, case.completion, judgement)


def test_every_exception_is_a_case_judged_otherwise() -> None:
    cases = {(case.row["answer"], case.completion): case.right for case in CASES}
    assert all(cases[key] != reward for key, reward in OTHERWISE.items())


KINDS = [
    tuple(line.split("\t"))
    for line in (GOLDEN / "math_kinds.tsv").read_text(encoding="utf-8").split("\n")
    if line and not line.startswith("# ")
]


@pytest.mark.parametrize("row", KINDS, ids=lambda row: " ".join(row[:4]))
def test_kind_of_answer(verifier: MathVerifier, row: tuple[str, ...]) -> None:
    kind, form, expected, answer, reward = row
    answer_format = AnswerFormat.BOXED if form == "boxed" else AnswerFormat.TEXT
    completion = rf"So it is \boxed{{{answer}}}." if form == "boxed" else answer
    judgement = verifier.judge({"answer": expected}, answer_format, completion)
    assert judgement.reward == float(reward), (kind, judgement)


def test_the_kinds_hold_no_case_twice() -> None:
    assert len({row[1:4] for row in KINDS}) == len(KINDS)
