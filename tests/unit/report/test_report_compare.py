"""The comparison of runs: what is paired with what, which settings differ, and what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from prorl_api.run_folder import RunFolder
from prorl_cli.main import app
from prorl_cli.report.compare import ComparedRun, compared, labels, paired_differences
from prorl_cli.report.compare_charts import MINUTES, comparison_sections, minutes
from prorl_cli.report.compare_page import write_comparison
from prorl_cli.report.compare_summary import print_comparison
from prorl_cli.report.loading import load

MakeRun = Callable[..., RunFolder]
HOSTILE = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> tuple[RunFolder, RunFolder]:
    """Two whole runs of the same job; nobody writes into them."""
    build = request.getfixturevalue("build_run_at")
    folder = tmp_path_factory.mktemp("runs")
    return build(folder / "a"), build(folder / "b", seed=1, last_step=16)


def small_run(
    path: Path, validations: dict[int, list[tuple[str, int, str, float]]], *, manifest: str = ""
) -> RunFolder:
    """A run whose validations hold `(source, index, prompt, reward)`."""
    run = RunFolder(path)
    run.samples.mkdir(parents=True)
    run.identity.write_text(json.dumps({"uid": path.name, "created": 100.0}))
    if manifest:
        run.manifest.write_text(manifest)
    lines = []
    for step, rows in validations.items():
        lines.append({"step": step, "attempt": 1, "time": 100.0 + 60 * step, "validation_accuracy": 0.5})
        samples = [
            {"step": step, "attempt": 1, "source": source, "index": index, "prompt": prompt, "reward": reward}
            for source, index, prompt, reward in rows
        ]
        (run.samples / f"validation-{step}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in samples))
    run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


def differences(first: RunFolder, second: RunFolder) -> list[tuple[Any, ...]]:
    return [
        (row.source, row.first_step, row.second_step, row.paired.n, round(row.paired.gain, 6), row.unlike)
        for row in compared([first, second]).differences
    ]


def test_only_items_with_the_very_same_prompt_are_paired(tmp_path: Path) -> None:
    # By hand: items 0 to 3 are shared; item 3 has another prompt. Of the other three one is won: +1/3.
    first = small_run(tmp_path / "a", {0: [("s", 0, "p0", 0), ("s", 1, "p1", 1), ("s", 2, "p2", 0), ("s", 3, "p3", 0)]})
    second = small_run(tmp_path / "b", {0: [("s", 0, "p0", 1), ("s", 1, "p1", 1), ("s", 2, "p2", 0), ("s", 3, "x", 1)]})
    assert differences(first, second) == [("s", 0, 0, 3, round(1 / 3, 6), 1)]


def test_the_interval_is_the_paired_one(tmp_path: Path) -> None:
    # Differences 1, 1, 0, -1: mean 0.25, standard deviation sqrt(2.75/3); t(3, 0.975) = 3.182446.
    before, after = (0, 0, 1, 1), (1, 1, 1, 0)
    runs = [
        small_run(tmp_path / name, {4: [("s", index, f"p{index}", reward) for index, reward in enumerate(rewards)]})
        for name, rewards in (("a", before), ("b", after))
    ]
    (row,) = compared(runs).differences
    half = 3.182446 * (2.75 / 3) ** 0.5 / 2
    assert row.paired.interval is not None
    assert row.paired.interval.low == pytest.approx(0.25 - half, abs=1e-5)
    assert row.paired.interval.high == pytest.approx(0.25 + half, abs=1e-5)


def test_last_validations_of_other_steps_are_told_apart_from_those_of_the_same_step(tmp_path: Path) -> None:
    def rows(reward: float) -> list[tuple[str, int, str, float]]:
        return [("s", 0, "p", reward), ("t", 0, "q", 0.0)]

    first = small_run(tmp_path / "a", {0: rows(0), 8: rows(0), 12: rows(1)})
    second = small_run(tmp_path / "b", {0: rows(0), 8: rows(1)})
    assert differences(first, second) == [
        ("all sources", 12, 8, 2, 0.0, 0),
        ("s", 12, 8, 1, 0.0, 0),
        ("t", 12, 8, 1, 0.0, 0),
        ("all sources", 8, 8, 2, 0.5, 0),
        ("s", 8, 8, 1, 1.0, 0),
        ("t", 8, 8, 1, 0.0, 0),
    ]


def test_runs_without_common_items_say_so(tmp_path: Path) -> None:
    first = small_run(tmp_path / "a", {0: [("s", 0, "p", 1)]})
    second = small_run(tmp_path / "b", {0: [("t", 0, "p", 1)]})
    comparison = compared([first, second])
    assert comparison.differences == ()
    assert "b and a have no held-out item in common." in comparison.notes


def test_settings_that_differ_are_named_by_their_path(two: tuple[RunFolder, RunFolder], tmp_path: Path) -> None:
    text = two[0].manifest.read_text()
    changed = (
        text.replace("learningRate: 0.00001", "learningRate: 0.00002")
        .replace("answerFormat: first-integer\n        weight: 0.5", "answerFormat: first-integer")
        .replace("      - {name: held-back, klSpike: {metric: klLossShare, above: 0.7, windowSteps: 3}}\n", "")
        .replace("metadata: {name: quickstart}", "metadata: {name: other}")
    )
    runs = [
        small_run(tmp_path / name, {0: [("s", 0, "p", 1)]}, manifest=manifest)
        for name, manifest in (("a", text), ("b", changed))
    ]
    rows = {row.path: row.values for row in compared(runs).settings}
    assert rows["spec.learner.optimizer.learningRate"] == ("1e-05", "2e-05")
    assert rows["spec.data.sources[products].weight"] == ("0.5", "1.0")
    assert rows["spec.referenceReset.triggers[held-back].klSpike.above"] == ("0.7", "–")
    assert not any(re.search("name|seed|domain", path) for path in rows)
    assert compared(list(two)).settings == ()


def test_labels_tell_all_runs_apart(two: tuple[RunFolder, RunFolder], tmp_path: Path) -> None:
    assert labels([load(run) for run in two]) == ["a", "b"]
    folders = [tmp_path / "x" / "run", tmp_path / "y" / "run"]
    runs = [small_run(path, {0: []}) for path in folders]
    assert labels([load(run) for run in runs]) == ["x/run", "y/run"]


def test_wall_time_counts_from_the_beginning_or_by_the_steps_own_seconds(tmp_path: Path) -> None:
    run = small_run(tmp_path / "a", {0: [], 3: []})
    assert minutes(load(run)) == {0: 0.0, 3: 3.0}
    lines = [{"step": step, "attempt": 1, "seconds_total": 30.0} for step in (1, 2, 3)]
    run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert minutes(load(run)) == {1: 0.5, 2: 1.0, 3: 1.5}


def test_every_run_has_a_curve_over_steps_and_over_time(two: tuple[RunFolder, RunFolder]) -> None:
    import plotly.graph_objects as go

    comparison = compared(list(two))
    axes = []
    for section in comparison_sections(comparison.runs):
        for chart in section.charts:
            assert chart.figure is not None
            go.Figure(chart.figure)
            assert [key.name for key in chart.legend] == ["a", "b"]
            axes.append(chart.figure["layout"]["xaxis"]["title"]["text"])
    assert axes.count(MINUTES) == 2
    assert axes.count("step") == 9


def test_the_page_and_the_tables_show_everything(two: tuple[RunFolder, RunFolder], tmp_path: Path) -> None:
    comparison = compared(list(two))
    page = write_comparison(comparison, tmp_path / "comparison.html").read_text()
    output = StringIO()
    print_comparison(comparison, Console(file=output, width=160))
    for row in comparison.differences:
        for shown in (f"{row.paired.before:.3f}", f"{row.paired.after:.3f}", str(row.paired.n)):
            assert shown in page
            assert shown in output.getvalue()
    assert "24 and 16" in output.getvalue()
    assert "quickstart-reset-2" in page


def test_hostile_texts_stay_texts(two: tuple[RunFolder, RunFolder], tmp_path: Path) -> None:
    rows = [(HOSTILE, 0, "p", 1.0)]
    runs = [small_run(tmp_path / name, {0: rows}) for name in (f"a{HOSTILE.replace('/', '')}", "b")]
    page = write_comparison(compared(runs), tmp_path / "comparison.html").read_text()
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page


def prorl(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def test_the_command_writes_where_it_is_told_to(two: tuple[RunFolder, RunFolder], tmp_path: Path) -> None:
    code, output = prorl("report", *(run.path for run in two), "--output", tmp_path / "c.html")
    assert code == 0
    assert f"comparison: {tmp_path / 'c.html'}" in output.replace("\n", "")
    code, output = prorl("report", two[0].path, "--output", tmp_path / "r.html")
    assert code == 0
    assert (tmp_path / "r.html").exists()


BROKEN = {
    "nothing there": (lambda run: run.identity.unlink(), "is no run folder"),
    "half-written identity": (lambda run: run.identity.write_text('{"uid": "x", "cre'), "half written"),
    "of another version": (lambda run: run.identity.write_text('{"uid": "x", "created": 1, "shape": 9}'), "version"),
    "no step yet": (lambda run: run.metrics.unlink(), "has no step on record"),
}


@pytest.mark.parametrize(("spoil", "told"), BROKEN.values(), ids=BROKEN)
def test_a_folder_that_cannot_be_compared_is_named_with_the_remedy(
    two: tuple[RunFolder, RunFolder], tmp_path: Path, spoil: Callable[[RunFolder], None], told: str
) -> None:
    run = small_run(tmp_path / "bad", {0: []})
    spoil(run)
    code, output = prorl("report", two[0].path, run.path, "--output", tmp_path / "c.html")
    assert code == 1
    assert told in output
    assert str(run.path) in output
    assert "Traceback" not in output
    assert not (tmp_path / "c.html").exists()


def test_a_run_that_is_named_twice_is_refused(two: tuple[RunFolder, RunFolder]) -> None:
    code, output = prorl("report", two[0].path, f"{two[0].path}/.")
    assert code == 1
    assert "is given twice" in output


def test_a_page_that_cannot_be_written_is_an_error_with_the_option(two: tuple[RunFolder, RunFolder]) -> None:
    code, output = prorl("report", two[0].path, two[1].path, "--output", "/proc/none/c.html")
    assert code == 68
    assert "--output" in output


def test_runs_are_paired_with_the_first_one_alone(two: tuple[RunFolder, RunFolder], tmp_path: Path) -> None:
    runs = compared([*two, small_run(tmp_path / "c", {0: []})]).runs
    assert {type(run) for run in runs} == {ComparedRun}
    assert paired_differences(runs[0], runs[2]) == []
    assert {row.first for row in paired_differences(runs[0], runs[1])} == {"a"}
