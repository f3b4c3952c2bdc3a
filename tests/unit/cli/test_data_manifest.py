"""`prorl data check --manifest`: rows as the manifest's sources use them, tokens by the model's own tokenizer.

The tiny model has a token a character: a prompt is `user: QUESTION`, a line end and `assistant: `, 18 tokens more than
its question.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from prorl_cli.main import app
from tests.integration.tiny_model import write_model

FRAME = len("user: ") + len("\nassistant: ")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "tiny")


def write_manifest(folder: Path, model: Path, *sources: dict[str, Any]) -> Path:
    spec = {
        "model": {"path": str(model)},
        "data": {"sources": list(sources)},
        "rollout": {"maxPromptTokens": 40, "maxCompletionTokens": 16},
        "learner": {"promptsPerStep": 8, "minibatchPrompts": 4},
        "referenceReset": {"mode": "disabled"},
    }
    head = {"apiVersion": "prorl.dev/v1alpha1", "kind": "ProRLJob", "metadata": {"name": "checked"}}
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump({**head, "spec": spec}))
    return path


def source(folder: Path, name: str, *prompts: Any, **fields: Any) -> dict[str, Any]:
    lines = [json.dumps({"prompt": prompt, "row": {"answer": number}}) for number, prompt in enumerate(prompts)]
    (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return {"name": name, "domain": "math", "jsonl": f"./{name}.jsonl", **fields}


def check(manifest: Path, *arguments: str) -> Result:
    command = ["data", "check", "--manifest", str(manifest), "--verify-share", "0", "--no-near", *arguments]
    return CliRunner().invoke(app, command, env={"COLUMNS": "200"})


def test_tokens_of_every_source_are_counted_with_its_own_prompt(tmp_path: Path, model: Path) -> None:
    manifest = write_manifest(
        tmp_path,
        model,
        source(tmp_path, "plain", "a" * 2, "b" * 4, "c" * 6, "d" * 22),
        source(tmp_path, "framed", "a", "b", prompt={"system": "Be."}),
        source(tmp_path, "bare", "a", "bcd", prompt={"chat": False, "template": "Q {question}"}),
    )
    report = tmp_path / "report.json"
    result = check(manifest, "--report", str(report))
    assert result.exit_code == 0, result.output
    found = {name: one["promptTokens"] for name, one in json.loads(report.read_text())["sources"].items()}
    assert found["plain"] == {
        "prompts": 4, "shortest": FRAME + 2, "median": FRAME + 5, "p95": 40, "longest": 40, "limit": 40, "above": 0,
    }  # fmt: skip
    assert (found["framed"]["shortest"], found["framed"]["longest"]) == (FRAME + 1 + len("system: Be.\n"),) * 2
    assert (found["bare"]["shortest"], found["bare"]["longest"]) == (3, 5)
    assert "longest 40; maxPromptTokens is 40, 0 of 4 are longer" in result.output


CONVERSATION = [{"role": "user", "content": "a"}]


@pytest.mark.parametrize(
    ("prompts", "fields", "said"),
    [
        (["a" * 23, "b"], {}, "rows.jsonl:1: got a prompt of 41 tokens; at most spec.rollout.maxPromptTokens = 40"),
        (["a", "b"], {"heldOut": 2}, "heldOut: got 2 rows; at least 3: heldOut = 2, and some to train on"),
        ([CONVERSATION, "b"], {"prompt": {"chat": False}}, "text, because the source says `prompt.chat: false`"),
        ([CONVERSATION, "b"], {"prompt": {"template": "Q {question}"}}, "because the source sets `prompt.template`"),
        (["a", {"role": "user"}], {}, "rows.jsonl:2 prompt: got"),
    ],
)
def test_what_the_source_cannot_use_is_a_fault(
    tmp_path: Path, model: Path, prompts: list[Any], fields: dict[str, Any], said: str
) -> None:
    result = check(write_manifest(tmp_path, model, source(tmp_path, "rows", *prompts, **fields)))
    assert result.exit_code == 1, result.output
    assert said in result.output


def test_a_fault_that_many_rows_have_is_told_once(tmp_path: Path, model: Path) -> None:
    result = check(write_manifest(tmp_path, model, source(tmp_path, "rows", "a", *("b" * n for n in range(23, 33)))))
    assert result.exit_code == 1, result.output
    assert "rows.jsonl, 10 of 11 lines: at most spec.rollout.maxPromptTokens = 40" in result.output
    assert "longest 50; maxPromptTokens is 40, 10 of 11 are longer" in result.output
    assert "a prompt of" not in result.output
    assert "and 0 more" not in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--domain", "math"], "--domain: got a value; nothing beside --manifest"),
        (["rows.jsonl"], "FILES: got a value; nothing beside --manifest"),
        (["--reward", "a:b"], "--reward: got a value; nothing beside --manifest"),
    ],
)
def test_a_manifest_says_everything_about_its_sources(
    tmp_path: Path, model: Path, arguments: list[str], said: str
) -> None:
    result = check(write_manifest(tmp_path, model, source(tmp_path, "rows", "a", "b")), *arguments)
    assert result.exit_code == 64
    assert said in result.output


def test_without_a_manifest_files_and_their_domain_are_asked_for() -> None:
    result = CliRunner().invoke(app, ["data", "check"])
    assert result.exit_code == 64
    assert "FILES: got nothing" in result.output
    assert "--domain: got nothing" in result.output


def test_a_model_that_cannot_count_and_files_that_are_not_there_are_faults(tmp_path: Path, model: Path) -> None:
    rows = source(tmp_path, "rows", "a", "b")
    result = check(write_manifest(tmp_path, tmp_path / "nowhere", rows))
    assert (result.exit_code, "spec.model.path" in result.output) == (64, True)
    (tmp_path / "rows.jsonl").unlink()
    result = check(write_manifest(tmp_path, model, rows))
    assert (result.exit_code, "no file" in result.output) == (64, True)
