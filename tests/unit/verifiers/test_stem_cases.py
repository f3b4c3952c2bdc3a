"""The table of public reports' cases of science questions, and brothers of them: each with the reward that is right."""

from __future__ import annotations

import random
from typing import Any

import pytest

from prorl_api.spec.values import AnswerFormat
from prorl_verifiers.math.verifier import MathVerifier
from prorl_verifiers.stem.verifier import StemVerifier
from tests.unit.verifiers.case_table import Case, load_cases

CASES = load_cases("cases_stem.tsv")
BROTHERS = load_cases("cases_stem_brothers.tsv")


@pytest.fixture(scope="module")
def verifier() -> StemVerifier:
    math = MathVerifier()
    math.warm_up()
    return StemVerifier(math)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case_of_a_public_report(verifier: StemVerifier, case: Case) -> None:
    judgement = verifier.judge(case.row, case.answer_format, case.completion)
    assert judgement.reward == case.right, (case.row, case.completion, judgement)


@pytest.mark.parametrize("case", BROTHERS, ids=lambda case: case.name)
def test_brothers_of_these_cases(verifier: StemVerifier, case: Case) -> None:
    judgement = verifier.judge(case.row, case.answer_format, case.completion)
    # A row whose own unit cannot be read is masked, and pays nothing either.
    assert (judgement.reward or 0.0) == case.right, (case.row, case.completion, judgement)


DENIED = (
    "I would rule B out.",
    "Option B can be excluded.",
    "The answer isn't B.",
    "The answer was never B.",
    "B is the worst option.",
    "The answer must be something other than B.",
    "All but option B are right.",
    "Choose anything except B.",
    "Answer: B?",
    "Had we ignored friction, the answer would be B.",
    "One might think the answer is B.",
    "The answer may be B.",
    "Suppose the answer is B.",
    "Unless the answer is B, energy is lost.",
    "Answer: B (wrong)",
    "Answer: B, or rather C.",
    "The answer is B. Wait, no.",
    "The answer is B. Or C.",
    "Answer: B\nor maybe D",
    "Answer: B is refuted by experiment.",
    "Die Antwort ist nicht B.",
    "La réponse n'est pas B.",
    "La respuesta no es B.",
    "答案不是B",
    "答案是B或C",
    "Ответ: не B",
    "選項B是錯的",
    "選項B不對",
    "Option B leads to a contradiction.",
    "option B violates the second law",
    r"\boxed{\text{B or C}}",
    r"\boxed{B/C}",
    r"\boxed{\text{all but B}}",
    r"\boxed{B}, \boxed{C}",
    "<answer>B or C</answer>",
    "<think>The answer is B.",
    "<think>x</think><think>\\boxed{B}",
)


@pytest.mark.parametrize("completion", DENIED)
def test_an_option_that_is_denied_or_left_open_earns_nothing(verifier: StemVerifier, completion: str) -> None:
    row = {"answer": "B", "kind": "choice"}
    assert verifier.judge(row, AnswerFormat.TEXT, completion).reward == 0.0


AFFIRMED = (
    "So the answer is B.",
    "Hence option B is the correct answer.",
    "If we neglect friction, the answer is B.",
    "It is not A, so the answer is B.",
    "Ans: B",
    "ANS. (B)",
    "Answer: **(B)**",
    "The correct choice is B because of symmetry.",
    "B is the correct option.",
    "(B) is the right answer",
    "**Final Answer:** B",
    r"Answer: \(\mathrm{B}\)",
    "Die Antwort lautet B.",
    "La respuesta correcta es B.",
    "La risposta corretta è B.",
    "A resposta correta é (B).",
    "答案为：B",
    "正確選項是B",
    "答えはBです",
    "정답은 B",
    "Đáp án: B",
    "الإجابة: B",
    "उत्तर: B",
    "Odpowiedź: B",
    r"\boxed{\textsf{B}}",
    r"\boxed{(B)}",
    "| Answer | B |",
    "The answer is B. A common mistake is C.",
)


@pytest.mark.parametrize("completion", AFFIRMED)
def test_an_option_that_is_affirmed_is_chosen(verifier: StemVerifier, completion: str) -> None:
    row = {"answer": "B", "kind": "choice"}
    assert verifier.judge(row, AnswerFormat.TEXT, completion).reward == 1.0


QUANTITIES: list[tuple[str, str, float]] = [
    ("42", "43", 0),
    ("42", "42.0", 1),
    ("42", "41.8", 1),
    ("1000", "999", 0),
    ("100", "100.6", 0),
    ("42 m", "42.3 m", 1),
    ("3.0e8 m/s", "2.998e8 m/s", 1),
    ("12 kHz", "12000 s^-1", 1),
    ("1 Gy", "1 Sv", 0),
    ("1 Gy", "1 J/kg", 1),
    ("3 Bq", "3 Hz", 0),
    ("1 Ci", "3.7e10 Bq", 1),
    ("120 rpm", "4\\pi rad/s", 1),
    ("120 rpm", "2 rev/s", 1),
    ("7", "7 electrons", 1),
    ("7", "7 lone pairs", 1),
    ("7", "7 at most", 0),
    ("7", "7 times ten", 0),
    ("7", "7 hundred", 0),
    ("700", "7 hundred", 1),
    ("7", "7 per cent", 0),
    ("7", "7 or so", 0),
    ("7", "7 thousandths", 0),
    ("7", "7th", 0),
    ("7", "7 too few", 0),
    ("2 dozen", "24", 1),
    ("3 million", "3\\times10^6", 1),
    ("12\\,500 Pa", "12 500 Pa", 1),
    ("12{,}500", "12500", 1),
    ("1{,}5", "1.5", 1),
    ("0.5 Ω", "500 m\u2126", 1),
    ("1 \u212b", "100 pm", 1),
    ("1 \uff4b\uff47", "1000 g", 1),
    ("5 N·m", "5 N m", 1),
    ("8.314 J/mol/K", "8.314 J/(mol K)", 1),
    ("8.314 J/(mol K)", "8.314 J/mol", 0),
    ("938 MeV/c^2", "0.938 GeV/c²", 1),
    ("938 MeV/c^2", "938 MeV", 0),
    ("938 MeV/c^2", "938 MeV/c", 0),
    ("4.8 D", "4.8 debye", 1),
    ("4.8 D", "4.8 d", 0),
    ("\\$20", "20 dollars", 1),
    ("20 euro", "\\$20", 0),
    ("0.15", "15\\%", 1),
    ("15", "15\\%", 0),
    ("90^\\circ", "90", 1),
    ("90", "90^\\circ", 0),
    ("1.00 mol", "1.00 mol (3 s.f.)", 1),
    ("2 kg", "K_{1} = 2\\ \\text{kg}", 1),
    ("2 kg", "m_\\text{total} \\approx 2 kg", 1),
    ("2 kg", "2 kg of water, or 3", 0),
    ("5 foo", "5 foo", 0),
    ("5 m", "5 foo", 0),
]


@pytest.mark.parametrize(("gold", "answer", "reward"), QUANTITIES)
def test_quantities_and_their_brothers(verifier: StemVerifier, gold: str, answer: str, reward: float) -> None:
    row = {"answer": gold, "kind": "number"}
    judgement = verifier.judge(row, AnswerFormat.BOXED, rf"It is \boxed{{{answer}}}.")
    assert (judgement.reward or 0.0) == reward, judgement


UNITS = (
    "",
    " m",
    " cm",
    " kg",
    " s",
    " Hz",
    " rad/s",
    " J",
    " eV",
    " %",
    r"\%",
    r"^\circ",
    " °C",
    " K",
    " mol/L",
    " apples",
    " foo",
)
JOINS = (
    " or ",
    " and ",
    ", ",
    "; ",
    " to ",
    r" \to ",
    r" \pm ",
    " - ",
    "/",
    " = ",
    r" \approx ",
    r" \ne ",
    " not ",
    " 或 ",
    " или ",
)
WORDS = ("", "about ", "at least ", "not ", "less than ", "x = ", "> ", r"\le ", "twice ", "minus ", "~", "≈ ")


def answers(seed: int, count: int) -> list[str]:
    """Answers made of numbers, units, joins and words; the same for the same seed."""
    dice = random.Random(seed)
    found = []
    for _ in range(count):
        parts = [
            dice.choice(WORDS) + dice.choice(("5", "6", "5.5", "12", "0.5", "5e3")) + dice.choice(UNITS)
            for _ in range(dice.choice((1, 1, 2)))
        ]
        found.append(dice.choice(JOINS).join(parts))
    return found


@pytest.mark.parametrize("seed", range(4))
def test_no_answer_wins_two_golds_that_differ(verifier: StemVerifier, seed: int) -> None:
    golds = [
        "5",
        "6",
        "12",
        "5 m",
        "6 m",
        "500 cm",
        "5 kg",
        "5 s",
        "5 Hz",
        "5 rad/s",
        "5 J",
        "5 eV",
        "5 K",
        "5 °C",
        "0.5",
        "5000",
    ]
    same = [{"5", "5 m", "500 cm", "5 kg", "5 s", "5 Hz", "5 rad/s", "5 J", "5 eV", "5 K", "5 °C"}, {"6", "6 m"}]
    for answer in answers(seed, 250):
        rows: list[dict[str, Any]] = [{"answer": gold, "kind": "number"} for gold in golds]
        won = {
            str(row["answer"])
            for row in rows
            if verifier.judge(row, AnswerFormat.BOXED, rf"\boxed{{{answer}}}").reward == 1.0
        }
        # A number without its unit wins wherever the number is right, and a unit where none is asked for.
        assert len(won) <= 1 or any(won <= each for each in same), (answer, won)
