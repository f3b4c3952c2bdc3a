"""Faults that starting again cannot mend are found before anything is trained, each with its path and a remedy.

The folders are real: a tiny model as `save_pretrained` writes it, with one thing wrong.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from prorl_api.errors import SpecError
from prorl_api.model.folder import look_at
from prorl_trainer.engines.build import load_policy
from prorl_trainer.preflight import prepare
from prorl_trainer.storage.lines import LineFile
from tests.integration.tiny_model import write_model, write_tokenizer
from tests.unit.trainer.trainer_builders import make_spec

Damage = Callable[[Path], object]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def model(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "model")
    return tmp_path / "model"


def rows(folder: Path, *lines: object) -> dict[str, Any]:
    (folder / "rows.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return {"name": "own", "domain": "math", "jsonl": "rows.jsonl", "heldOut": 1}


def good_row(number: int) -> dict[str, Any]:
    return {"prompt": f"What is {number} + 1?", "row": {"answer": str(number + 1)}}


def look(model: Path, folder: Path, sources: list[dict[str, Any]] | None = None, **spec: Any) -> None:
    """Judge a job as the learner does, then load the model as it does."""
    sources = sources or [rows(folder, *map(good_row, range(20)))]
    sections = {"rollout": {"maxPromptTokens": 64, "maxCompletionTokens": 64}, **spec}
    made = make_spec(data={"sources": sources}, **sections)
    prepare(made, model, folder, LineFile(folder / "prompts.jsonl"), has_checkpoint=False)
    load_policy(str(model), made.learner, torch.device("cpu"))


def faults(model: Path, folder: Path, sources: list[dict[str, Any]] | None = None, **spec: Any) -> str:
    with pytest.raises(SpecError) as caught:
        look(model, folder, sources, **spec)
    return str(caught.value)


def edit(name: str, **changes: Any) -> Damage:
    """Set keys of a JSON file; None takes one out."""

    def change(folder: Path) -> None:
        value = json.loads((folder / name).read_text()) | changes
        (folder / name).write_text(json.dumps({key: one for key, one in value.items() if one is not None}))

    return change


def write(name: str, content: bytes) -> Damage:
    return lambda folder: (folder / name).write_bytes(content)


def cut(name: str, keep: float) -> Damage:
    def shorten(folder: Path) -> None:
        os.truncate(folder / name, int((folder / name).stat().st_size * keep))

    return shorten


def remove(*names: str) -> Damage:
    def take_out(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return take_out


def several(*damages: Damage) -> Damage:
    return lambda folder: [damage(folder) for damage in damages]


def quantised(folder: Path) -> None:
    edit("config.json", quantization_config={"quant_method": "gptq", "bits": 4})(folder)


DAMAGES: dict[str, tuple[Damage, tuple[str, ...]]] = {
    "no chat template": (
        remove("chat_template.jinja"),
        ("spec.data.sources[0].prompt.chat", "without a chat template", "`prompt: {chat: false}`"),
    ),
    "a chat template that fails": (
        write("chat_template.jinja", b"{{ raise_exception('only two turns') }}"),
        ("spec.data.sources[0].prompt.chat", "only two turns", "`chat: false`"),
    ),
    "a chat template that is no template": (
        write("chat_template.jinja", b"{% for message in %}"),
        ("spec.data.sources[0].prompt.chat", "a template that renders"),
    ),
    "weights half copied": (cut("model.safetensors", 0.5), ("model.safetensors", "the copy is not whole", "again")),
    "weights of a few bytes": (cut("model.safetensors", 0.0001), ("model.safetensors", "copy it again")),
    "no byte of the weights": (write("model.safetensors", b""), ("model.safetensors", "copy it again")),
    "weights that are a web page": (
        write("model.safetensors", b"<!DOCTYPE html><html>" * 20),
        ("model.safetensors", "no safetensors file"),
    ),
    "weights left on Git LFS": (
        write("model.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        ("model.safetensors", "Git LFS", "git lfs pull"),
    ),
    "a part that the index names is missing": (
        several(
            lambda folder: (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors"),
            write(
                "model.safetensors.index.json",
                json.dumps(
                    {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
                ).encode(),
            ),
        ),
        ("model-00002-of-00002.safetensors", "all its files"),
    ),
    "an index that is no index": (
        write("model.safetensors.index.json", b"[]"),
        ("model.safetensors.index.json", "no index of weights"),
    ),
    "weights of another size": (
        edit("config.json", hidden_size=32, head_dim=8),
        ("spec.model.path", "belong together"),
    ),
    "weights of another architecture": (
        edit("config.json", model_type="gpt_neox", architectures=["GPTNeoXForCausalLM"]),
        ("spec.model.path",),
    ),
    "fewer layers in the weights than in the configuration": (
        edit("config.json", num_hidden_layers=3),
        ("its weights lack", "model.layers.2", "of the same model"),
    ),
    "an architecture that nobody knows": (edit("config.json", model_type="frobnicator"), ("frobnicator",)),
    "an architecture whose code comes with it": (
        edit(
            "config.json", model_type="own", auto_map={"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}
        ),
        ("spec.model.path", "custom code"),
    ),
    "an architecture that is no language model": (
        edit("config.json", model_type="vit", architectures=["ViTModel"]),
        ("spec.model.path",),
    ),
    "an architecture without a name": (edit("config.json", model_type=None), ("config.json", "no `model_type`")),
    "a configuration that is no JSON": (write("config.json", b"{hidden_size: 64}"), ("config.json", "no JSON")),
    "a configuration that is a list": (write("config.json", b"[1]"), ("config.json", "a JSON list")),
    "an empty configuration": (write("config.json", b""), ("config.json", "no JSON")),
    "a configuration that is no text": (write("config.json", b"\xff\xfe\x00"), ("config.json", "no UTF-8")),
    "no configuration": (remove("config.json"), ("without config.json", "a complete folder")),
    "quantised weights": (quantised, ("quantised (gptq)", "before they were quantised")),
    "an adapter": (
        several(remove("config.json"), write("adapter_config.json", b"{}")),
        ("without config.json", "merge_and_unload"),
    ),
    "no tokenizer": (
        remove("tokenizer.json", "tokenizer_config.json"),
        ("a tokenizer (tokenizer.json)", "a complete folder"),
    ),
    "a tokenizer without its vocabulary": (remove("tokenizer.json"), ("spec.model.path", "tokenizer")),
    "a tokenizer half copied": (cut("tokenizer.json", 0.7), ("tokenizer.json", "no JSON", "copy it again")),
    "a tokenizer of another version": (
        edit("tokenizer.json", model={"type": "Frobnicated"}),
        ("spec.model.path", "tokenizer"),
    ),
    "a tokenizer that knows more than the model": (
        lambda folder: write_tokenizer(folder, extra_tokens=5),
        ("token id 132", "128 embeddings", "belong together"),
    ),
    "no end token": (edit("tokenizer_config.json", eos_token=None), ("without an end token", "`eos_token`")),
    "sequences longer than the model's": (
        edit("config.json", max_position_embeddings=100),
        ("spec.rollout.maxCompletionTokens", "64 tokens of prompt + 64 of completion = 128", "lower it to at most 36"),
    ),
    "prompts longer than the model's sequences": (
        edit("config.json", max_position_embeddings=40),
        ("spec.rollout.maxCompletionTokens", "at most 40", "maxPromptTokens"),
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_model_that_cannot_be_trained_is_refused_with_path_and_remedy(name: str, model: Path, tmp_path: Path) -> None:
    damage, wanted = DAMAGES[name]
    damage(model)
    text = faults(model, tmp_path)
    for part in wanted:
        assert part in text
    assert str(model) in text or "spec.data" in text or "belong together" in text


def test_a_whole_model_is_taken(model: Path, tmp_path: Path) -> None:
    look(model, tmp_path)


def test_what_a_folder_holds_beside_the_model_does_not_matter(model: Path, tmp_path: Path) -> None:
    (model / "README.md").write_text("A model.")
    (model / "training_args.bin").write_bytes(b"no weights")
    (model / "onnx").mkdir()
    look(model, tmp_path)


def test_scaled_positions_count(model: Path, tmp_path: Path) -> None:
    rope = {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}
    edit("config.json", max_position_embeddings=40, rope_parameters=rope)(model)
    look(model, tmp_path)


def test_a_model_without_chat_template_is_taken_where_no_source_asks_for_one(model: Path, tmp_path: Path) -> None:
    remove("chat_template.jinja")(model)
    source = {**rows(tmp_path, *map(good_row, range(20))), "prompt": {"chat": False}}
    look(model, tmp_path, [source])


def test_a_template_without_system_messages_is_named_at_the_field_that_asks_for_one(
    model: Path, tmp_path: Path
) -> None:
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}hello"
    (model / "chat_template.jinja").write_text(refusing)
    source = {**rows(tmp_path, *map(good_row, range(20))), "prompt": {"system": "Be brief."}}
    assert "spec.data.sources[0].prompt.system" in faults(model, tmp_path, [source])


@pytest.mark.parametrize(
    ("lines", "spec", "wanted"),
    [
        ([{"question": "1 + 1?", "answer": "2"}] * 3, {}, ("rows.jsonl", "prompt")),
        ([good_row(1), good_row(2)], {"heldOut": 5}, ("2 rows", "heldOut = 5")),
        ([], {}, ("rows.jsonl", "at least one row")),
        ([[1, 2, 3]], {}, ("rows.jsonl:1", "one JSON object a line")),
        ([{"prompt": "long " * 30, "row": {"answer": "1"}}], {}, ("rows.jsonl:1", "spec.rollout.maxPromptTokens")),
    ],
)
def test_data_that_cannot_be_trained_on_is_refused(
    lines: list[Any], spec: dict[str, Any], wanted: tuple[str, ...], model: Path, tmp_path: Path
) -> None:
    text = faults(model, tmp_path, [{**rows(tmp_path, *lines), **spec}])
    for part in wanted:
        assert part in text


def test_a_misspelt_setting_of_a_generated_task_is_refused(model: Path, tmp_path: Path) -> None:
    task = {"name": "chain_sum", "config": {"min_term": 2}}
    text = faults(model, tmp_path, [{"name": "sums", "domain": "logic", "reasoningGym": {"tasks": [task]}}])
    assert "min_term" in text


def test_faults_of_model_and_data_come_together(model: Path, tmp_path: Path) -> None:
    cut("model.safetensors", 0.5)(model)
    source = rows(tmp_path, {"question": "1 + 1?"})
    spec = {"initFrom": {"run": str(tmp_path / "nowhere")}}
    text = faults(model, tmp_path, [source], **spec)
    for part in ("model.safetensors", "prompt", "spec.initFrom.run"):
        assert part in text


def test_a_checkpoint_of_another_run_that_is_not_there_is_refused(model: Path, tmp_path: Path) -> None:
    assert "spec.initFrom.run" in faults(model, tmp_path, initFrom={"run": str(tmp_path), "checkpoint": "step-7"})


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        (lambda folder: None, "which is no folder"),
        (lambda folder: folder.write_bytes(b""), "which is a file"),
        (lambda folder: folder.mkdir(), "without config.json"),
    ],
)
def test_a_path_that_leads_to_no_model_is_said_to(made: Damage, wanted: str, tmp_path: Path) -> None:
    made(tmp_path / "model")
    (fault,) = look_at(tmp_path / "model").faults
    assert fault.path == "spec.model.path"
    assert wanted in fault.got


def test_the_hub_cache_leads_to_its_snapshot(tmp_path: Path, whole: Path) -> None:
    snapshot = tmp_path / "models--owner--tiny" / "snapshots" / "abc"
    shutil.copytree(whole, snapshot)
    (fault,) = look_at(tmp_path / "models--owner--tiny").faults
    assert str(snapshot) in fault.want


def test_files_that_may_not_be_read_are_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may read everything, so the kernel's answer is given here.
    monkeypatch.setattr("os.access", lambda path, mode: path.name != "model.safetensors")
    (fault,) = look_at(model).faults
    assert f"whose model.safetensors user {os.getuid()} may not read" in fault.got
    assert "chmod a+r" in fault.want


def test_a_folder_that_may_not_be_read_is_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", refuse)
    (fault,) = look_at(model).faults
    assert "may read" in fault.got
    assert "chmod -R a+rX" in fault.want
