"""The table of public reports' cases: each completion with the reward that is right, or a reasoned exception."""

from __future__ import annotations

import pytest

from prorl_verifiers.math.verifier import MathVerifier
from tests.unit.verifiers.case_table import Case, load_cases

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
