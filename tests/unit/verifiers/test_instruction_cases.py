"""Instruction following by tables of cases: those that people reported of other judges, and their brothers by kind."""

from __future__ import annotations

import pytest

from prorl_verifiers.instructions.verifier import InstructionVerifier
from tests.unit.verifiers.case_table import Case, load_cases

VERIFIER = InstructionVerifier()
CASES = load_cases("cases_instructions.tsv") + load_cases("traps_instructions.tsv")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_case_has_its_right_reward(case: Case) -> None:
    assert VERIFIER.judge(case.row, case.answer_format, case.completion).reward == case.right


def test_no_case_stands_with_two_rewards() -> None:
    rights: dict[tuple[str, str], set[float]] = {}
    for case in CASES:
        rights.setdefault((str(case.row), case.completion), set()).add(case.right)
    assert [key for key, values in rights.items() if len(values) > 1] == []
