"""`prorl init`: what it writes is valid, in the data's form, and fits the model and the machine."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from prorl_api.data_lines import GoodLine, judge_line
from prorl_api.jsonl import raw_lines
from prorl_api.manifest import read_job
from prorl_cli.data.importers.base import Imported
from prorl_cli.data.importers.question_answer import convert
from prorl_cli.local.job import load_local_job
from prorl_cli.main import app
from prorl_cli.starting.kinds import STARTS, Kind
from prorl_cli.starting.samples import programs
from tests.model_folder import write_model_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = write_model_files(tmp_path / "model", max_position_embeddings=4096)
    (model / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    return tmp_path


def init(folder: Path, kind: str, *options: object, output: str = "first.yaml") -> Result:
    arguments = ["init", kind, "--model", folder / "model", "--output", folder / output, *options]
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize("gpus", ["", "0"], ids=["without a GPU", "with a GPU"])
@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_is_a_valid_job_with_rows_of_its_domain(
    folder: Path, kind: Kind, gpus: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prorl_cli.starting.writing.find_gpus", lambda _: tuple(gpus))
    result = init(folder, kind)
    assert result.exit_code == 0, result.output
    spec = load_local_job(folder / "first.yaml", None).effective.spec
    (source,) = spec.data.sources
    lines = [judge_line(raw, str(raw.number), source.domain) for raw in raw_lines(folder / "first.jsonl")]
    assert all(isinstance(line, GoodLine) for line in lines)
    assert 0 < source.held_out < len(lines)
    assert source.prompt.chat
    assert "{question}" in source.prompt.template
    comments = [line.index(" # ") for line in (folder / "first.yaml").read_text().splitlines()[2:] if "  # " in line]
    assert len(comments) > 15, "fields are explained"
    assert (spec.rollout.dtype == "bfloat16") == bool(gpus)


def test_every_kind_of_data_is_of_a_domain_of_its_own() -> None:
    assert {start.domain.value for start in STARTS.values()} == {"math", "code", "instruction-following", "custom"}


def test_nothing_that_exists_is_replaced_unasked(folder: Path) -> None:
    assert init(folder, "math").exit_code == 0
    (folder / "first.jsonl").write_text("mine")
    refused = init(folder, "math")
    assert refused.exit_code == 64
    assert "--force" in refused.output
    assert (folder / "first.jsonl").read_text() == "mine"
    assert init(folder, "math", "--force").exit_code == 0


INTEGERS, OTHERS = ("70", -3), ("1/2", "70")


@pytest.mark.parametrize(
    ("has_template", "num_parameters", "answers", "form", "template", "tokens"),
    [
        (True, None, INTEGERS, "boxed", "{question}\nPut your final answer in \\boxed{}.", 96),
        (True, 1_500_000_000, INTEGERS, "boxed", "{question}\nPut your final answer in \\boxed{}.", 96),
        (True, 135_000_000, INTEGERS, "first-integer", "{question}", 14),
        (True, 135_000_000, OTHERS, "text", "{question}", 15),
        (False, 135_000_000, INTEGERS, "last-integer", "Question: {question}\nAnswer:", 26),
        (False, 135_000_000, OTHERS, "text", "Question: {question}\nAnswer:", 15),
        (False, 700_000, ("7" * 19,), "text", "Question: {question}\nAnswer:", 31),
        (False, 700_000, ("x" * 200,), "text", "Question: {question}\nAnswer:", 96),
        (False, 1_500_000_000, INTEGERS, "text", None, 96),
        (False, None, INTEGERS, "text", None, 96),
    ],
)
def test_a_model_is_asked_by_what_its_folder_and_the_answers_show(
    folder: Path,
    has_template: bool,
    num_parameters: int | None,
    answers: tuple[str | int, ...],
    form: str,
    template: str | None,
    tokens: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("prorl_cli.starting.asking.num_parameters", lambda _: num_parameters)
    monkeypatch.setattr("prorl_cli.starting.writing.find_gpus", lambda _: ())
    if not has_template:
        (folder / "model" / "tokenizer_config.json").write_text("{}")
    own = folder / "qa.jsonl"
    own.write_text("".join(json.dumps({"question": "How much?", "answer": answer}) + "\n" for answer in answers))
    result = init(folder, "math", "--data", own)
    assert result.exit_code == 0, result.output
    spec = read_job(folder / "first.yaml").spec
    (source,) = spec.data.sources
    assert (source.answer_format, source.prompt.chat) == (form, has_template)
    assert template in (None, source.prompt.template)
    assert ("boxed" in source.prompt.template) == (form == "boxed")
    assert source.prompt.template.endswith("\nAnswer:") == (not has_template)
    assert spec.rollout.max_completion_tokens == tokens
    ends = "\n" if form == "last-integer" else "\nQuestion:"
    assert spec.rollout.stop == (() if has_template else (ends,))


@pytest.mark.parametrize(
    ("has_template", "num_parameters", "answers", "said"),
    [
        (True, 135_000_000, ("4 apples", "-12 km"), "(all, as '4 apples')"),
        (True, 135_000_000, ("4 apples", 3), "(1 of 2, as '4 apples')"),
        (
            False,
            135_000_000,
            ("3", "5 square meters."),
            "write '5' in the data, and `prorl init` chooses `answerFormat: last-",
        ),
        (True, 135_000_000, INTEGERS, None),
        (True, 135_000_000, ("4 apples", "1/2"), None),
        (True, 135_000_000, ("4.5 km",), None),
        (True, 135_000_000, ("4 x^2",), None),
        (True, 135_000_000, ("four apples",), None),
        (True, 1_500_000_000, ("4 apples",), None),  # writes it in a box
    ],
)
def test_answers_that_are_integers_with_a_unit_are_told(
    folder: Path,
    has_template: bool,
    num_parameters: int,
    answers: tuple[str | int, ...],
    said: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("prorl_cli.starting.asking.num_parameters", lambda _: num_parameters)
    if not has_template:
        (folder / "model" / "tokenizer_config.json").write_text("{}")
    own = folder / "qa.jsonl"
    own.write_text("".join(json.dumps({"question": "How much?", "answer": answer}) + "\n" for answer in answers))
    output = " ".join(init(folder, "math", "--data", own).output.split())
    assert ("notice: answers: got an integer with a unit" in output) == (said is not None)
    assert said is None or said in output


@pytest.mark.parametrize(("rows", "named"), [(6, ["heldOut", "promptsPerStep"]), (50, ["heldOut"]), (100, []), (0, [])])
def test_few_rows_of_ones_own_are_told(
    folder: Path, rows: int, named: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prorl_cli.starting.writing.find_gpus", lambda _: ())
    own = folder / "qa.jsonl"
    own.write_text("".join(json.dumps({"question": f"{n} + 1?", "answer": n + 1}) + "\n" for n in range(rows)))
    result = init(folder, "math", *(("--data", own) if rows else ()))
    assert result.exit_code == 0, result.output
    told = [line.split(":")[1].rpartition(".")[2] for line in result.output.splitlines() if line.startswith("notice:")]
    assert told == named


@pytest.mark.parametrize(
    ("num_parameters", "on_cpu", "on_gpu"),
    [
        (None, 1e-5, 2e-6),
        (700_000, 1e-4, 1e-4),
        (135_000_000, 1e-5, 1e-5),
        (1_500_000_000, 2e-6, 2e-6),
    ],
)
def test_small_models_learn_with_larger_steps(
    folder: Path, num_parameters: int | None, on_cpu: float, on_gpu: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prorl_cli.starting.asking.num_parameters", lambda _: num_parameters)
    for gpus, expected in (((), on_cpu), (("0",), on_gpu)):
        monkeypatch.setattr("prorl_cli.starting.writing.find_gpus", lambda _, found=gpus: found)
        assert init(folder, "math", "--force").exit_code == 0
        assert read_job(folder / "first.yaml").spec.learner.optimizer.learning_rate == expected


@pytest.mark.parametrize("room", [2, 64, 300])
def test_prompt_and_completion_fit_into_the_model(folder: Path, room: int) -> None:
    write_model_files(folder / "model", max_position_embeddings=room)
    init(folder, "math")
    rollout = read_job(folder / "first.yaml").spec.rollout
    assert rollout.max_prompt_tokens + rollout.max_completion_tokens <= room


def test_own_questions_with_answers_are_brought_into_form(folder: Path) -> None:
    own = folder / "qa.jsonl"
    own.write_text("".join(json.dumps({"question": f"{n} + 1?", "answer": str(n + 1)}) + "\n" for n in range(20)))
    result = init(folder, "math", "--data", own)
    assert result.exit_code == 0, result.output
    (source,) = read_job(folder / "first.yaml").spec.data.sources
    assert source.jsonl == "./first.jsonl"
    first = json.loads((folder / "first.jsonl").read_text().splitlines()[0])
    assert (first["prompt"], first["row"]) == ("0 + 1?", {"answer": "1"})
    assert json.loads(own.read_text().splitlines()[0]) == {"question": "0 + 1?", "answer": "1"}, "it stays as it was"


def test_data_in_form_is_taken_as_it_is(folder: Path) -> None:
    own = folder / "rows.jsonl"
    own.write_text('{"prompt": "1 + 1?", "row": {"answer": 2}}\n' * 7)
    assert init(folder, "math", "--data", own).exit_code == 0
    (source,) = read_job(folder / "first.yaml").spec.data.sources
    assert (source.jsonl, source.held_out) == ("./rows.jsonl", 1)
    assert not (folder / "first.jsonl").exists()


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ("", "own.jsonl: got no line"),
        ("not json\n", "own.jsonl:1: got no JSON from column 1 on"),
        ("\n\n{'question': 1}\n", "own.jsonl:3: got no JSON from column 2 on"),
        ('"text"\n', "own.jsonl:1: got str"),
    ],
)
def test_data_that_is_none_is_named(folder: Path, content: str, where: str) -> None:
    (folder / "own.jsonl").write_text(content)
    result = init(folder, "math", "--data", folder / "own.jsonl")
    assert result.exit_code == 64
    assert where in " ".join(result.output.split())
    assert "got got" not in result.output
    assert not (folder / "first.yaml").exists()


@pytest.mark.parametrize(
    ("record", "row"),
    [
        ({"question": "1 + 1?", "answer": "2"}, {"answer": "2"}),
        ({"problem": "1 + 1?", "solution": r"So \boxed{2}."}, {"answer": "2"}),
        ({"question": "1 + 1?", "answer": "We add.\n#### 2"}, {"answer": "2"}),
        ({"instruction": "1 + 1?", "output": 2}, {"answer": 2}),
        ({"question": "1 + 1?", "answer": True, "target": "2"}, {"answer": "2"}),
        ({"question": "1 + 1?", "answer": "####"}, None),
        ({"question": "1 + 1?"}, None),
        ({"answer": "2"}, None),
    ],
)
def test_usual_names_of_questions_and_answers(record: dict[str, object], row: dict[str, object] | None) -> None:
    found = convert(record)
    assert (found.row if isinstance(found, Imported) else None) == row


def test_sample_programs_pass_their_own_tests() -> None:
    for line in programs():
        space: dict[str, object] = {}
        exec(line["row"]["solution"], space)
        for test in line["row"]["tests"]:
            assert space["f"](*test["arguments"]) == test["expected"]  # type: ignore[operator]


def test_the_sample_reward_pays_its_solutions(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert init(folder, "own").exit_code == 0
    monkeypatch.syspath_prepend(folder)
    first_reward = importlib.import_module("first_reward")
    try:
        for raw in raw_lines(folder / "first.jsonl"):
            row = json.loads(raw.content)["row"]
            assert first_reward.score(row["solution"], row) == 1.0
            assert first_reward.score("", row) == 0.0
    finally:
        del sys.modules["first_reward"]


def test_the_next_commands_can_be_copied_whatever_the_path_is(folder: Path) -> None:
    result = init(folder, "math", output="my first job.yaml")
    said = result.output.replace("\n", " ")
    for named in ("data check --manifest", "validate", "run"):
        assert f"prorl {named} '{folder}/my first job.yaml'" in said
    assert read_job(folder / "my first job.yaml").metadata.name == "my-first-job"


def test_a_file_of_ones_own_is_never_replaced_by_its_converted_rows(folder: Path) -> None:
    own = folder / "questions.jsonl"
    own.write_text('{"question": "1 + 1?", "answer": "2", "note": "kept"}\n')
    before = own.read_text()
    for force in ((), ("--force",)):
        done = init(folder, "math", "--data", own, *force, output="questions.yaml")
        assert done.exit_code == 64
        assert "which is your --data" in " ".join(done.output.split())
        assert own.read_text() == before
        assert not (folder / "questions.yaml").exists()


def test_records_of_ones_own_become_rows_that_the_written_reward_judges(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = folder / "qa.jsonl"
    own.write_text('{"question": "1 + 1?", "answer": 2, "hard": false}\n{"problem": "2 + 2?", "answer": "4"}\n')
    result = init(folder, "own", "--data", own)
    assert result.exit_code == 0, result.output
    lines = [json.loads(raw.content) for raw in raw_lines(folder / "first.jsonl")]
    assert lines[0]["row"] == {"question": "1 + 1?", "answer": 2, "hard": False}
    assert [line["prompt"] for line in lines] == ["1 + 1?", "2 + 2?"]
    space: dict[str, Any] = {}
    exec((folder / "first_reward.py").read_text(), space)
    assert [space["score"](text, lines[0]["row"]) for text in (" 2.", "2\nso", "12", "")] == [1.0, 1.0, 0.0, 0.0]


def test_a_reward_for_rows_without_an_answer_says_what_it_needs(folder: Path) -> None:
    own = folder / "rows.jsonl"
    own.write_text('{"prompt": "Write about \\"rain\\".", "row": {"must\\n": "rain"}}\n')
    assert init(folder, "own", "--data", own).exit_code == 0
    text = (folder / "first_reward.py").read_text()
    assert '"must\\n"' in text
    space: dict[str, Any] = {}
    exec(text, space)
    with pytest.raises(NotImplementedError, match="what a completion earns"):
        space["score"]("text", {})


@pytest.mark.parametrize(
    ("kind", "line", "said"),
    [
        ("code", {"question": "1 + 1?", "answer": "2"}, "with rows of code"),
        ("instructions", {"question": "1 + 1?", "answer": "2"}, "with rows of instructions"),
        ("own", {"text": "1 + 1?"}, "no question"),
        ("math", {"question": "1 + 1?"}, "no answer"),
        ("code", {"prompt": "double", "row": {"answer": "2"}}, "row.tests"),
        ("math", {"prompt": "1 + 1?", "row": {"question": "1"}}, "row.answer"),
    ],
)
def test_data_of_another_kind_is_refused_at_once(folder: Path, kind: str, line: dict[str, Any], said: str) -> None:
    own = folder / "own.jsonl"
    own.write_text(json.dumps(line) + "\n")
    result = init(folder, kind, "--data", own)
    assert result.exit_code == 64
    assert said in " ".join(result.output.split())
    assert not (folder / "first.yaml").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("own.csv", "question,answer\n1 + 1?,2\n"),
        ("own.json", '[{"question": "1 + 1?", "answer": "2"}]'),
        ("own.jsonl", '{"question": "1 + 1?", "answer": "2"}\n'),
    ],
)
def test_questions_are_read_in_the_usual_forms_of_files(folder: Path, name: str, content: str) -> None:
    (folder / name).write_text(content)
    result = init(folder, "math", "--data", folder / name)
    assert result.exit_code == 0, result.output
    assert json.loads((folder / "first.jsonl").read_text())["row"] == {"answer": "2"}


def test_records_that_are_left_out_are_counted(folder: Path) -> None:
    own = folder / "own.jsonl"
    lines = ['{"question": "why?"}\n'] * 13
    lines[1] = lines[3] = '{"question": "1 + 1?", "answer": "2"}\n'
    own.write_text("".join(lines))
    result = init(folder, "math", "--data", own)
    assert result.exit_code == 0
    said = " ".join(result.output.split())
    assert "2 of 13 records written" in said
    assert "11 left out: no answer" in said
    assert "records 1, 3, 5, 6, 7, 8, 9, 10, 11, 12, ..." in said
    assert said.count("next:") == 1, "the importer's own next step is not the newcomer's"


def test_records_of_unknown_names_are_told_with_the_file_and_the_names_that_it_has(folder: Path) -> None:
    own = folder / "own.jsonl"
    own.write_text('{"q": "1 + 1?", "a": "2"}\n' * 3)
    result = init(folder, "math", "--data", own)
    assert result.exit_code == 64
    said = " ".join(result.output.split())
    assert f"{own}: got 3 no question (question, problem," in said
    assert "(the first has q, a)" in said


def test_paths_in_a_manifest_do_not_lead_up_and_down_again(folder: Path) -> None:
    (folder / "work").mkdir()
    model = f"{folder}/work/../model"
    result = CliRunner().invoke(app, ["init", "math", "--model", model, "--output", str(folder / "work" / "job.yaml")])
    assert result.exit_code == 0, result.output
    assert read_job(folder / "work" / "job.yaml").spec.model.path == f"{folder}/model"


def test_a_model_folder_that_is_not_there_is_said_to_be_so(folder: Path) -> None:
    for name, said in (("nowhere", "which is not there"), ("model/config.json", "which is a file")):
        result = CliRunner().invoke(app, ["init", "math", "--model", str(folder / name)])
        assert result.exit_code == 64
        assert said in " ".join(result.output.split())
