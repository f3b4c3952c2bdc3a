"""Importers: published records become rows of our own, or are left out for a counted reason."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from prorl_api.data_lines import data_faults
from prorl_cli.data.importers import EVALUATION_SETS, IMPORTERS
from prorl_cli.data.importers.base import Imported, Skipped, last_box
from prorl_cli.main import app

"""Other work on the machine, and tables of characters made at first use, say nothing about the code."""


def convert(name: str, record: Mapping[str, Any]) -> Imported | Skipped:
    return IMPORTERS[name].convert(record)


def row(name: str, record: Mapping[str, Any]) -> dict[str, Any]:
    made = convert(name, record)
    assert isinstance(made, Imported), made
    assert data_faults({"prompt": made.prompt, "row": made.row}, IMPORTERS[name].domain) == []
    return made.row


def reason(name: str, record: Mapping[str, Any]) -> str:
    made = convert(name, record)
    assert isinstance(made, Skipped), made
    return made.reason


# DeepScaleR


@pytest.mark.parametrize(("answer", "expected"), [(" 7 ", "7"), (r"\frac12", r"\frac12"), (7, 7), (0.5, 0.5)])
def test_deepscaler_answers(answer: Any, expected: Any) -> None:
    record = {"problem": "Find x.", "answer": answer, "solution": ""}
    assert row("deepscaler", record) == {"answer": expected}


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ({"problem": " ", "answer": "1"}, "no problem"),
        ({"problem": "p", "answer": ""}, "no answer"),
        ({"problem": "p", "answer": True}, "no answer"),
        ({"problem": "p"}, "no answer"),
    ],
)
def test_deepscaler_records_that_are_left_out(record: dict[str, Any], why: str) -> None:
    assert reason("deepscaler", record) == why


# Eurus-2 code


def eurus(
    truth: Any, *, problem: str = "Double it.", system: str | None = "Act.", ability: str = "code"
) -> dict[str, Any]:
    messages = [{"role": "user", "content": problem}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    return {
        "data_source": "taco",
        "prompt": messages,
        "ability": ability,
        "reward_model": {"style": "rule", "ground_truth": truth if isinstance(truth, str) else json.dumps(truth)},
        "extra_info": {"index": 0, "split": "train"},
    }


def test_eurus_programs_become_stdio_tests() -> None:
    tests = row("eurus-2-code", eurus({"inputs": ["2\n", ["3", "4"]], "outputs": ["4\n", "6\n8"]}))["tests"]
    assert tests == [
        {"type": "stdio", "stdin": "2\n", "expected_stdout": "4\n"},
        {"type": "stdio", "stdin": "3\n4", "expected_stdout": "6\n8"},
    ]


def test_the_system_message_is_left_out_and_counted() -> None:
    made = convert("eurus-2-code", eurus({"inputs": [""], "outputs": [""]}))
    assert isinstance(made, Imported)
    assert (made.prompt, made.notes) == ("Double it.", ("system message left out",))
    plain = convert("eurus-2-code", eurus({"inputs": [""], "outputs": [""]}, system=None))
    assert isinstance(plain, Imported)
    assert plain.notes == ()


@pytest.mark.parametrize(
    ("inputs", "outputs", "arguments", "expected"),
    [
        ([[1, 2], [3, 4]], [3, 7], [[1, 2], [3, 4]], [3, 7]),
        ([[1, 2], [3, 4]], [[3], [7]], [[1, 2], [3, 4]], [3, 7]),
        ([[1], [2]], [[1], [1, 2]], [[1], [2]], [[1], [1, 2]]),
        (["1\n[2, 3]", '"a"\n{}'], ["[5]", "[6, 7]"], [[1, [2, 3]], ["a", {}]], [[5], [6, 7]]),
        ([[]], [None], [[]], [None]),
    ],
)
def test_eurus_calls(inputs: list[Any], outputs: list[Any], arguments: list[Any], expected: list[Any]) -> None:
    tests = row("eurus-2-code", eurus({"fn_name": "f", "inputs": inputs, "outputs": outputs}))["tests"]
    assert [test["arguments"] for test in tests] == arguments
    assert [test["expected"] for test in tests] == expected
    assert {test["function"] for test in tests} == {"f"}


def test_a_method_is_called_where_the_problem_gives_a_class() -> None:
    truth = {"fn_name": "f", "inputs": [[1]], "outputs": [2]}
    tests = row("eurus-2-code", eurus(truth, problem="Fill in:\nclass Solution:\n  def f(self, x):"))["tests"]
    assert tests[0]["function"] == "Solution.f"


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (eurus("42", ability="math"), "ability is not code"),
        (eurus("not json"), "ground_truth is not a JSON object with inputs and outputs of equal length"),
        (eurus("[1]"), "ground_truth is not a JSON object with inputs and outputs of equal length"),
        (
            eurus({"inputs": ["1"], "outputs": []}),
            "ground_truth is not a JSON object with inputs and outputs of equal length",
        ),
        (eurus({"inputs": [], "outputs": []}), "no tests"),
        (eurus({"inputs": [1], "outputs": ["1"]}), "inputs or outputs of a program are not text"),
        (eurus({"fn_name": "f", "inputs": ["x ="], "outputs": ["1"]}), "arguments or results of a call are not JSON"),
        (eurus({"fn_name": "f", "inputs": [3], "outputs": ["1"]}), "arguments or results of a call are not JSON"),
        ({**eurus({"inputs": [""], "outputs": [""]}), "prompt": "text"}, "no prompt that ends with a user's message"),
    ],
)
def test_eurus_records_that_are_left_out(record: dict[str, Any], why: str) -> None:
    assert reason("eurus-2-code", record) == why


# SCP-116K


def first_version(solution: str, *, qwq: str = "", agrees: tuple[bool, bool] = (True, True)) -> dict[str, Any]:
    return {
        "domain": "Physics",
        "problem": "How far?",
        "matched_solution": solution,
        "o1_solution": "",
        "qwq_solution": qwq,
        "is_qwq_solution_same_with_matched_solution": agrees[0],
        "is_o1_solution_same_with_matched_solution": agrees[1],
    }


def second_version(solution: str, response: str) -> dict[str, Any]:
    return {
        "domain": "Physics",
        "problem": "How far?",
        "extract_solution": solution,
        "r1_response": response,
        "r1_reasoning_content": "Hm.",
    }


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("B", "expression"),
        ("12", "number"),
        (r"9.8 \mathrm{~m} / \mathrm{s}^{2}", "number"),
        (r"3.0 \times 10^{8} \mathrm{~m} \mathrm{~s}^{-1}", "number"),
        (r"5 \mu \mathrm{F}", "number"),
        (r"939.6\ \mathrm{MeV}/c^2", "number"),
        (r"25^{\circ} \mathrm{C}", "number"),
        ("E", "expression"),
        ("-1.5e3", "number"),
        ("1,200 m/s", "number"),
        (r"3.0 \times 10^{8} \, \text{m/s}", "number"),
        (r"25\%", "number"),
        (r"\frac{1}{2}", "expression"),
        ("x + 1", "expression"),
        ("12 x + 4", "expression"),
        ("pi", "expression"),
    ],
)
def test_scp_answers_by_kind(answer: str, kind: str) -> None:
    assert row("scp-116k", first_version(rf"So \boxed{{{answer}}}.")) == {"answer": answer, "kind": kind}


OPTIONS = "Which one?\n(A) iron\n(B) lead\n(C) tin"


@pytest.mark.parametrize("letter", ["C", "(C)", r"\text{C}", r"\text{(C)}", "C."])
def test_scp_letters_of_lettered_options_are_choices(letter: str) -> None:
    record = {**first_version(rf"\boxed{{{letter}}}"), "problem": OPTIONS}
    choices = {"A": "iron", "B": "lead", "C": "tin"}
    assert row("scp-116k", record) == {"answer": "C", "kind": "choice", "choices": choices}


@pytest.mark.parametrize(
    ("problem", "kind"),
    [
        ("Which one: (A) iron (B) lead (C) tin?", "choice"),
        ("Which one? A. iron B. lead C. tin", "choice"),
        ("What is the symbol of capacitance? (A and B are plates.)", "expression"),
        ("Which one? (A) iron (B) lead", "expression"),
        ("Which one? (C) tin (D) zinc", "expression"),
    ],
)
def test_scp_a_letter_is_a_choice_only_among_lettered_options(problem: str, kind: str) -> None:
    assert row("scp-116k", {**first_version(r"\boxed{C}"), "problem": problem})["kind"] == kind


def test_scp_takes_a_model_s_answer_that_the_solution_states() -> None:
    record = second_version("Hence the distance is 5.2 m.", r"<think>\boxed{1}</think> \boxed{5.2\,\text{m}}")
    assert row("scp-116k", record) == {"answer": r"5.2\,\text{m}", "kind": "number"}


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (first_version(r"\boxed{1}", agrees=(False, False)), "no model agrees with the solution"),
        (first_version(r"(a) \boxed{2 m} and (b) \boxed{3 m}"), "the solution has several answers"),
        (first_version(r"\boxed{5 \mathrm{~smoots}}"), "a unit that the verifier cannot read"),
        (first_version(r"\boxed{5 smoots}"), "a unit that the verifier cannot read"),
        (first_version("no box at all"), "no short answer"),
        (first_version(""), "no solution"),
        (first_version(r"\boxed{1}", qwq=r"\boxed{2}"), "the models' answers differ from the solution's"),
        (second_version("The distance is 15 m.", r"\boxed{5}"), "no short answer"),
        (second_version("The distance is 2.5 m.", r"\boxed{5}"), "no short answer"),
        (first_version(r"\boxed{it depends on the medium}"), "the answer is a text"),
        ({**first_version(r"\boxed{1}"), "problem": None}, "no problem"),
    ],
)
def test_scp_records_that_are_left_out(record: dict[str, Any], why: str) -> None:
    assert reason("scp-116k", record) == why


def test_scp_agreement_of_one_model_is_enough() -> None:
    assert row("scp-116k", first_version(r"\boxed{1}", agrees=(False, True)))["answer"] == "1"


@pytest.mark.parametrize(
    ("text", "box"),
    [
        (r"\boxed{1} then \boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\{1\}}", r"\{1\}"),
        (r"\boxed{1} and \boxed{2", "1"),
        ("none", ""),
    ],
)
def test_the_last_balanced_box_counts(text: str, box: str) -> None:
    assert last_box(text) == box


# Llama-Nemotron and IFEval


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"num_words": 20.0, "relation": "at least"}, {"num_words": 20, "relation": "at least"}),
        ({"language": "zh-CN"}, {"language": "zh"}),
        ({"language": "pt_BR"}, {"language": "pt"}),
        ({"keywords": ["sun"], "num_words": math.nan, "relation": None}, {"keywords": ["sun"]}),
        (math.nan, {}),
        (None, {}),
    ],
)
def test_arguments_are_written_as_the_instruction_means_them(given: Any, meant: dict[str, Any]) -> None:
    record = {"prompt": "Write.", "instruction_id_list": ["a:b"], "kwargs": [given]}
    converted = IMPORTERS["llama-nemotron-if"].convert(record)
    assert isinstance(converted, Imported)
    assert converted.row["instructions"] == [{"id": "a:b", "arguments": meant}]


def test_nemotron_instructions_without_null_arguments() -> None:
    record = {
        "input": [{"role": "user", "content": "Write."}],
        "args": {
            "instruction_id_list": ["keywords:existence", "punctuation:no_comma"],
            "instruction_kwargs": [{"keywords": ["sun"], "num_words": None}, None],
        },
        "system_prompt": "detailed thinking off",
    }
    assert row("llama-nemotron-if", record) == {
        "instructions": [
            {"id": "keywords:existence", "arguments": {"keywords": ["sun"]}},
            {"id": "punctuation:no_comma", "arguments": {}},
        ]
    }
    made = convert("llama-nemotron-if", record)
    assert isinstance(made, Imported)
    assert (made.prompt, made.notes) == ("Write.", ("system message left out",))


def test_ifeval_s_own_form() -> None:
    record = {"key": 1, "prompt": "Write.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
    assert row("llama-nemotron-if", record)["instructions"] == [{"id": "punctuation:no_comma", "arguments": {}}]


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ({"prompt": "x"}, "no instructions"),
        (
            {"prompt": "x", "instruction_id_list": ["a:b"], "kwargs": []},
            "not one set of arguments for every instruction",
        ),
        (
            {"prompt": "x", "instruction_id_list": ["a:b"], "kwargs": [3]},
            "arguments of an instruction are not an object",
        ),
        ({"instruction_id_list": ["a:b"], "kwargs": [{}]}, "no prompt that ends with a user's message"),
    ],
)
def test_instruction_records_that_are_left_out(record: dict[str, Any], why: str) -> None:
    assert reason("llama-nemotron-if", record) == why


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("problem", "answer", "ability", "prompt", "reward_model", "input", "args", "instruction_id_list", "kwargs",
          "matched_solution", "r1_response", "is_o1_solution_same_with_matched_solution", "question", "Question",
          "final_answer", "unit", "modality", "image_1", "Correct Answer", "entry_point", "test", "metadata", "task",
          "question_content", "public_test_cases", "private_test_cases", "starter_code")  # fmt: skip


@pytest.mark.parametrize("name", IMPORTERS)
@given(record=st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_no_record_makes_an_importer_fail(name: str, record: dict[str, Any]) -> None:
    assert isinstance(convert(name, record), Imported | Skipped)


# The command


def prorl(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def deepscaler_file(folder: Path, suffix: str) -> Path:
    records: list[Any] = [{"problem": "a", "answer": "1"}, {"problem": "b"}, 3, {"problem": "c", "answer": "9" * 5000}]
    path = folder / f"source{suffix}"
    if suffix.endswith(".json"):
        text = json.dumps(records if suffix == ".json" else {"version": 1, "data": records})
    else:
        text = "".join(json.dumps(record) + "\n" for record in records)
    path.write_bytes(gzip.compress(text.encode()) if suffix.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize("suffix", [".json", "-data.json", ".jsonl", ".ndjson", ".jsonl.gz"])
def test_an_import_writes_rows_with_ids_and_counts_what_it_leaves_out(tmp_path: Path, suffix: str) -> None:
    output = tmp_path / "rows.jsonl"
    result = prorl("data", "import", "deepscaler", deepscaler_file(tmp_path, suffix), "--output", output)
    assert result.exit_code == 0, result.output
    assert [json.loads(line) for line in output.read_text().splitlines()] == [
        {"id": "deepscaler/0", "prompt": "a", "row": {"answer": "1"}}
    ]
    assert "1 of 4 records written" in result.output
    assert "1  left out: no answer" in result.output
    assert "1  left out: not a JSON object" in result.output
    assert "1  left out: does not fit the row model: row.answer: " in result.output


def test_an_output_that_exists_is_replaced_only_on_request(tmp_path: Path) -> None:
    source, output = deepscaler_file(tmp_path, ".json"), tmp_path / "rows.jsonl"
    output.write_text("mine")
    result = prorl("data", "import", "deepscaler", source, "--output", output)
    assert (result.exit_code, output.read_text()) == (64, "mine")
    assert prorl("data", "import", "deepscaler", source, "--output", output, "--force").exit_code == 0
    assert output.read_text() != "mine"


@pytest.mark.parametrize(
    ("name", "source", "content", "message"),
    [
        ("no-such-set", "a.json", "[]", "one of deepscaler, eurus-2-code"),
        ("deepscaler", "a.tsv", "", "got suffix '.tsv'; one of .jsonl"),
        ("deepscaler", "a.csv", "problem,answer\nx\n", "got 1 not a JSON object; at least one record"),
        ("deepscaler", "a.json", "{", "one JSON array of objects"),
        ("deepscaler", "a.json", "{}", "one JSON array of objects"),
        ("deepscaler", "a.json", "[]", "got no records; at least one record"),
        ("deepscaler", "a.jsonl", '{"problem": "x"}', "got 1 no answer; at least one record"),
        ("deepscaler", "none.jsonl", None, "readable file"),
    ],
)
def test_an_import_that_cannot_work_says_why_and_leaves_nothing(
    tmp_path: Path, name: str, source: str, content: str | None, message: str
) -> None:
    if content is not None:
        (tmp_path / source).write_text(content)
    result = prorl("data", "import", name, tmp_path / source, "--output", tmp_path / "out.jsonl")
    assert result.exit_code == 64
    assert message in " ".join(result.output.split())
    assert {path.name for path in tmp_path.iterdir()} <= {source}


def test_a_parquet_file_without_pyarrow_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    result = prorl("data", "import", "deepscaler", tmp_path / "a.parquet", "--output", tmp_path / "out.jsonl")
    assert result.exit_code == 64
    assert "the package pyarrow" in result.output


def test_parquet_records_are_those_of_json_lines(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
    record = eurus({"inputs": ["2\n"], "outputs": ["4\n"]})
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist([record] * 600), tmp_path / "a.parquet")
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for _ in range(600)))
    for suffix in (".parquet", ".jsonl"):
        output = tmp_path / f"from{suffix}.jsonl"
        result = prorl("data", "import", "eurus-2-code", tmp_path / f"a{suffix}", "--output", output)
        assert "600 of 600 records" in result.output
    assert (tmp_path / "from.parquet.jsonl").read_text() == (tmp_path / "from.jsonl.jsonl").read_text()


def test_a_broken_parquet_file_is_a_clear_error(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    result = prorl("data", "import", "deepscaler", tmp_path / "a.parquet", "--output", tmp_path / "out.jsonl")
    assert result.exit_code == 64
    assert "a Parquet file" in result.output


def test_the_sets_are_listed() -> None:
    output = prorl("data", "sets").output
    assert [line.split()[:2] for line in output.splitlines()] == [
        ["deepscaler", "math"],
        ["eurus-2-code", "code"],
        ["scp-116k", "stem"],
        ["llama-nemotron-if", "instruction-following"],
        ["question-answer", "math"],
        ["question-row", "custom"],
        *([importer.name, importer.domain.value] for importer in EVALUATION_SETS),
    ]


@pytest.mark.parametrize(
    ("outputs", "checker"),
    [
        (["1", "2"], None),
        (["0.5", "2"], {"kind": "numbers"}),
        (["1.50000e-3"], {"kind": "numbers"}),
        (["v1.2.3"], None),
    ],
)
def test_eurus_outputs_with_decimals_are_compared_as_numbers(
    outputs: list[str], checker: dict[str, str] | None
) -> None:
    made = row("eurus-2-code", eurus({"inputs": [""] * len(outputs), "outputs": outputs}))
    assert made.get("checker") == checker
    assert made["preamble"] is True


@pytest.mark.parametrize(
    ("problem", "is_noted"),
    [
        ("If there are multiple answers, print any of them.", True),
        ("Output any valid solution.", True),
        ("You may return the pairs in any order.", True),
        ("Print the number of companies.", False),
        ("Find the largest number among many.", False),
    ],
)
def test_eurus_problems_that_accept_any_of_several_outputs_are_noted(problem: str, is_noted: bool) -> None:
    record = eurus({"inputs": [""], "outputs": ["1"]})
    record["prompt"] = [{"role": "user", "content": problem}]
    converted = IMPORTERS["eurus-2-code"].convert(record)
    assert isinstance(converted, Imported)
    assert any("any of several" in note for note in converted.notes) == is_noted
