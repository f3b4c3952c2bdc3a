"""A run goes on with what it began with, wherever that lies now; with nothing else."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from prorl_api.errors import SpecError
from prorl_api.manifest import read_job
from prorl_api.model.digest import weights_digest
from prorl_api.run_folder import RunFolder
from prorl_cli.local.run import RunRequest, run_job
from tests.model_folder import write_model_files

ROW = {"question": "What is 1 + 1?", "answer": "2"}
REWARD = "def judge(prompt, completion, row):\n    return 1.0\n"


@dataclass
class Bench:
    """A suspended job: a start judges and adopts its manifest, and runs nothing."""

    folder: Path
    sources: list[dict[str, Any]] = field(
        default_factory=lambda: [
            {"name": "rows", "domain": "math", "jsonl": "./rows.jsonl"},
            {"name": "own", "domain": "custom", "jsonl": "./rows.jsonl", "reward": "judging:judge"},
        ]
    )
    model: str = "./model"
    local: dict[str, Any] = field(default_factory=dict)

    def start(self, model: str | None = None) -> str:
        """What `prorl run` says; with `--model` if given."""
        spec = {
            "model": {"path": self.model},
            "data": {"sources": self.sources},
            "learner": {"promptsPerStep": 8, "minibatchPrompts": 4},
            "referenceReset": {"mode": "disabled"},
            "suspend": True,
            "local": self.local,
        }
        head = {"apiVersion": "prorl.dev/v1alpha1", "kind": "ProRLJob", "metadata": {"name": "moved"}}
        (self.folder / "job.yaml").write_text(yaml.safe_dump({**head, "spec": spec}))
        said = io.StringIO()
        request = RunRequest(
            manifest=self.folder / "job.yaml",
            run_dir=self.folder / "run",
            model=model,
            is_plain=True,
            has_report=False,
        )
        assert run_job(request, Console(file=said, width=400)) == 0
        return said.getvalue()

    def move(self, name: str, place: str) -> str:
        """Move a file or folder; its new path."""
        (self.folder / place).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).rename(self.folder / place)
        return f"./{place}"

    def runs_with(self) -> str:
        """The model that runs."""
        return read_job(RunFolder(self.folder / "run").effective_manifest).spec.model.path


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    write_model_files(tmp_path / "model")
    (tmp_path / "rows.jsonl").write_text(json.dumps(ROW) + "\n")
    (tmp_path / "judging.py").write_text(REWARD)
    return Bench(tmp_path)


def correct_the_path(bench: Bench, place: str) -> None:
    bench.model = place
    bench.start()


def say_it_on_the_command_line(bench: Bench, place: str) -> None:
    bench.start(model=str(bench.folder / place))


def overlay_it(bench: Bench, place: str) -> None:
    bench.local = {"modelPath": place}
    bench.start()


REMEDIES = [correct_the_path, say_it_on_the_command_line, overlay_it]
Remedy = Callable[[Bench, str], None]


@pytest.mark.parametrize("remedy", REMEDIES)
@pytest.mark.parametrize("begins_with_option", [False, True])
def test_a_moved_model_is_taken_wherever_it_is_said_to_lie(
    bench: Bench, remedy: Remedy, *, begins_with_option: bool
) -> None:
    bench.start(model=str(bench.folder / "model") if begins_with_option else None)
    place = bench.move("model", "elsewhere/model")
    with pytest.raises(SpecError, match="which is no folder"):
        bench.start()
    remedy(bench, place)
    assert bench.runs_with() == str(bench.folder / "elsewhere" / "model")
    bench.start()  # and it holds for later starts
    assert bench.runs_with() == str(bench.folder / "elsewhere" / "model")


@pytest.mark.parametrize("remedy", REMEDIES)
def test_a_model_with_other_weights_is_refused(bench: Bench, remedy: Remedy) -> None:
    bench.start()
    content = (write_model_files(bench.folder / "other") / "model.safetensors").read_bytes()
    (bench.folder / "other" / "model.safetensors").write_bytes(content[:-1] + b"\x01")
    with pytest.raises(SpecError) as caught:
        remedy(bench, "./other")
    (fault,) = caught.value.faults
    assert fault.path == "spec.model.path"
    assert "other weights than those that this run began with" in fault.got
    assert "--run-dir" in fault.want


def test_a_model_that_was_replaced_in_its_place_is_refused(bench: Bench) -> None:
    bench.start()
    path = bench.folder / "model" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(SpecError, match="other weights"):
        bench.start()


def test_moved_data_and_reward_functions_are_known_again(bench: Bench) -> None:
    bench.start()
    for source in bench.sources:
        source["jsonl"] = "./data/other-name.jsonl"
    bench.move("rows.jsonl", "data/other-name.jsonl")
    bench.sources[1]["reward"] = f"{bench.move('judging.py', 'code/judges.py')}:judge"
    assert "changed since the last start: spec.data.sources" in bench.start()
    assert "changed" not in bench.start()


@pytest.mark.parametrize("changed", ["rows.jsonl", "judging.py", "function"])
def test_other_content_elsewhere_is_refused(bench: Bench, changed: str) -> None:
    bench.start()
    (bench.folder / "rows2.jsonl").write_text(json.dumps(ROW | {"answer": "3"}) + "\n")
    (bench.folder / "judging2.py").write_text(REWARD + "\n\ndef other(prompt, completion, row):\n    return 0.0\n")
    if changed == "rows.jsonl":
        bench.sources[0]["jsonl"] = "./rows2.jsonl"
    else:
        bench.sources[1]["reward"] = "judging2:judge" if changed == "judging.py" else "judging2:other"
    with pytest.raises(SpecError, match="fixed once a run has begun"):
        bench.start()


def safetensors(path: Path, tensors: dict[str, bytes]) -> None:
    header, end = {}, 0
    for name, data in tensors.items():
        header[name] = {"dtype": "U8", "shape": [len(data)], "data_offsets": [end, end + len(data)]}
        end += len(data)
    text = json.dumps(header).encode()
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(tensors.values()))


def test_weights_have_one_digest_however_they_are_sharded(tmp_path: Path) -> None:
    first, second = bytes(range(256)) * 64, bytes(50_000)
    safetensors(tmp_path / "whole" / "model.safetensors", {"b": second, "a": first})
    safetensors(tmp_path / "parts" / "model-00001-of-00002.safetensors", {"a": first})
    safetensors(tmp_path / "parts" / "model-00002-of-00002.safetensors", {"b": second})
    assert weights_digest(tmp_path / "whole") == weights_digest(tmp_path / "parts")


@pytest.mark.parametrize("position", [0, 24_999, 49_999])
def test_a_change_at_either_end_or_in_the_middle_of_a_tensor_changes_the_digest(tmp_path: Path, position: int) -> None:
    data = bytearray(50_000)
    safetensors(tmp_path / "one" / "model.safetensors", {"a": bytes(data)})
    data[position] = 1
    safetensors(tmp_path / "two" / "model.safetensors", {"a": bytes(data)})
    assert weights_digest(tmp_path / "one") != weights_digest(tmp_path / "two")


def test_names_types_and_shapes_belong_to_the_digest_and_files_that_are_none_have_none(tmp_path: Path) -> None:
    safetensors(tmp_path / "one" / "model.safetensors", {"a": b"12345678"})
    safetensors(tmp_path / "two" / "model.safetensors", {"b": b"12345678"})
    assert weights_digest(tmp_path / "one") != weights_digest(tmp_path / "two")
    (tmp_path / "one" / "model.safetensors").write_bytes(b"no such file")
    assert weights_digest(tmp_path / "one") is None
    assert weights_digest(tmp_path / "nowhere") is None
