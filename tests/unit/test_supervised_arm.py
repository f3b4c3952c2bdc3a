"""The arm that is shown worked solutions: the run's own prompts, the loss by hand, and the same weights each time."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from prorl_api.manifest import read_job
from prorl_trainer.data.prompts import PromptSource, source_weights
from prorl_trainer.storage.lines import LineFile
from tests.unit.example_scripts import EXAMPLES, load_script

toy, supervised = load_script("prepare_toy_model"), load_script("supervised_arm")
MICRO = dataclasses.replace(toy.SIZES["tiny"], hidden_size=32, num_layers=1, num_heads=1, steps=1, batch=4)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prolonged run's, on a base of 10,000 parameters that knows nothing."""
    folder = tmp_path_factory.mktemp("examples")
    toy.Pretraining(MICRO, folder / "base").publish(folder / "base", {})
    text = (EXAMPLES / "prolonged.yaml").read_text().replace("../.cache/models/toy-tiny", "base")
    (folder / "prolonged.yaml").write_text(text)
    return folder / "prolonged.yaml"


def solutions(manifest: Path, store: Path, seed: int = 1) -> Any:
    job = read_job(manifest, (f"seed={seed}",))
    return supervised.Solutions(job, manifest.parent, AutoTokenizer.from_pretrained(manifest.parent / "base"), store)


def test_the_prompts_are_those_of_the_run_and_each_has_its_solution(manifest: Path, tmp_path: Path) -> None:
    job = read_job(manifest, ("seed=2",))
    tokenizer = AutoTokenizer.from_pretrained(manifest.parent / "base")
    of_run = PromptSource(job.spec, tokenizer, manifest.parent, LineFile(tmp_path / "run.jsonl"))
    prompts = of_run.take(0, 40, source_weights(job.spec)).prompts
    shown = solutions(manifest, tmp_path / "shown.jsonl", seed=2)
    examples = [*shown.take(24), *shown.take(16)]
    assert [example.prompt for example in examples] == [prompt.token_ids for prompt in prompts]
    world = MICRO.world()
    for example, prompt in zip(examples, prompts, strict=True):
        names, _, word = prompt.row["entry"]["question"].partition(":")
        text = tokenizer.decode(example.completion)
        for name in names:
            word = world.functions[name](word)
        assert text.endswith(f"</think>{prompt.row['entry']['answer']}<end>")
        assert prompt.row["entry"]["answer"] == word
    assert {prompt.source for prompt in prompts} == {f"depth-{depth}" for depth in (2, 3, 4, 5, 6)}


def test_the_loss_is_the_mean_over_the_tokens_of_completions_alone(manifest: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(manifest.parent / "base")
    examples = solutions(manifest, tmp_path / "shown.jsonl").take(5)
    assert len({len(example.completion) for example in examples}) > 1, "some are padded"
    taken = []
    for example in examples:
        logits = model(input_ids=torch.tensor([example.prompt + example.completion])).logits[0]
        for place, token in enumerate(example.completion):
            taken.append(-logits[len(example.prompt) + place - 1].log_softmax(-1)[token].item())
    loss = supervised.loss_of(model, examples, model.config.pad_token_id).item()
    assert loss == pytest.approx(sum(taken) / len(taken), rel=1e-5)


def test_it_learns_and_ends_with_the_same_weights_each_time(manifest: Path, tmp_path: Path) -> None:
    digests = []
    for name in ("one", "two"):
        supervised.run(manifest, tmp_path / name, 1, 12, [4])
        assert sorted(path.name for path in (tmp_path / name).glob("step-*")) == ["step-12", "step-4"]
        digests.append(load_script("prolonged").weights_digest(tmp_path / name / "step-12"))
    assert digests[0] == digests[1]
    base = AutoModelForCausalLM.from_pretrained(manifest.parent / "base")
    later = AutoModelForCausalLM.from_pretrained(tmp_path / "one/step-12")
    examples = solutions(manifest, tmp_path / "shown.jsonl").take(24)
    losses = [supervised.loss_of(model, examples, 0).item() for model in (base, later)]
    assert losses[1] < losses[0]


def test_sources_whose_solutions_are_not_known_are_refused() -> None:
    with pytest.raises(SystemExit, match="every source must be of kind `composition`"):
        supervised._world(None)
