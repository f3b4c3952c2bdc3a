"""The commands: what they print, how they exit, and what they do not import."""

from __future__ import annotations

import io
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner, Result

from prorl_api.run_folder import RunFolder
from prorl_api.status import Condition, ConditionStatus, ConditionType, JobStatus
from prorl_cli.local.folder import begin
from prorl_cli.local.job import read_local_job
from prorl_cli.local.manifest_watch import write_effective
from prorl_cli.local.run import conclude_report
from prorl_cli.main import app
from tests.bench.short_recipes import RECIPES
from tests.integration.tiny_model import write_model
from tests.model_folder import write_model_files

MANIFEST = """
apiVersion: prorl.dev/v1alpha1
kind: ProRLJob
metadata: {name: demo}
spec:
  model: {path: ./model}
  data:
    sources: [{name: sums, domain: logic, reasoningGym: {tasks: [{name: chain_sum}]}}]
  learner: {promptsPerStep: 8, minibatchPrompts: 4}
  referenceReset:
    cooldownSteps: 2
    triggers: [{name: spike, klSpike: {above: 0.05, windowSteps: 2}}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_model_files(tmp_path / "model")
    (tmp_path / "job.yaml").write_text(MANIFEST)
    (tmp_path / "run").mkdir()
    begin(RunFolder(tmp_path / "run"), MANIFEST, manifest_folder=tmp_path, model=None)
    return tmp_path


def prorl(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_valid_manifest_is_summarised(folder: Path) -> None:
    write_model(folder / "model", max_position_embeddings=65536, num_attention_heads=2)
    result = prorl("validate", folder / "job.yaml")
    assert result.exit_code == 0, result.output
    assert "demo is valid and can run here" in result.output
    for said in ("18 bytes a parameter", "checkpoints of", "its tokenizer fits it", "not checked", "are free"):
        assert said in result.output
    assert "spike: klSpike metric kl, above 0.05, windowSteps 2" in result.output
    assert "notice" not in result.output


@pytest.mark.parametrize("options", [(), ("--cluster",)])
def test_a_setting_without_effect_is_a_notice_and_no_fault(folder: Path, options: tuple[str, ...]) -> None:
    write_model(folder / "model", max_position_embeddings=65536, num_attention_heads=2)
    text = (
        MANIFEST.replace("cooldownSteps: 2", "cooldownSteps: 50")
        + "  schedule: {totalSteps: 50}\n"
        + (
            "  volumes: [{name: runs, claimName: runs, mountPath: /runs}]\n  checkpoint: {volume: runs}\n"
            * bool(options)
        )
    )
    (folder / "job.yaml").write_text(text.replace("./model", "/runs/model") if options else text)
    result = prorl("validate", folder / "job.yaml", *options)
    assert result.exit_code == 0, result.output
    assert "notice      spec.referenceReset.cooldownSteps: got 50: no reset can happen" in result.output


def test_few_rows_are_a_notice_and_no_fault(folder: Path) -> None:
    write_model(folder / "model", max_position_embeddings=65536, num_attention_heads=2)
    rows = [{"prompt": f"{number} + 1?", "row": {"answer": number + 1}} for number in range(6)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = "sources: [{name: sums, domain: math, jsonl: ./rows.jsonl, heldOut: 1}]"
    (folder / "job.yaml").write_text(re.sub(r"sources: .*", source, MANIFEST))
    result = prorl("validate", folder / "job.yaml")
    assert result.exit_code == 0, result.output
    assert "notice      spec.data.sources[0].heldOut: got 1: the accuracy is 0 or 1" in result.output
    assert "notice      spec.learner.promptsPerStep: got 8: 5 rows are left to train on" in result.output


def test_faults_are_listed_with_exit_code_64(folder: Path) -> None:
    text = MANIFEST.replace("promptsPerStep: 8", "promptPerStep: 8").replace("domain: logic", "domain: logics")
    (folder / "job.yaml").write_text(text)
    result = prorl("validate", folder / "job.yaml")
    assert result.exit_code == 64
    assert "did you mean `promptsPerStep`?" in result.output
    assert "spec.data.sources[0].domain" in result.output


PLAN_OPTIONS = ("--parameters", "1e6", "--gpu-memory", "80", "--server-tokens", "1000", "--rank-positions", "1000")


def test_a_plan_needs_neither_model_nor_data(folder: Path) -> None:
    for file in (folder / "model").iterdir():
        file.unlink()
    result = prorl("plan", folder / "job.yaml")
    assert result.exit_code == 0, result.output
    for said in ("8 prompts x 16 = 128 completions", "2 optimizer step(s)", "name a folder with --model"):
        assert said in result.output
    result = prorl("plan", folder / "job.yaml", *PLAN_OPTIONS, "--completion-tokens", "100")
    assert result.exit_code == 0, result.output
    for said in ("1,000,000 parameters", "2.0 MB to each of 1 server(s)", "44 s a step (sampling 13 s"):
        assert said in result.output


def test_a_plan_takes_what_a_run_has_measured_and_what_is_given_wins(folder: Path) -> None:
    run = RunFolder(folder / "run")
    asked = ("plan", folder / "job.yaml", "--run-dir", run.path, "--parameters", "1e6", "--completion-tokens", "100")
    assert "let `prorl run` do a step, and plan again" in prorl(*asked).output
    write_effective(run, read_local_job(folder / "job.yaml", None).effective)
    line = {"attempt": 1, "tokens_generated": 6400, "seconds_sampling": 6.4, "completion_length": 50}
    shown = {**line, "positions_trained": 5000.0, "seconds_updating": 5.0, "seconds_publishing": 2.0}
    lines = [json.dumps({**shown, "step": step}) for step in (1, 2)]
    run.metrics.write_text("\n".join(lines) + "\n")
    result = prorl(*asked, "--gpu-memory", "80")
    # As with --server-tokens 1000 and --rank-positions 1000; and weights of 2 MB in 2 s.
    by_hand = prorl(*asked[:2], *PLAN_OPTIONS, "--completion-tokens", "100", "--link-bytes", "1e6")
    assert "publishing 2.0 s" in by_hand.output
    said = f"measured in {run.path}, steps 1 to 2; completions had 50 tokens there (--completion-tokens 50)"
    assert said in result.output
    assert [text for text in result.output.splitlines() if said not in text] == by_hand.output.splitlines()
    assert "sampling 6.4 s" in prorl(*asked, "--server-tokens", "2000").output
    assert said not in prorl(*asked, "--model", folder).output, "another model"


def test_a_plan_that_does_not_fit_says_why_and_exits_with_1(folder: Path) -> None:
    result = prorl("plan", folder / "job.yaml", "--parameters", "7e9", "--gpu-memory", "24")
    assert result.exit_code == 1, result.output
    assert "does not fit spec.learner: got" in result.output
    assert "deepspeed.offloadOptimizer, reference: offloaded, a lower rollout.gpuMemoryUtilization" in result.output


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_has_a_plan_that_fits_its_gpus(recipe: Path) -> None:
    parameters = "7.6e9" if recipe.stem.endswith("7b") else "1.78e9"
    result = prorl("plan", recipe, "--cluster", "--parameters", parameters, "--gpu-memory", "80")
    assert result.exit_code == 0, result.output
    assert "optimizer step(s)" in result.output


def test_validate_finds_what_the_learner_would_find(folder: Path) -> None:
    write_model(folder / "model", max_position_embeddings=65536, num_attention_heads=2)
    (folder / "model" / "chat_template.jinja").unlink()
    (folder / "rows.jsonl").write_text('{"question": "1 + 1?", "answer": "2"}\n')
    job = yaml.safe_load(MANIFEST)
    sums = job["spec"]["data"]["sources"][0]["reasoningGym"]["tasks"][0]
    sums["config"] = {"min_term": 2}
    job["spec"]["data"]["sources"].append({"name": "own", "domain": "math", "jsonl": "rows.jsonl"})
    (folder / "job.yaml").write_text(yaml.safe_dump(job))
    result = prorl("validate", folder / "job.yaml")
    assert result.exit_code == 64
    for said in ("prompt.chat", "`prompt: {chat: false}`", "min_term", "rows.jsonl:1 prompt"):
        assert said in result.output


def test_a_manifest_is_judged_for_a_cluster_without_this_machine(folder: Path) -> None:
    refused = prorl("validate", folder / "job.yaml", "--cluster")
    assert refused.exit_code == 64
    assert "spec.checkpoint.volume" in refused.output
    assert "this environment" not in refused.output
    job = yaml.safe_load(MANIFEST)
    job["spec"] |= {
        "model": {"path": "/models/base"},
        "volumes": [{"name": "all", "claimName": "all", "mountPath": "/models", "roles": ["learner"]}],
        "checkpoint": {"volume": "all"},
    }
    (folder / "job.yaml").write_text(yaml.safe_dump(job))
    taken = prorl("validate", folder / "job.yaml", "--cluster")
    assert taken.exit_code == 0, taken.output
    assert "valid for a cluster" in taken.output


def test_a_missing_manifest_is_a_fault_too(tmp_path: Path) -> None:
    assert prorl("run", tmp_path / "none.yaml").exit_code == 64


def test_status_tells_where_the_run_stands(folder: Path) -> None:
    run = RunFolder(folder / "run")
    assert "not started yet" in prorl("status", run.path).output
    run.status.write_text(JobStatus(step=3, total_steps=9, attempt=2, updated=1.0).model_dump_json())
    output = prorl("status", run.path).output
    assert "not running" in output
    assert "3/9" in output
    assert "resumes it" in output
    assert prorl("status", folder).exit_code == 1


@pytest.mark.parametrize(
    ("accuracy", "kl", "shown"),
    [
        ("0.15500000000000003", "0.02", "held-out    0.155;  KL 0.0200"),
        ("0.0", "0.0", "held-out    0.000;  KL 0.0000"),
        ("", "", "held-out    unknown;  KL unknown"),
    ],
)
def test_status_rounds_as_the_console_does(folder: Path, accuracy: str, kl: str, shown: str) -> None:
    run = RunFolder(folder / "run")
    status = JobStatus(step=3, total_steps=9, attempt=2, updated=1.0, last_accuracy=accuracy, last_kl=kl)
    run.status.write_text(status.model_dump_json())
    assert shown in prorl("status", run.path).output


def test_status_of_a_run_that_is_not_running_gives_advice_on_its_lines(folder: Path) -> None:
    run = RunFolder(folder / "run")
    run.status.write_text(JobStatus(step=10, total_steps=20, attempt=1, updated=1.0).model_dump_json())
    lines = [{"step": step, "attempt": 1, "truncated": 0.5} for step in range(1, 11)]
    run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"torn')
    assert "advice" not in prorl("status", run.path).output, "bounds are those of the job as it ran"
    run.effective_manifest.write_text(json.dumps(yaml.safe_load(MANIFEST)))
    output = prorl("status", run.path).output
    assert "advice      50% of the completions of the last 10 steps were cut at the limit" in output
    assert "maxCompletionTokens" in output


def write_steps(run: RunFolder, count: int) -> None:
    lines = [
        {
            "step": step,
            "attempt": 1,
            "reward_mean": 0.25,
            "accuracy_sampled/sums": 0.125,
            "completion_length": 64,
            "truncated": 0.75,
            "seconds_total": 60.0,
            "seconds_sampling": 40.0,
            "tokens_generated": 6000,
        }
        for step in range(1, count + 1)
    ]
    lines[0] |= {"validation_accuracy": 0.3, "validation_source_accuracy/sums": 0.3}
    run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))


def condition(status: ConditionStatus, reason: str, kind: ConditionType = ConditionType.SUCCEEDED) -> Condition:
    return Condition(type=kind, status=status, reason=reason, last_transition_time=1.0)


def test_status_says_what_the_console_says(folder: Path) -> None:
    run = RunFolder(folder / "run")
    write_steps(run, 3)
    run.status.write_text(JobStatus(step=3, total_steps=9, attempt=1, updated=1.0).model_dump_json())
    output = prorl("status", run.path).output
    assert "reward      0.250, solved of sums 0.125" in output
    assert "held-out of sums 0.300 (step 1)" in output
    assert "64 tokens, 75% cut at the limit (up to 25% does no harm)" in output
    assert "1 min 00 s a step, 150 tokens/s sampled; 3 min 00 s in steps so far, about 6 min 00 s left" in output
    assert "raise `rollout.maxCompletionTokens`" in output
    report = " ".join(prorl("report", run.path).output.split())
    assert "150 tokens/s sampled" in report, "one measure of speed"


def test_what_advice_says_is_no_warning_too(folder: Path) -> None:
    run = RunFolder(folder / "run")
    write_steps(run, 10)
    run.status.write_text(JobStatus(step=10, total_steps=20, attempt=1, updated=1.0).model_dump_json())
    assert prorl("status", run.path).output.count("raise `rollout.maxCompletionTokens`") == 1
    run.effective_manifest.write_text(json.dumps(yaml.safe_load(MANIFEST)))
    output = prorl("status", run.path).output
    assert output.count("raise `rollout.maxCompletionTokens`") == 1
    assert "advice      75% of the completions of the last 10 steps were cut at the limit" in output


@pytest.mark.parametrize(
    ("conditions", "is_said"),
    [
        ((condition(ConditionStatus.UNKNOWN, "Running"),), False),
        ((condition(ConditionStatus.FALSE, "LearnerFailed"),), True),
        (
            (
                condition(ConditionStatus.UNKNOWN, "Suspended"),
                condition(ConditionStatus.TRUE, "Interrupted", ConditionType.SUSPENDED),
            ),
            True,
        ),
    ],
    ids=["killed", "failed", "stopped"],
)
def test_a_run_that_was_killed_is_not_said_to_be_running(
    folder: Path, conditions: tuple[Condition, ...], is_said: bool
) -> None:
    run = RunFolder(folder / "run")
    status = JobStatus(step=3, total_steps=9, attempt=1, updated=1.0, conditions=conditions)
    run.status.write_text(status.model_dump_json())
    output = prorl("status", run.path).output
    assert "Running" not in output
    assert ("was killed" in output) is not is_said
    assert "resumes it" in output


def test_resets_are_requested_listed_and_judged(folder: Path) -> None:
    run = folder / "run"
    assert "no resets yet" in prorl("resets", "list", run).output
    result = prorl("resets", "request", run, "--source", "best")
    assert "demo-reset-1 recorded; it is posted when the run is resumed" in result.output
    listed = prorl("resets", "list", run).output
    assert "demo-reset-1  approved: reference := best policy, optimizer clear" in listed
    refused = prorl("resets", "veto", run, "demo-reset-1")
    assert refused.exit_code == 1
    assert "cannot be taken back" in refused.output
    assert prorl("resets", "request", run, "--source", "oldest").exit_code == 64
    assert "--source" in prorl("resets", "request", run, "--source", "oldest").output


def test_triggers_are_replayed_over_a_stored_series(folder: Path) -> None:
    lines = [{"step": step, "attempt": 1, "kl": kl} for step, kl in enumerate([0.0, 0.0, 0.1, 0.1, 0.1], 1)]
    series = folder / "run" / "metrics.jsonl"
    series.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for argument in (folder / "run", series):
        output = prorl("resets", "replay", argument, folder / "job.yaml").output
        assert re.search(r"2 reset\(s\) over steps 1-5", output) is None
        assert "1 reset(s) over steps 1-5" in output
        assert "step 4  spike: KL averaged 0.1 nats over steps 3-4, above 0.05" in output
    assert prorl("resets", "replay", folder / "nothing", folder / "job.yaml").exit_code == 1


def test_importing_the_command_line_imports_nothing_heavy() -> None:
    program = (
        "import sys, prorl_cli.main; "
        "heavy = {'torch', 'vllm', 'transformers', 'deepspeed', 'plotly', 'scipy', 'numpy'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert output.strip() == "[]"


def test_fields_are_set_on_the_command_line_and_judged_as_in_the_manifest(folder: Path) -> None:
    write_model(folder / "model", max_position_embeddings=65536, num_attention_heads=2)
    result = prorl("validate", folder / "job.yaml", "--set", "learner.groupSize=6", "--set", "schedule.totalSteps=7")
    assert result.exit_code == 0, result.output
    assert "7 steps of 8 prompts x 6" in result.output
    refused = prorl("validate", folder / "job.yaml", "--set", "learner.groupSizes=6")
    assert refused.exit_code == 64
    assert "did you mean `groupSize`?" in refused.output


@pytest.mark.parametrize("has_report", [True, False])
def test_paths_in_the_commands_that_come_next_can_be_copied(folder: Path, has_report: bool) -> None:
    run = RunFolder(folder / "my run")
    (folder / "run").rename(run.path)
    text = " ".join(prorl("report", run.path).output.split()) if has_report else _summary(run)
    wanted = f"open '{run.report}' in a browser" if has_report else f"prorl report '{run.path}' writes '{run.report}'"
    assert wanted in text


@pytest.mark.parametrize("output", [None, "my page.html"])
def test_what_has_just_written_a_report_does_not_advise_to_write_one(folder: Path, output: str | None) -> None:
    page = folder / (output or "run/report.html")
    text = prorl("report", folder / "run", *(["--output", page] if output else [])).output
    assert "prorl report" not in text
    assert f"open {shlex.quote(str(page))} in a browser" in " ".join(text.split())


def test_the_end_of_a_run_names_the_report_that_it_writes(folder: Path) -> None:
    console = Console(file=io.StringIO(), width=400)
    conclude_report(RunFolder(folder / "run"), console)
    assert isinstance(console.file, io.StringIO)
    assert "prorl report" not in console.file.getvalue()


def _summary(run: RunFolder) -> str:
    from prorl_cli.report.summary import print_summary

    console = Console(file=io.StringIO(), width=400)
    print_summary(run, console)
    assert isinstance(console.file, io.StringIO)
    return " ".join(console.file.getvalue().split())
