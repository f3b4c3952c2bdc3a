"""Evaluations as jobs of no steps, and what `prorl boundary` prints of two of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from prorl_analysis.results import Contamination, write_results
from prorl_api.errors import SpecError
from prorl_api.manifest import parse_job, validate_job
from prorl_api.run_folder import RunFolder
from prorl_api.spec.data import DataSource
from prorl_api.status import JobStatus
from prorl_cli.evaluation.answers import answer_of
from prorl_cli.evaluation.evaluate import samples_of, spent, weights_of
from prorl_cli.evaluation.job import EvaluationRequest, evaluation_job, read_sizes, settings_of
from prorl_cli.evaluation.overlap import contamination
from prorl_cli.evaluation.page import short_names
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


@pytest.mark.parametrize(
    ("sizes", "want"),
    [
        pytest.param({"sums": 40}, {"sums", "own"}, id="what is trained on stays, to be told from the rest"),
        pytest.param({"far": 2}, {"sums", "own", "far"}, id="one of weight 0 that is evaluated stays"),
        pytest.param({}, {"sums", "own", "far", "farther"}, id="none named: all"),
    ],
)
def test_a_source_that_is_neither_trained_on_nor_evaluated_is_left_out(sizes: dict[str, int], want: set[str]) -> None:
    others = "".join(
        f"      - {{name: {name}, domain: logic, weight: 0, reasoningGym: {{tasks: [{{name: leg_counting}}]}}}}\n"
        for name in ("far", "farther")
    )
    manifest = MANIFEST.replace("  learner:", f"{others}  learner:")
    found = validate_job(evaluation_job(parse_job(manifest), replace(REQUEST, sizes=sizes))).spec
    assert {source.name for source in found.data.sources} == want


def test_what_a_stage_trains_on_counts_as_trained_on() -> None:
    curriculum = MANIFEST.replace("name: own,", "name: own, weight: 0,").replace(
        "fromStep: 40}", "fromStep: 40, overrides: {sourceWeights: {own: 2}}}"
    )
    found = validate_job(evaluation_job(parse_job(curriculum), REQUEST))
    assert {source.name: source.weight for source in found.spec.data.sources} == {"sums": 1, "own": 2}
    assert settings_of(found).trained == ("own", "sums")


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


def test_the_share_of_sampling_is_that_of_this_start_alone(tmp_path: Path) -> None:
    """By hand: 54 of 60 seconds; a start behind it that has nothing left to do samples none of its 5."""
    run = RunFolder(tmp_path)
    run.metrics.write_text(
        json.dumps({"step": 0, "attempt": 1, "time": 1_000.0, "seconds_validating": 54.0}) + "\n", encoding="utf-8"
    )
    assert spent(run, 950.0, 60.0) == "took 1 min 00 s: 90% sampling and judging, the rest starting and writing"
    assert spent(run, 1_010.0, 5.0) == "took 5.0 s: 0% sampling and judging, the rest starting and writing"


def test_what_was_lost_is_shown_with_what_was_gained(tmp_path: Path) -> None:
    base, after = tmp_path / "base.jsonl", tmp_path / "after.jsonl"
    for path, rewards in ((base, [[1, 0], [0, 0], [1, 1]]), (after, [[0, 0], [1, 0], [1, 1]])):
        samples = [
            make_sample(("math", item), number, float(reward))
            for item, values in enumerate(rewards)
            for number, reward in enumerate(values)
        ]
        write_results(path, SETTINGS, samples)
    output, page = tmp_path / "boundary.json", tmp_path / "boundary.html"
    done = prorl("boundary", base, after, "--output", output, "--page", page, "--corpus", base, "--spans", "1-2")
    assert done.exit_code == 0, done.output
    assert "below 77.64% (95 %), not an impossibility" in done.output
    found = json.loads(output.read_text())
    (row,) = found["checkpoints"][str(after)]["rows"]
    assert (row["boundary"]["shrunk"], row["boundary"]["expanded"]) == ([["math", 0]], [["math", 1]])
    assert (row["boundary"]["nscr"], row["boundary"]["regime"]) == (0.0, "undecided")
    assert row["gains"]["average"]["value"] == 0.0
    assert [each["path"] for each in found["novelty"]] == [str(base), str(after)]
    text = page.read_text()
    head, moves, tasks = (text.index(f'data-part="boundary_{name}"') for name in ("head", "moves", "tasks"))
    assert head < text.index("is the corpus itself", head) < moves, "what must be known first stands first"
    assert moves < text.index("Shrunk", moves) < text.index("Expanded", moves) < tasks
    assert "default-src &#39;none&#39;" in text, "the page may load nothing"


def prorl(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], terminal_width=200)


def test_items_that_were_trained_on_are_told_in_the_page_s_head(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"contamination": {"math": Contamination(items=1, touched=1)}})
    paths = [tmp_path / "base.jsonl", tmp_path / "a" / "results.jsonl", tmp_path / "b" / "results.jsonl"]
    for number, path in enumerate(paths):
        path.parent.mkdir(exist_ok=True)
        text = "<script>alert(1)</script>"
        samples = [
            make_sample(("math", item), n, float(n <= number), completion=text) for item in range(3) for n in (0, 1, 2)
        ]
        write_results(path, settings, samples)
    page, output = tmp_path / "page.html", tmp_path / "out.json"
    done = prorl("boundary", *paths, "--page", page, "--output", output)
    assert done.exit_code == 0, done.output
    warning = "math: 1 of 1 items stand in files that the job trains on"
    assert f"warning: {warning}" in done.output
    head, moves = (page.read_text().index(f'data-part="boundary_{name}"') for name in ("head", "moves"))
    assert warning in page.read_text()[head:moves]
    pairs = json.loads(output.read_text())["consecutive"]
    assert [(pair["earlier"], pair["later"]) for pair in pairs] == [(str(paths[1]), str(paths[2]))]
    assert short_names([str(path) for path in paths]) == dict(zip(map(str, paths), ("base", "a", "b"), strict=True))


def test_fewer_samples_than_k_give_no_number(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        write_results(tmp_path / name, SETTINGS, [make_sample(("math", 0), n, 1.0) for n in range(3)])
    done = prorl("boundary", tmp_path / "a.jsonl", tmp_path / "b.jsonl", "--k", 4, "--page", tmp_path / "page.html")
    assert done.exit_code == 0, done.output
    assert "math: no numbers. An item has 3 judged samples, and 4 of every item are asked for." in done.output
    assert "pass@" not in done.output


@pytest.mark.parametrize("text", ["5", "5-", "-5", "6-5", "0-3", "5-99", "a-b"])
def test_spans_that_are_none_are_refused(tmp_path: Path, text: str) -> None:
    done = prorl("novelty", tmp_path, tmp_path / "a.jsonl", "--spans", text)
    assert done.exit_code == 64
    assert "SHORTEST-LONGEST" in done.output


def test_novelty_is_shown_over_evaluations(tmp_path: Path) -> None:
    (tmp_path / "corpus.txt").write_text("a b c d e f")
    for name, text in (("a", "a b c"), ("b", "x y z")):
        write_results(tmp_path / f"{name}.jsonl", SETTINGS, [make_sample(("math", 0), 0, 1.0, completion=text)])
    output = tmp_path / "out.json"
    files = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    done = prorl("novelty", tmp_path / "corpus.txt", *files, "--spans", "2-3", "--output", output)
    assert done.exit_code == 0, done.output
    assert [each["index"]["value"] for each in json.loads(output.read_text())["novelty"]] == [0.0, 2.0]


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


def test_a_run_s_samples_become_results_with_answers_tasks_and_weights(tmp_path: Path) -> None:
    """The lines as the learner writes them."""
    run = RunFolder(tmp_path)
    run.samples.mkdir()
    line = {
        "step": 0, "attempt": 1, "source": "sums", "prompt": "2 + 3 =", "completion": "so\n 5", "reward": 1.0,
        "verdict": "correct", "detail": "", "finish_reason": "length", "num_tokens": 3, "index": 0, "sample": 1,
    }  # fmt: skip
    (run.samples / "validation-0.jsonl").write_text(json.dumps(line) + "\n")
    prompt = {"key": "validation/sums/0", "source": "sums", "question": "2 + 3 =", "row": {"task": "chain_sum"}}
    files = {"key": "files/own", "rows": 3}
    run.prompts.write_text("".join(json.dumps(stored) + "\n" for stored in (files, prompt)))
    run.status.write_text(JobStatus(weights_id="1-0-abc").model_dump_json())
    job = validate_job(evaluation_job(parse_job(MANIFEST), REQUEST))
    (sample,) = samples_of(run, job)
    assert (sample.item, sample.number, sample.is_truncated) == (("sums", 0), 1, True)
    assert (sample.answer, sample.task) == ("5", "chain_sum")
    assert weights_of(run) == "1-0-abc"


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
