"""`prorl data check` without a judge: what it finds, counts, prints, writes and how it exits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from prorl_cli.main import app

LONG = " ".join(f"word{number}" for number in range(60))
SIMILAR = LONG.replace("word30", "another")  # 51 of 61 runs of 5 words are shared


def prorl(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def write(folder: Path, *lines: Any, name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def line(prompt: str, answer: Any = 1) -> dict[str, Any]:
    return {"prompt": prompt, "row": {"answer": answer}}


def check(*arguments: object) -> Result:
    return prorl("data", "check", *arguments, "--domain", "math", "--verify-share", "0")


def reported(folder: Path, *arguments: object) -> dict[str, Any]:
    check(*arguments, "--report", folder / "report.json")
    found: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return found


def test_a_file_without_faults_exits_with_0(tmp_path: Path) -> None:
    result = check(write(tmp_path, line("a"), line("b")))
    assert result.exit_code == 0, result.output
    assert "0 faults, 0 warnings" in result.output


def test_what_many_lines_lack_is_said_once_with_the_importer_that_reads_them(tmp_path: Path) -> None:
    records = [{"question": f"{number} + 1?", "answer": str(number + 1)} for number in range(200)]
    path = write(tmp_path, *records, line("a"), {"prompt": "b", "row": {}}, name="my rows.jsonl")
    result = check(path, "--max-faults", "2")
    shown = " ".join(result.output.split())
    assert f"{path}, 200 of 202 lines: prompt: this field is required" in shown
    assert f"{path}, 200 of 202 lines: question: unknown field" in shown
    assert "`prorl data import question-answer` reads such lines" in shown
    assert f"{path}:1 " not in shown
    assert len(reported(tmp_path, path)["findings"]) == 50, "programs still get every line"


def test_an_importer_is_named_only_where_it_fits(tmp_path: Path) -> None:
    assert (
        "data import" not in check(write(tmp_path, {"prompt": "a", "row": {}, "question": "b", "answer": "c"})).output
    )
    assert "data import" not in check(write(tmp_path, {"text": "a"}, name="other.jsonl")).output


def test_every_kind_of_fault_is_named_with_its_line(tmp_path: Path) -> None:
    evaluation = write(tmp_path, {"problem": "held out"}, name="eval.jsonl")
    path = write(tmp_path, line("a"), line("A "), line("a", 2), "{", line("Held  out"), line(LONG), line(SIMILAR))
    found = reported(tmp_path, path, "--against", evaluation)
    assert [(finding["kind"], finding["severity"], finding["where"]) for finding in found["findings"]] == [
        ("schema", "fault", f"{path}:4"),
        ("contamination", "fault", f"{path}:5"),
        ("duplicate", "warning", f"{path}:2"),
        ("contradiction", "fault", f"{path}:3"),
        ("near-duplicate", "warning", f"{path}:7"),
    ]
    assert found["faults"] == 3
    for finding in found["findings"]:
        if finding["kind"] != "schema":
            assert f"line {finding['where'].rpartition(':')[2]}" in finding["message"], "what to do with it"


def test_faults_exit_with_1_and_warnings_with_0(tmp_path: Path) -> None:
    assert check(write(tmp_path, line("a"), line("a"))).exit_code == 0
    assert check(write(tmp_path, line("a"), line("a", 2))).exit_code == 1
    assert check(write(tmp_path, line(LONG), line(SIMILAR))).exit_code == 0


@pytest.mark.parametrize(
    ("lines", "verdict"),
    [
        ([line("a")], "0 faults, 0 warnings"),
        ([line("a"), line("a")], "0 faults, 1 warning"),
        ([line("a"), line("a")], ":1: delete line 2, unless it is meant to count twice"),
        ([line("a"), line("a", 2)], "1 fault, 0 warnings"),
        ([line("a"), line("a", 2)], ":1: keep one of them: delete the other line, or mend line 2"),
        ([line(LONG), line(SIMILAR)], ":1: delete line 2 if it asks the same, and leave both if it does not"),
        ([line("a"), line("a", 2)], "none stops a run, but its rewards or its measurements would be wrong"),
        ([line("a"), {"prompt": "b", "row": {}}], "1 fault would stop a run at its start"),
        (
            [line("a"), line("a"), {"prompt": "b", "row": {}}, {"prompt": "c", "row": {}}],
            "2 faults, 1 warning",
        ),
        ([line(f"{LONG} {number}") for number in range(12)], "and 6 more"),
    ],
)
def test_the_verdict_says_what_would_stop_a_run(tmp_path: Path, lines: list[Any], verdict: str) -> None:
    assert verdict in " ".join(check(write(tmp_path, *lines)).output.split())


def test_faults_stand_below_warnings_and_paths_are_whole(tmp_path: Path) -> None:
    path = write(tmp_path, line(LONG), line(SIMILAR), line("a"), line("a", 2), name=f"{'long' * 30}.jsonl")
    said = check(path).output
    assert said.index("near-duplicate warnings") < said.index("contradiction faults")
    assert str(path.name) in "".join(said.replace("│", " ").split())


def test_near_duplicates_are_looked_for_unless_told_otherwise(tmp_path: Path) -> None:
    path = write(tmp_path, line(LONG), line(SIMILAR))
    assert reported(tmp_path, path)["totals"]["near-duplicate"] == 1
    assert reported(tmp_path, path, "--no-near")["totals"]["near-duplicate"] == 0


def test_figures_are_of_each_file_and_repeats_are_found_across_files(tmp_path: Path) -> None:
    first = write(tmp_path, line("a"), "", "[]", name="first.jsonl")
    second = write(tmp_path, line("a"), name="second.jsonl")
    found = reported(tmp_path, first, second)
    assert [(file["lines"], file["goodLines"], file["judgedRows"]) for file in found["files"]] == [(2, 1, 0), (1, 1, 0)]
    assert [file["findings"]["schema"] for file in found["files"]] == [1, 0]
    assert [file["findings"]["duplicate"] for file in found["files"]] == [0, 1]
    assert found["findings"][-1]["message"].startswith(f"the same prompt and the same row as {first}:1: delete")


def test_figures_of_evaluation_files(tmp_path: Path) -> None:
    evaluation = write(tmp_path, {"problem": LONG}, {"problem": "short"}, name="eval.jsonl")
    found = reported(tmp_path, write(tmp_path, line(LONG), line("x " + SIMILAR), line("y")), "--against", evaluation)
    assert found["evaluation"] == [
        {
            "path": str(evaluation),
            "items": 2,
            "shortItems": 1,
            "touchedItems": 1,
            "touchingPrompts": 2,
            "equalPrompts": 1,
        }
    ]


def test_a_smaller_overlap_than_asked_for_is_no_fault(tmp_path: Path) -> None:
    evaluation = write(tmp_path, {"problem": LONG}, name="eval.jsonl")
    path = write(tmp_path, line(" ".join(LONG.split()[:36])))  # 24 of 48 runs of 13 words
    assert check(path, "--against", evaluation).exit_code == 1
    assert check(path, "--against", evaluation, "--min-share", "0.51").exit_code == 0


def test_at_most_so_many_of_each_kind_are_named_and_all_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path, *["[]"] * 5, *[line("a")] * 4)
    found = reported(tmp_path, path, "--max-faults", "2")
    assert [finding["where"] for finding in found["findings"]] == [f"{path}:{n}" for n in (1, 2, 7, 8)]
    assert found["leftOut"] == {"schema": 3, "duplicate": 1}
    assert found["faults"] == 5
    shown = check(path, "--max-faults", "2").output
    assert "5 of 9 lines" in shown
    assert "and 1 more" in shown


def test_files_that_cannot_be_read_are_all_named(tmp_path: Path) -> None:
    path = write(tmp_path, line("a"))
    result = check(path, path, tmp_path / "none.jsonl", tmp_path)
    assert result.exit_code == 64
    for part in ("the same file twice", "none.jsonl: got no such file", "got a folder"):
        assert part in result.output


def test_a_report_that_cannot_be_written_is_an_error_that_names_the_option(tmp_path: Path) -> None:
    result = check(write(tmp_path, line("a")), "--report", tmp_path / "none" / "report.json")
    assert result.exit_code == 68
    assert "choose another place with --report" in result.output


def test_an_unknown_domain_is_refused(tmp_path: Path) -> None:
    assert prorl("data", "check", write(tmp_path, line("a")), "--domain", "maths").exit_code == 2


@pytest.mark.parametrize("module", ["numpy", "httpx", "prorl_trainer", "rich.table"])
def test_the_commands_import_nothing_heavy_before_they_are_called(module: str) -> None:
    code = f"import sys, prorl_cli.main; assert {module!r} not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_memory_does_not_grow_with_the_files_content(tmp_path: Path) -> None:
    # 40 MB of long prompts: reading them whole, or keeping them, would take more than that.
    path = tmp_path / "rows.jsonl"
    with path.open("w") as file:
        for number in range(200):
            file.write(json.dumps(line(f"{number} " + "x" * 200_000)) + "\n")
    code = (
        "import resource, sys; from pathlib import Path; from prorl_api.spec.values import Domain\n"
        "from prorl_cli.data.check import CheckOptions, CheckRequest, check\n"
        "none = CheckOptions(verify_share=0)\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "def run(path): return check(CheckRequest(files=(Path(path),), domain=Domain.MATH, options=none))\n"
        "run(sys.argv[1]); before = peak(); report = run(sys.argv[2]); print(report.num_faults, peak() - before)"
    )
    small = write(tmp_path, line("x" * 200_000), name="small.jsonl")
    done = subprocess.run([sys.executable, "-c", code, small, path], check=True, capture_output=True, text=True)
    faults, grown = map(int, done.stdout.split())
    assert faults == 0
    assert grown < 20


def test_no_sandbox_is_started_where_no_row_can_be_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a file of the wrong form costs ten seconds of waiting for nothing."""
    started: list[int] = []
    monkeypatch.setattr("prorl_cli.data.check.local_judge", lambda workers, _: started.append(workers))
    result = prorl("data", "check", write(tmp_path, {"question": "1 + 1?", "answer": "2"}), "--domain", "math")
    assert result.exit_code == 1
    assert "question-answer" in result.output
    assert started == []
