"""Importers of published evaluation sets: records in the forms in which the sets are published."""

from __future__ import annotations

import base64
import json
import pickle
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from prorl_api.data_lines import data_faults
from prorl_cli.data.importers import EVALUATION_SETS, IMPORTERS
from prorl_cli.data.importers.base import Imported, Skipped
from prorl_cli.main import app


def imported(name: str, record: Mapping[str, Any]) -> Imported:
    made = IMPORTERS[name].convert(record)
    assert isinstance(made, Imported), made
    assert data_faults({"prompt": made.prompt, "row": made.row}, IMPORTERS[name].domain) == []
    return made


def reason(name: str, record: Mapping[str, Any]) -> str:
    made = IMPORTERS[name].convert(record)
    assert isinstance(made, Skipped), made
    return made.reason


@pytest.mark.parametrize(
    ("name", "record", "answer"),
    [
        ("aime", {"id": 60, "problem": "Find n.", "solution": r"\boxed{204}", "answer": "204", "year": "2024"}, 204),
        ("aime", {"ID": "2024-II-4", "Problem": "Find n.", "Solution": "…", "Answer": 33}, 33),
        ("aime", {"question": "Find n.", "answer": "025"}, 25),
        ("amc", {"id": 0, "problem": "p", "answer": 142.0, "url": "u"}, 142),
        ("amc", {"question": "p", "answer": "27"}, 27),
        ("amc", {"question": "p", "answer": r"\frac{3}{2}"}, r"\frac{3}{2}"),
        ("math-500", {"problem": "p", "answer": r"\left( 3, \frac{\pi}{2} \right)", "level": 2}, None),
        ("math-500", {"problem": "p", "solution": r"so \boxed{\frac{1}{2}}."}, r"\frac{1}{2}"),
        ("minerva", {"question": "p", "answer": "4e33"}, "4e33"),
        ("minerva", {"problem": "p", "solution": r"Thus \boxed{2} kg"}, "2"),
        (
            "olympiad-bench",
            {"question": "p", "final_answer": ["$\\frac{1}{n}$"], "modality": "Text-only"},
            r"\frac{1}{n}",
        ),
        ("olympiad-bench", {"question": "p", "final_answer": ["$1$,$2$"], "is_multiple_answer": True}, "$1$,$2$"),
        ("olympiad-bench", {"problem": "p", "answer": "2"}, "2"),
    ],
)
def test_problems_with_final_answers(name: str, record: dict[str, Any], answer: Any) -> None:
    assert imported(name, record).row == {"answer": record["answer"] if answer is None else answer}


@pytest.mark.parametrize(
    ("name", "record", "why"),
    [
        ("aime", {"problem": "p", "answer": "1000"}, "the answer is no whole number from 0 to 999"),
        ("aime", {"problem": "p", "answer": r"\frac12"}, "the answer is no whole number from 0 to 999"),
        ("aime", {"problem": "p"}, "no answer"),
        ("math-500", {"answer": "1"}, "no problem"),
        ("olympiad-bench", {"question": "p", "final_answer": None, "image_1": "x.png", "answer": "1"}, "has a picture"),
        ("olympiad-bench", {"question": "p", "final_answer": ["1"], "modality": "Multimodal"}, "has a picture"),
        ("olympiad-bench", {"question": "Prove it.", "final_answer": []}, "a proof is asked for"),
        ("olympiad-bench", {"question": "p", "final_answer": ["1", "2"]}, "several final answers"),
        ("olympiad-bench", {"question": "p", "final_answer": ["1"], "unit": "m"}, "the answer has a unit"),
        ("olympiad-bench", {"question": "p", "final_answer": ["1"], "error": "1e-1"}, "the answer has a tolerance"),
    ],
)
def test_problems_that_are_left_out(name: str, record: dict[str, Any], why: str) -> None:
    assert reason(name, record) == why


def test_a_context_stands_before_the_question() -> None:
    record = {"context": "Let $n$ be odd.", "question": "Find it.", "final_answer": ["$3$"]}
    assert imported("olympiad-bench", record).prompt == "Let $n$ be odd.\n\nFind it."


GPQA = {
    "Question": "Which metal?",
    "Correct Answer": "tin\n",
    "Incorrect Answer 1": "iron",
    "Incorrect Answer 2": "lead",
    "Incorrect Answer 3": "zinc",
}


def test_gpqa_s_options_are_lettered_the_same_for_everybody_and_not_always_alike() -> None:
    made = imported("gpqa", GPQA)
    assert made.row["choices"][made.row["answer"]] == "tin"
    assert sorted(made.row["choices"].values()) == ["iron", "lead", "tin", "zinc"]
    assert f"{made.row['answer']}) tin" in str(made.prompt)
    assert imported("gpqa", {**GPQA, "Incorrect Answer 1": "zinc", "Incorrect Answer 3": "iron"}) == made
    letters = {imported("gpqa", {**GPQA, "Question": f"Number {number}?"}).row["answer"] for number in range(40)}
    assert letters == set("ABCD")


def test_gpqa_needs_four_different_options() -> None:
    assert reason("gpqa", {**GPQA, "Incorrect Answer 2": ""}) == "not one right and three wrong answers"
    assert reason("gpqa", {**GPQA, "Incorrect Answer 2": "tin"}) == "two options are the same"


def test_gpqa_is_read_from_its_table(tmp_path: Path) -> None:
    table = tmp_path / "gpqa_diamond.csv"
    row = ['"Which,\nmetal?"', "tin", "iron", "lead", "zinc", ""]
    table.write_text(",".join([*GPQA, "Subdomain"]) + "\n" + ",".join(row) + "\n")
    output = tmp_path / "gpqa.jsonl"
    done = CliRunner().invoke(app, ["data", "import", "gpqa", str(table), "--output", str(output)])
    assert done.exit_code == 0, done.output
    assert json.loads(output.read_text())["prompt"].startswith("Which,\nmetal?\n\nA) ")


HUMAN_EVAL = {
    "task_id": "HumanEval/53",
    "prompt": 'def add(x: int, y: int):\n    """Add two numbers.\n    >>> add(2, 3)\n    5\n    """\n',
    "entry_point": "add",
    "canonical_solution": "    return x + y\n",
    "test": "def check(candidate):\n    inputs = [[0, 1]]\n    results = [1]\n"
    "    for i, (inp, exp) in enumerate(zip(inputs, results)):\n        assert candidate(*inp) == exp\n",
}


def test_human_eval_s_test_program_is_the_whole_test() -> None:
    row = imported("humaneval-plus", HUMAN_EVAL).row
    (test,) = row["tests"]
    assert test["source"].endswith("check(add)\n")
    assert (test["functions"], row["reward"]) == (["add"], "all")
    program: dict[str, Any] = {}
    exec(row["solution"], program)
    exec(test["source"], {"add": program["add"]})
    with pytest.raises(AssertionError):
        exec(test["source"], {"add": lambda x, y: x - y})


@pytest.mark.parametrize("missing", ["prompt", "entry_point", "test"])
def test_human_eval_without_what_judges_is_left_out(missing: str) -> None:
    assert reason("humaneval-plus", {**HUMAN_EVAL, missing: None}).startswith("no ")


def packed(cases: Any) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(cases)))).decode()


def live(public: Any, private: str, **more: Any) -> dict[str, Any]:
    return {
        "question_content": "Add.",
        "starter_code": "",
        "public_test_cases": json.dumps(public),
        "private_test_cases": private,
        "metadata": "{}",
        **more,
    }


def test_live_code_bench_s_hidden_tests_are_unpacked() -> None:
    first, second = ({"input": f"{n}\n", "output": f"{n + 1}\n", "testtype": "stdin"} for n in (1, 2))
    for private in (packed([second]), json.dumps([second])):
        tests = imported("livecodebench", live([first], private)).row["tests"]
        assert [test["stdin"] for test in tests] == ["1\n", "2\n"]


def test_live_code_bench_s_functions_are_called() -> None:
    case = {"input": '[1, 2]\n"a"', "output": "[3]", "testtype": "functional"}
    starter = "class Solution:\n    def f(self, x, y):\n        "
    made = imported("livecodebench", live([case], "", starter_code=starter, metadata='{"func_name": "f"}'))
    (test,) = made.row["tests"]
    assert (test["function"], test["arguments"], test["expected"]) == ("Solution.f", [[1, 2], "a"], [3])
    assert "class Solution" in str(made.prompt)


class _Planted:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("/tmp/planted"),))


@pytest.mark.parametrize(
    "private",
    [
        base64.b64encode(zlib.compress(pickle.dumps(_Planted()))).decode(),
        base64.b64encode(zlib.compress(pickle.dumps([1]))).decode(),
        base64.b64encode(b"no zlib").decode(),
        "no base64!",
        "[broken",
        json.dumps([{"input": 1, "output": "2"}]),
    ],
)
def test_live_code_bench_tests_that_are_none_are_left_out_and_run_nothing(private: str) -> None:
    assert reason("livecodebench", live([], private)) == "test cases are not a JSON list of input and output"
    assert not Path("/tmp/planted").exists()


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (live([], ""), "no tests"),
        (live([{"input": "1", "output": "1", "testtype": "functional"}], ""), "no func_name"),
        (live([{"input": "1", "output": "1"}], ""), "test cases of an unknown or of several types"),
        ({"question_content": ""}, "no question_content"),
    ],
)
def test_live_code_bench_records_that_are_left_out(record: dict[str, Any], why: str) -> None:
    assert reason("livecodebench", record) == why


def test_ifeval_is_judged_as_published() -> None:
    record = {"key": 1, "prompt": "Write.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
    row = imported("ifeval", record).row
    assert (row["strictness"], row["reward"]) == ("ifeval", "all")


@pytest.mark.parametrize("metadata", [{"source_dataset": "chain_sum"}, '{"source_dataset": "chain_sum"}'])
def test_items_of_reasoning_gym_name_their_task(metadata: Any) -> None:
    row = imported("reasoning-gym", {"question": "2 + 3 = ?", "answer": "5", "metadata": metadata}).row
    assert row["task"] == "chain_sum"
    assert row["entry"]["metadata"] == {"source_dataset": "chain_sum"}


def test_items_without_a_task_are_left_out() -> None:
    assert reason("reasoning-gym", {"question": "q", "answer": "5", "metadata": {}}).startswith("no task")
    assert reason("reasoning-gym", {"question": "q", "metadata": "[1]"}) == "metadata is not an object"


def test_every_set_of_the_paper_has_an_importer() -> None:
    assert [importer.name for importer in EVALUATION_SETS] == [
        "aime", "amc", "math-500", "minerva", "olympiad-bench", "gpqa", "humaneval-plus", "livecodebench", "ifeval",
        "reasoning-gym",
    ]  # fmt: skip
