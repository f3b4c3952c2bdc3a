"""`prorl data check` with the real reward sandbox: rows whose own answers are not judged right are found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psutil

NO_CHANGES: Mapping[str, str] = MappingProxyType({})


def check(
    folder: Path,
    domain: str,
    *rows: dict[str, Any],
    options: tuple[str, ...] = (),
    environment: Mapping[str, str] = NO_CHANGES,
) -> tuple[int, dict[str, Any]]:
    """Exit code and report of a check of one file with these rows, by the command itself."""
    path, report = folder / "rows.jsonl", folder / "report.json"
    path.write_text("".join(json.dumps({"prompt": f"prompt {n}", "row": row}) + "\n" for n, row in enumerate(rows)))
    command: list[str | Path] = ["-m", "prorl_cli", "data", "check", path, "--domain", domain, "--report", report]
    done = subprocess.run(
        [sys.executable, *command, *options],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, **environment},
        check=False,
    )
    assert report.exists(), done.stderr
    return done.returncode, json.loads(report.read_text())


def faults(report: dict[str, Any]) -> dict[int, str]:
    """By line number."""
    assert {finding["kind"] for finding in report["findings"]} <= {"judge"}
    return {int(finding["where"].rsplit(":", 1)[1]): finding["message"] for finding in report["findings"]}


def test_expected_answers_that_verify_are_no_faults_and_others_are(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"answer": r"\frac{1}{2}"}, {"answer": 7}, {"answer": ["x^2-1", "(x-1)(x+1)"]}]
    rows *= 40
    rows[50] = {"answer": r"\frac{1}{0}"}
    rows[90] = {"answer": ["3", "nan"]}
    code, report = check(tmp_path, "math", *rows)
    assert code == 1
    found = faults(report)
    assert set(found) == {51, 91}
    assert all(message.startswith("cannot be judged") for message in found.values())
    assert report["files"][0]["judgedRows"] == 120


def test_logic_rows_are_checked_with_the_library_s_answer(tmp_path: Path) -> None:
    def row(task: str, answer: str | None) -> dict[str, Any]:
        return {
            "task": task,
            "entry": {"question": "State the final answer: 2 + 3 =", "answer": answer, "metadata": {}},
        }

    code, report = check(tmp_path, "logic", row("chain_sum", "5"), row("no_such_task", "5"))
    assert code == 1
    assert list(faults(report)) == [2]


def test_only_the_wanted_share_of_rows_is_judged_and_always_the_same(tmp_path: Path) -> None:
    rows = [{"answer": number} for number in range(200)]
    reports = [check(tmp_path, "math", *rows, options=("--verify-share", "0.3"))[1] for _ in range(2)]
    judged = [report["files"][0]["judgedRows"] for report in reports]
    # 60 expected; five standard deviations are 32.
    assert 28 < judged[0] < 92
    assert judged[0] == judged[1]


def test_nothing_is_left_of_the_sandbox_after_the_check(tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    check(tmp_path, "math", {"answer": "1"}, environment={"TMPDIR": str(temporary)})
    assert list(temporary.iterdir()) == []
    assert [process for process in psutil.process_iter() if _temporary_folder(process) == str(temporary)] == []


def _temporary_folder(process: psutil.Process) -> str:
    """By which the sandbox, which inherits the variable, can be told from others on the machine."""
    try:
        return process.environ().get("TMPDIR", "")
    except psutil.Error:
        return ""


KILLED_MIDWAY = """
import asyncio, os, signal, psutil
from prorl_api.spec.values import Domain
from prorl_cli.data.gold import probes_of
from prorl_cli.data.judge import Judging, local_judge

async def main():
    async with local_judge(1) as judge:
        judging = Judging(judge, in_flight=2)
        await judging.submit(probes_of(Domain.MATH, {"answer": 1}, "rows.jsonl:1").probes[:1], 1)
        assert [result.verdict.value for _, result in await judging.finish()] == ["correct"]
        for child in psutil.Process().children():
            os.kill(child.pid, signal.SIGKILL)
        await judging.submit(probes_of(Domain.MATH, {"answer": 1}, "rows.jsonl:1").probes[:1], 1)
        await judging.finish()

asyncio.run(main())
"""


def test_a_judge_that_ends_before_the_check_is_an_error_of_its_own(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED_MIDWAY], capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 1
    assert "JudgeError: the reward sandbox ended during the check; its log ends:" in done.stderr


STDIO = [{"type": "stdio", "stdin": "2\n", "expected_stdout": "4\n"}, {"stdin": "5\n", "expected_stdout": "10\n"}]
NEEDS_INSTANCES = {"type": "asserts", "functions": ["Box"], "source": "assert Box(1).value == 1"}


def test_solutions_must_pass_every_test_and_tests_must_be_supported(tmp_path: Path) -> None:
    call = {"type": "call", "function": "add", "arguments": [1, 2], "expected": 3}
    other = {"type": "call", "function": "add", "arguments": [2, 2], "expected": 4}
    code, report = check(
        tmp_path,
        "code",
        {"tests": STDIO, "solution": "print(2 * int(input()))"},
        {"tests": STDIO, "solution": "print(4)"},
        {"tests": [call, other], "solution": "def add(a, b):\n    return a + b"},
        {"tests": [call, other]},
        {"tests": [NEEDS_INSTANCES]},
        {"tests": [call, NEEDS_INSTANCES], "reward": "all"},
        {"tests": STDIO, "language": "cobol"},
    )
    assert code == 1
    found = faults(report)
    assert set(found) == {2, 5, 6, 7}
    assert found[2].startswith("the solution is judged `partial` with reward 0.5")
    assert all(found[line].startswith("cannot be judged") for line in (5, 6, 7))
    figures = report["files"][0]
    assert (figures["judgedRows"], figures["unprovenRows"]) == (7, 4)


def test_a_row_that_a_lazy_program_wins_is_a_fault(tmp_path: Path) -> None:
    call = {"type": "call", "function": "f", "arguments": [1]}
    code, report = check(
        tmp_path,
        "code",
        {"tests": [{"stdin": "1", "expected_stdout": ""}, {"stdin": "2", "expected_stdout": ""}]},
        {"tests": [{"stdin": "1\n", "expected_stdout": "1"}, {"stdin": "2\n", "expected_stdout": "2"}]},
        {"tests": [{"stdin": "1", "expected_stdout": "YES"}, {"stdin": "2", "expected_stdout": "YES"}]},
        {"tests": [{**call, "expected": None}, {**call, "arguments": [2], "expected": None}]},
        {"tests": [{**call, "expected": 1}, {**call, "arguments": [2], "expected": 2}]},
        {"tests": [{**call, "expected": [3]}, {**call, "arguments": [2], "expected": [3]}]},
        {"tests": STDIO, "language": "cpp"},
        {"tests": [{"stdin": "1", "expected_stdout": "YES"}] * 2, "language": "cpp"},
    )
    assert code == 1
    found = {(int(each["where"].rsplit(":", 1)[1]), each["message"].split(" wins")[0]) for each in report["findings"]}
    assert {line for line, _ in found} == {1, 2, 3, 4, 5, 6, 8}
    assert any("no test expects any output" in message for line, message in found if line == 1)
    assert found >= {
        (2, "a program that repeats its input"),
        (3, "a program that always prints the first test's output"),
        (4, "a function that returns nothing"),
        (5, "a function that returns its first argument"),
        (6, "a function that always returns the first test's result"),
        (8, "a program that always prints the first test's output"),
    }


def test_rows_are_judged_by_a_function_of_one_s_own(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "def score(completion, row):\n    return float(completion == row['solution'] or row['open'] / 2)\n"
    )
    reward = ("--reward", f"{tmp_path / 'own'}:score")
    rows: list[dict[str, Any]] = [
        {"solution": "yes", "open": 0},
        {"solution": "no", "open": "x"},
        {"solution": "yes"},
        {"open": 1},
    ]
    code, report = check(tmp_path, "custom", *rows, options=reward)
    assert code == 1
    assert set(faults(report)) == {4}, "a row that makes the function fail"
    assert "raised KeyError: 'solution'" in faults(report)[4]


def test_the_example_of_own_data_and_reward_verifies() -> None:
    examples = Path(__file__).resolve().parents[2] / "examples" / "own"
    command = ["data", "check", str(examples / "sentences.jsonl"), "--domain", "custom", "--no-near"]
    done = subprocess.run(
        [sys.executable, "-m", "prorl_cli", *command, "--reward", f"{examples / 'rewards'}:score"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_reward_belongs_to_domain_custom(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "1 + 1?", "row": {"answer": 2}}\n')
    for options in (["--domain", "custom"], ["--domain", "math", "--reward", "own:score"]):
        done = subprocess.run(
            [sys.executable, "-m", "prorl_cli", "data", "check", str(path), *options],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 64
        assert "--reward" in done.stderr
