"""A policy leaves the run: whichever engine wrote it, transformers loads just its weights."""

from __future__ import annotations

import base64
import json
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from safetensors.torch import load_file
from typer.testing import CliRunner, Result

from prorl_api.export_record import ExportRecord
from prorl_api.run_folder import RunFolder
from prorl_cli.main import app
from prorl_trainer.export import pretrained
from tests.integration.engine_kit import learner_spec, world_of_one
from tests.integration.model_families import write_family
from tests.integration.tiny_model import write_model, write_tokenizer
from tests.integration.trained_run import TrainedRun, is_same, loaded
from tests.unit.trainer.http_apps import served

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*torch.distributed.* is deprecated:FutureWarning"),
]
ENGINES = [("plain", 0), *(("deepspeed", stage) for stage in range(4))]
ABOUT_THE_BASE = ("solved.json", "trainer_state.json", "all_results.json", "eval_results.json", "train_results.json")


@pytest.fixture(scope="module", autouse=True)
def world() -> Iterator[None]:
    with world_of_one():
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_model(tmp_path_factory.mktemp("model"))
    (folder / "README.md").write_text("the base model's card")
    for name in ABOUT_THE_BASE:
        (folder / name).write_text("{}")
    (folder / "notes.json").write_text("{}")  # who knows what it is for
    return folder


@pytest.fixture(scope="module")
def trained(model: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    return TrainedRun(tmp_path_factory.mktemp("trained") / "run", model, learner_spec("plain"))


@pytest.fixture
def damaged(trained: TrainedRun, tmp_path: Path) -> Path:
    """A copy to be spoilt."""
    return shutil.copytree(trained.run.path, tmp_path / "damaged")


def prorl(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(("engine", "stage"), ENGINES)
def test_transformers_loads_the_very_policy_whatever_wrote_it(
    model: Path, tmp_path: Path, engine: str, stage: int, precision: str
) -> None:
    made = TrainedRun(tmp_path / "run", model, learner_spec(engine, stage=stage, precision=precision))
    for checkpoint, wanted in (("best", made.best), ("last", made.last), ("step-4", made.last)):
        result = prorl("export", made.run.path, "--checkpoint", checkpoint, "--output", tmp_path / checkpoint)
        assert result.exit_code == 0, result.output
        exported, tokenizer = loaded(tmp_path / checkpoint)
        assert is_same(exported, wanted)
        assert exported.dtype == getattr(torch, precision)
        assert tokenizer.chat_template is not None
        assert exported.generation_config.eos_token_id == 1
    assert not is_same(loaded(tmp_path / "best")[0], made.last)


def test_weights_with_a_head_of_its_own_are_exported_too(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base", tie_word_embeddings=False)
    made = TrainedRun(tmp_path / "run", base, learner_spec("plain"))
    assert prorl("export", made.run.path, "--checkpoint", "last", "--output", tmp_path / "out").exit_code == 0
    assert is_same(loaded(tmp_path / "out")[0], made.last)


def test_the_card_and_the_record_say_where_the_model_comes_from(trained: TrainedRun, tmp_path: Path) -> None:
    assert prorl("export", trained.run.path, "--output", tmp_path / "out").exit_code == 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert "the base model's card" not in card
    for words in (
        "# demo, step 2",
        "| sums | 0.250 | 0.750 |",
        "reasoning-gym: chain_sum",
        "4 prompts × 4 completions",
    ):
        assert words in card
    assert not {*ABOUT_THE_BASE} & {path.name for path in (tmp_path / "out").iterdir()}
    assert (tmp_path / "out" / "notes.json").is_file()
    assert "None up to this step" in card, "the reset after step 2 has not touched the policy of step 2"
    record = ExportRecord.model_validate_json((tmp_path / "out" / "prorl.json").read_text())
    assert (record.job, record.run_uid, record.checkpoint, record.step) == ("demo", "01RUN", "best", 2)
    assert record.accuracy == 0.75
    assert prorl("export", trained.run.path, "--checkpoint", "last", "--output", tmp_path / "last").exit_code == 0
    assert (
        "| 2 | KL averaged 0.55 nats \\| above 0.25 | `eeeeeeeeeeeeeeee` |"
        in (tmp_path / "last" / "README.md").read_text()
    )


@pytest.mark.parametrize("stop", [[], ["\n", '"']])
def test_the_code_on_the_card_runs_and_stops_where_training_did(
    damaged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stop: list[str]
) -> None:
    manifest = RunFolder(damaged).effective_manifest
    document = json.loads(manifest.read_text())
    document["spec"].setdefault("rollout", {})["stop"] = stop
    manifest.write_text(json.dumps(document))
    assert prorl("export", damaged, "--output", tmp_path / "out").exit_code == 0
    code = (tmp_path / "out" / "README.md").read_text().split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path / "out")
    exec(compile(code, "card", "exec"), {})
    assert capsys.readouterr().out.endswith("\n")
    assert ("stop_strings" in code) == bool(stop)


def test_a_checkpoint_that_is_not_there_is_answered_with_those_that_are(trained: TrainedRun, tmp_path: Path) -> None:
    for name, words in (
        ("step-7", "one of step-4"),
        ("newest", "best, last, or step-4"),
        ("step-", "one of step-4"),
        ("step-²", "one of step-4"),
        ("step-4/../..", "one of step-4"),
    ):
        result = prorl("export", trained.run.path, "--checkpoint", name, "--output", tmp_path / "out")
        assert result.exit_code == 1
        assert words in result.output
        assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_is_left_as_it_is(trained: TrainedRun, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    assert prorl("export", trained.run.path, "--output", taken).exit_code == 0, "an empty folder is free"
    before = {path.name: path.stat().st_mtime_ns for path in taken.iterdir()}
    result = prorl("export", trained.run.path, "--output", taken)
    assert result.exit_code == 1
    assert "is not empty" in result.output
    assert {path.name: path.stat().st_mtime_ns for path in taken.iterdir()} == before
    (tmp_path / "file").touch()
    assert "is a file" in prorl("export", trained.run.path, "--output", tmp_path / "file").output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "taken"]


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:5000])


def _move_model(run: Path) -> None:
    text = (run / "effective.json").read_text()
    job = json.loads(text)
    (run / "effective.json").write_text(text.replace(job["spec"]["model"]["path"], "/nowhere/model"))


WRITTEN = "rank-00000-of-00001.safetensors"
DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no checkpoint": (lambda run: (run / "CURRENT").unlink(), "at least one checkpoint"),
    "a torn CURRENT": (lambda run: (run / "CURRENT").write_text('{"attempt": 1, "st'), "is damaged"),
    "another version's state": (
        lambda run: (run / "attempts/1/checkpoints/step-4/checkpoint.json").write_text('{"steps": 4}'),
        "cannot be read",
    ),
    "torn weights": (lambda run: _cut(run / "attempts/1/checkpoints/step-4/engine" / WRITTEN), "copy the run again"),
    "no weights": (
        lambda run: (run / "attempts/1/checkpoints/step-4/engine" / WRITTEN).unlink(),
        "take --checkpoint best",
    ),
    "no manifest": (lambda run: (run / "effective.json").unlink(), "--model FOLDER"),
    "a manifest of another version": (
        lambda run: (run / "effective.json").write_text('{"apiVersion": "prorl.dev/v9", "kind": "ProRLJob"}'),
        "a manifest that this version reads",
    ),
    "a base model that has moved": (_move_model, "--model FOLDER"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_missing_is_said_with_a_remedy_and_nothing_is_left(damaged: Path, tmp_path: Path, damage: str) -> None:
    spoil, words = DAMAGES[damage]
    spoil(damaged)
    result = prorl("export", damaged, "--checkpoint", "last", "--output", tmp_path / "out")
    assert result.exit_code in (1, 64)
    assert words in " ".join(result.output.split())
    assert not list(tmp_path.glob("out*"))


def test_a_best_policy_with_other_bytes_is_refused(damaged: Path, tmp_path: Path) -> None:
    for file in damaged.glob("references/*/model.safetensors"):
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    assert "is damaged" in prorl("export", damaged, "--output", tmp_path / "out").output
    assert not (tmp_path / "out").exists()


def test_another_models_folder_is_refused_and_the_right_one_replaces_a_lost_manifest(
    damaged: Path, model: Path, tmp_path: Path
) -> None:
    (damaged / "effective.json").unlink()
    other = write_model(tmp_path / "other", hidden_size=32)
    result = prorl("export", damaged, "--output", tmp_path / "out", "--model", other)
    assert result.exit_code == 1
    assert "of another shape" in result.output
    assert prorl("export", damaged, "--output", tmp_path / "out", "--model", model).exit_code == 0
    assert "manifest was not in the run's folder" in (tmp_path / "out" / "README.md").read_text()


def test_what_a_killed_export_left_behind_is_in_nobodys_way(trained: TrainedRun, tmp_path: Path) -> None:
    left = tmp_path / "out.partial"
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")
    assert prorl("export", trained.run.path, "--checkpoint", "last", "--output", tmp_path / "out").exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert is_same(loaded(tmp_path / "out")[0], trained.last)


def test_a_place_that_cannot_be_written_is_named_and_nothing_is_left(trained: TrainedRun, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = prorl("export", trained.run.path, "--output", tmp_path / "file" / "out")
    assert result.exit_code == 1
    assert "choose another --output" in result.output
    with files_up_to(100_000):
        full = prorl("export", trained.run.path, "--output", tmp_path / "out")
    assert full.exit_code == 1
    assert "cannot write" in full.output
    assert "Nothing is left behind" in full.output
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@contextmanager
def files_up_to(num_bytes: int) -> Iterator[None]:
    """As a full disk: longer files cannot be written."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_large_weights_are_cut_into_files_with_an_index(
    trained: TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrained, "MAX_SHARD_SIZE", "100KB")
    assert prorl("export", trained.run.path, "--output", tmp_path / "out").exit_code == 0
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    files = {path.name for path in (tmp_path / "out").glob("*.safetensors")}
    assert len(files) > 1
    assert set(index["weight_map"].values()) == files
    assert is_same(loaded(tmp_path / "out")[0], trained.best)


@pytest.mark.parametrize("family", ["mixtral", "glm4-moe", "qwen3-moe"])
def test_fused_experts_and_buffers_come_out_as_the_base_model_has_them(family: str, tmp_path: Path) -> None:
    base = write_family(tmp_path / "base", family, seed=4)
    write_tokenizer(base)
    model, _ = loaded(base)
    weights = {name: tensor.detach() * 1.5 for name, tensor in model.named_parameters()}
    (tmp_path / "out").mkdir()
    pretrained.write_model(tmp_path / "out", base, weights)
    exported, _ = loaded(tmp_path / "out")
    assert is_same(exported, {name: tensor.float() for name, tensor in weights.items()})
    before, after = dict(model.named_buffers()), dict(exported.named_buffers())
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert stored_names(tmp_path / "out") == stored_names(base)


def stored_names(folder: Path) -> set[str]:
    return {name for file in folder.glob("*.safetensors") for name in load_file(file)}


def fake_hub(uploaded: dict[str, bytes], *, refuses: bool = False) -> FastAPI:
    """As much of a model hub as an upload needs, by its HTTP API."""
    app = FastAPI()

    @app.post("/api/repos/create")
    async def create(request: Request) -> Response:
        if refuses or request.headers["authorization"] != "Bearer good":
            return JSONResponse({"error": "no such token"}, status_code=401)
        assert (await request.json())["visibility"] == "private"
        return JSONResponse({"url": f"{request.base_url}me/demo"})

    @app.post("/api/validate-yaml")
    async def validate() -> dict[str, list[str]]:
        return {"errors": [], "warnings": []}

    @app.post("/api/models/me/demo/preupload/main")
    async def preupload(request: Request) -> dict[str, Any]:
        files = (await request.json())["files"]
        return {"files": [{"path": item["path"], "uploadMode": "regular", "shouldIgnore": False} for item in files]}

    @app.get("/api/models/me/demo/revision/main")
    async def revision() -> dict[str, str]:
        return {"id": "me/demo", "sha": "0" * 40}

    @app.post("/api/models/me/demo/commit/main")
    async def commit(request: Request) -> dict[str, str]:
        for line in (await request.body()).splitlines():
            item = json.loads(line)
            if item["key"] == "file":
                uploaded[item["value"]["path"]] = base64.b64decode(item["value"]["content"])
        return {"commitUrl": f"{request.base_url}me/demo/commit/1", "commitOid": "1", "pullRequestUrl": ""}

    return app


def test_a_push_brings_the_whole_folder_to_the_hub_or_says_why_not(
    trained: TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploaded: dict[str, bytes] = {}

    def pushed(name: str, endpoint: str, token: str) -> Result:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
        monkeypatch.setenv("HF_TOKEN", token)
        return prorl("export", trained.run.path, "--output", tmp_path / name, "--push", "me/demo")

    with served(fake_hub(uploaded)) as url:
        done = pushed("out", url, "good")
        assert done.exit_code == 0, done.output
        refused = pushed("other", url, "bad")
    assert {name: len(content) for name, content in uploaded.items()} == {
        path.name: path.stat().st_size for path in (tmp_path / "out").iterdir()
    }
    for failed, name in ((refused, "other"), (pushed("third", url, "good"), "third")):
        assert failed.exit_code == 1
        assert f"hf upload me/demo {tmp_path / name}" in failed.output
        assert is_same(loaded(tmp_path / name)[0], trained.best)


def test_without_a_token_nothing_is_written(
    trained: TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    result = prorl("export", trained.run.path, "--output", tmp_path / "out", "--push", "me/demo")
    assert "set HF_TOKEN" in result.output
    monkeypatch.setenv("HF_TOKEN", "good")
    assert (
        "name it OWNER/NAME"
        in prorl("export", trained.run.path, "--output", tmp_path / "out", "--push", "a/b/c").output
    )
    assert list(tmp_path.iterdir()) == []
