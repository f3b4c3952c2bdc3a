"""Evaluations as jobs of no steps, and what `prorl boundary` prints of two of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from prorl_analysis.results import write_results
from prorl_api.errors import SpecError
from prorl_api.manifest import parse_job, validate_job
from prorl_api.spec.data import DataSource
from prorl_cli.evaluation.answers import answer_of
from prorl_cli.evaluation.job import EvaluationRequest, evaluation_job, read_sizes, settings_of
from prorl_cli.evaluation.overlap import contamination
from prorl_cli.evaluation.presets import read_files, sources_of
from prorl_cli.main import app
from tests.unit.analysis.builders import SETTINGS, make_sample

MANIFEST = """
apiVersion: prorl.dev/v1alpha1
kind: ProRLJob
metadata: {name: demo}
spec:
  model: {path: /models/base}
  initFrom: {run: /runs/old}
  data:
    sources:
      - {name: sums, domain: logic, reasoningGym: {tasks: [{name: chain_sum}]}}
      - {name: own, domain: math, jsonl: JSONL, heldOut: 2}
  learner: {processesPerReplica: 2}
  algorithm: {kl: {coefficient: 0.01}, entropyBonus: 0.1}
  schedule: {totalSteps: 50, stages: [{name: late, fromStep: 40}]}
"""
REQUEST = EvaluationRequest(model=None, samples=32, temperature=0.6, top_p=0.95, sizes={"sums": 40})


def test_an_evaluation_is_a_valid_job_that_trains_nothing(tmp_path: Path) -> None:
    found = validate_job(evaluation_job(parse_job(MANIFEST), REQUEST)).spec
    assert found.schedule.total_steps == 0
    assert found.schedule.stages == ()
    assert found.init_from is None
    assert found.algorithm.kl.coefficient == 0, "no reference is loaded"
    assert found.learner.processes_per_replica == 1
    assert (found.validation.samples_per_prompt, found.validation.sources[0].size) == (32, 40)


def test_another_model_and_longer_completions_are_taken(tmp_path: Path) -> None:
    request = EvaluationRequest(
        model="/models/trained", samples=1, temperature=0, top_p=1, sizes={}, max_completion_tokens=99
    )
    found = validate_job(evaluation_job(parse_job(MANIFEST), request)).spec
    assert str(found.model.path) == "/models/trained"
    assert found.rollout.max_completion_tokens == 99
    assert found.validation.sources == ()


def test_a_source_that_is_not_there_is_named() -> None:
    request = EvaluationRequest(model=None, samples=1, temperature=1, top_p=1, sizes={"sumz": None})
    with pytest.raises(SpecError, match=r"--source: got sumz; one of own, sums"):
        evaluation_job(parse_job(MANIFEST), request)


@pytest.mark.parametrize("text", ["", "=3", "sums=", "sums=0", "sums=-1", "sums=x"])
def test_a_size_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="--source"):
        read_sizes([text])


def test_sizes_are_read() -> None:
    assert read_sizes(["sums", "own=3"]) == {"sums": None, "own": 3}


def test_other_items_have_another_digest(tmp_path: Path) -> None:
    rows = tmp_path / "own.jsonl"
    rows.write_text("{}\n")
    text = MANIFEST.replace("JSONL", str(rows))

    def digests(changed: str) -> dict[str, str]:
        document = evaluation_job(parse_job(changed), replace(REQUEST, sizes={}))
        return dict(settings_of(validate_job(document)).sources)

    before = digests(text)
    assert digests(text.replace("totalSteps: 50", "totalSteps: 60")) == before
    assert digests(text.replace("chain_sum", "lcm"))["sums"] != before["sums"]
    rows.write_text("{ }\n")
    assert digests(text)["own"] != before["own"]


def test_files_are_found_as_the_learner_finds_them(tmp_path: Path) -> None:
    """A change in any file of a pattern is another digest, also below folders."""
    rows = tmp_path / "a" / "b" / "own.jsonl"
    rows.parent.mkdir(parents=True)
    rows.write_text("{}\n")
    job = parse_job(MANIFEST.replace("JSONL", str(tmp_path / "**" / "*.jsonl")))
    before = settings_of(job).sources["own"]
    rows.write_text("{ }\n")
    assert settings_of(job).sources["own"] != before


def test_what_was_lost_is_shown_with_what_was_gained(tmp_path: Path) -> None:
    base, after = tmp_path / "base.jsonl", tmp_path / "after.jsonl"
    for path, rewards in ((base, [[1, 0], [0, 0], [1, 1]]), (after, [[0, 0], [1, 0], [1, 1]])):
        samples = [
            make_sample(("math", item), number, float(reward))
            for item, values in enumerate(rewards)
            for number, reward in enumerate(values)
        ]
        write_results(path, SETTINGS, samples)
    output = tmp_path / "boundary.json"
    done = CliRunner().invoke(app, ["boundary", str(base), str(after), "--output", str(output)], terminal_width=200)
    assert done.exit_code == 0, done.output
    assert "below 77.64% (95 %), not an impossibility" in done.output
    (row,) = json.loads(output.read_text())["checkpoints"][str(after)]
    assert (row["shrunk"], row["expanded"]) == ([["math", 0]], [["math", 1]])
    assert row["nscr"] == 0.0


def rows_file(path: Path, *prompts: str) -> Path:
    path.write_text("".join(json.dumps({"prompt": prompt, "row": {"answer": 1}}) + "\n" for prompt in prompts))
    return path


def test_a_published_set_is_evaluated_whole_and_trained_on_never(tmp_path: Path) -> None:
    rows = rows_file(tmp_path / "aime.jsonl", "a", "b", "c")
    request = replace(REQUEST, sizes={}, files=sources_of(read_files([f"aime={rows}"])))
    found = validate_job(evaluation_job(parse_job(MANIFEST), request)).spec
    (wanted,) = found.validation.sources
    assert (wanted.name, wanted.size) == ("aime", 3)
    source = found.data.sources[-1]
    assert (source.name, source.weight, source.held_out) == ("aime", 0, 3)
    assert (source.domain.value, source.answer_format.value) == ("math", "boxed")
    assert "\\boxed{}" in source.prompt.template


@pytest.mark.parametrize("text", ["aime", "=x", "aime=", "no-such-set=x.jsonl", "deepscaler=x.jsonl"])
def test_a_file_that_is_no_published_set_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match=r"--file: got .*SET=FILE, SET one of aime, amc"):
        read_files([text])


def test_files_that_cannot_be_held_out_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="aime twice"):
        read_files(["aime=a", "aime=b"])
    with pytest.raises(SpecError, match=r"with 0 rows; 1 to 100000 rows"):
        sources_of({"aime": rows_file(tmp_path / "empty.jsonl")})
    with pytest.raises(SpecError, match="a file that `prorl data import` wrote"):
        sources_of({"aime": tmp_path / "none.jsonl"})
    named = MANIFEST.replace("name: own", "name: aime")
    request = replace(REQUEST, sizes={}, files=sources_of({"aime": rows_file(tmp_path / "a.jsonl", "a")}))
    with pytest.raises(SpecError, match="--file: got aime"):
        evaluation_job(parse_job(named), request)


LONG = "A farmer has seventeen sheep and all but nine of them run away across the hills at night."


def test_items_that_are_trained_on_are_counted(tmp_path: Path) -> None:
    trained = rows_file(tmp_path / "own.jsonl", f"Think. {LONG} How many?", "short one", "other")
    tested = rows_file(tmp_path / "aime.jsonl", LONG, "Short  One", "new", "unlike any of the others")
    request = replace(REQUEST, sizes={}, files=sources_of({"aime": tested}))
    job = validate_job(evaluation_job(parse_job(MANIFEST.replace("JSONL", str(trained))), request))
    found = contamination(job, {"aime"})
    assert (found["aime"].items, found["aime"].touched) == (4, 2)
    assert settings_of(job, contaminated=found).trained == ("own", "sums")
    assert contamination(job, {"own"}) == {}, "what a source holds out is trained on by none"


@pytest.mark.parametrize(
    ("domain", "answer_format", "completion", "answer"),
    [
        ("math", "boxed", "so \\boxed{\\frac12} ", "\\frac12"),
        ("math", "boxed", "no box", None),
        ("math", "text", "first\n\\boxed{1}\nthen", "1"),
        ("math", "text", "first\nthe  answer is 4\n", "the answer is 4"),
        ("math", "text", "<think>4", None),
        ("logic", "answer-tag", "<answer>a\n b</answer>", "a b"),
        ("logic", "first-integer", " 12 or 13", "12"),
        ("logic", "text", "x" * 500, None),
        ("code", "text", "```python\nprint(1)\n```", None),
    ],
)
def test_answers_are_found_where_the_verifier_looks(
    domain: str, answer_format: str, completion: str, answer: str | None
) -> None:
    source = DataSource.model_validate(
        {"name": "a", "domain": domain, "jsonl": "a.jsonl", "answerFormat": answer_format}
    )
    assert answer_of(source, completion) == answer


def test_results_that_are_not_there_are_a_clear_error(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["boundary", str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")])
    assert done.exit_code == 64
    assert "results written by `prorl evaluate`" in done.output
