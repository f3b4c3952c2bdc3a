"""What only the machine can tell about a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from prorl_api.errors import SpecError
from prorl_api.run_folder import RunFolder
from prorl_cli.local.folder import begin
from prorl_cli.local.job import LocalJob, load_local_job, model_argument
from tests.model_folder import write_model_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_model_files(tmp_path / "model")
    return tmp_path


def load(folder: Path, *, model_option: str | None = None, **spec: Any) -> LocalJob:
    source = {"name": "sums", "domain": "logic", "reasoningGym": {"tasks": [{"name": "chain_sum"}]}}
    sections = {
        "model": {"path": "./model"},
        "data": {"sources": [source]},
        "learner": {"promptsPerStep": 8, "minibatchPrompts": 4},
        **spec,
    }
    document = {"apiVersion": "prorl.dev/v1alpha1", "kind": "ProRLJob", "metadata": {"name": "demo"}, "spec": sections}
    (folder / "job.yaml").write_text(yaml.safe_dump(document))
    return load_local_job(folder / "job.yaml", model_option)


def faults(folder: Path, **spec: Any) -> str:
    with pytest.raises(SpecError) as caught:
        load(folder, **spec)
    return str(caught.value)


def test_relative_paths_are_relative_to_the_manifest(folder: Path) -> None:
    assert load(folder).effective.spec.model.path == str(folder / "model")


def test_a_hub_name_stays_a_name(folder: Path) -> None:
    assert load(folder, model={"path": "owner/name"}).effective.spec.model.path == "owner/name"


def test_a_missing_model_folder_is_named_with_a_remedy(folder: Path) -> None:
    text = faults(folder, model={"path": "./nowhere"})
    assert str(folder / "nowhere") in text
    assert "--model" in text


def test_everything_that_a_model_folder_lacks_is_listed(folder: Path) -> None:
    for file in (folder / "model").iterdir():
        file.unlink()
    text = faults(folder)
    assert "config.json and a tokenizer (tokenizer.json) and weights (*.safetensors)" in text


def test_every_fault_of_the_machine_is_reported_at_once(folder: Path) -> None:
    tasks = {"tasks": [{"name": "chain_sums"}]}
    sources = [
        {"name": "a", "domain": "logic", "reasoningGym": tasks},
        {"name": "b", "domain": "math", "jsonl": "data/*.jsonl"},
    ]
    text = faults(folder, model={"path": "./nowhere"}, data={"sources": sources}, initFrom={"run": "./old"})
    for path in ("spec.model.path", "spec.initFrom.run", "tasks[0].name", "spec.data.sources[1].jsonl"):
        assert path in text
    assert "did you mean `chain_sum`?" in text


def test_the_model_can_be_given_on_the_command_line(folder: Path) -> None:
    (folder / "model").rename(folder / "other")
    job = load(folder, model_option=model_argument(str(folder / "other")))
    assert job.effective.spec.model.path == str(folder / "other")


def test_a_model_argument_that_is_no_folder_is_refused() -> None:
    with pytest.raises(SpecError, match="--model"):
        model_argument("./nowhere")


def test_a_run_with_a_checkpoint_of_its_own_needs_no_other_run(folder: Path) -> None:
    begun = folder / "begun"
    begun.mkdir()
    with pytest.raises(SpecError, match=r"spec.initFrom.run"):
        load(folder, initFrom={"run": "./gone"})
    (begun / "CURRENT").write_text("{}")
    assert load_local_job(folder / "job.yaml", None, lambda _: begun).effective.spec.init_from is not None


def own_source(folder: Path, **fields: Any) -> dict[str, Any]:
    (folder / "rows.jsonl").touch()
    source = {"name": "own", "domain": "custom", "jsonl": "rows.jsonl", "reward": "own:score", "heldOut": 1, **fields}
    return {"sources": [source]}


def test_a_reward_function_beside_the_manifest_is_found(folder: Path) -> None:
    (folder / "own.py").write_text("def score(completion, row):\n    return 1.0\n")
    (source,) = load(folder, data=own_source(folder)).effective.spec.data.sources
    assert source.reward == f"{folder / 'own.py'}:score"


@pytest.mark.parametrize(
    ("content", "wanted"),
    [(None, "no such file"), ("def other(): ...", "it has: other"), ("def score(:", "line 1")],
    ids=["no file", "no function", "no Python"],
)
def test_a_reward_function_that_cannot_be_had_is_named_before_anything_starts(
    folder: Path, content: str | None, wanted: str
) -> None:
    if content is not None:
        (folder / "own.py").write_text(content)
    text = faults(folder, data=own_source(folder), model={"path": "./nowhere"})
    assert "spec.data.sources[0].reward" in text
    assert wanted in text
    assert "spec.model.path" in text, "every fault at once"


def test_the_copy_of_a_manifest_in_a_run_folder_can_be_run_again(folder: Path) -> None:
    job = load(folder)
    run = RunFolder(folder / "runs" / "demo")
    run.path.mkdir(parents=True)
    begin(run, job.text, manifest_folder=job.manifest_folder, model=None)
    assert load_local_job(run.manifest, None).effective == job.effective
    other = run.path / "other.yaml"
    other.write_text(job.text)
    with pytest.raises(SpecError, match="which is no folder"):
        load_local_job(other, None)
