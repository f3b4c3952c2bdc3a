"""`prorl chat` answers with the policy that was trained, prompted as it was trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from prorl_cli.main import app
from tests.integration.engine_kit import learner_spec
from tests.integration.tiny_model import write_model
from tests.integration.trained_run import TrainedRun, loaded

FORM = {"system": "be brief", "template": "Q: {question}", "assistantPrefix": "It is "}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    folder = tmp_path_factory.mktemp("chat")
    task = {"tasks": [{"name": "chain_sum"}]}
    sources = [
        {"name": "sums", "domain": "logic", "reasoningGym": task, "prompt": FORM},
        {"name": "bare", "domain": "logic", "reasoningGym": task, "prompt": {"chat": False}},
    ]
    return TrainedRun(folder / "run", write_model(folder / "base"), learner_spec("plain"), data={"sources": sources})


@pytest.fixture(scope="module")
def exported(trained: TrainedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "out"
    assert prorl("export", trained.run.path, "--output", folder).exit_code == 0
    return folder


def prorl(*arguments: object, typed: str = "") -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=typed)


@torch.no_grad()
def greedy(folder: Path, text: str, *, tokens: int = 8) -> str:
    """What transformers' model says next, one token after the other, without `generate`."""
    model, tokenizer = loaded(folder)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    begun = len(ids)
    while len(ids) < begun + tokens:
        ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] == tokenizer.eos_token_id:
            break
    said: str = tokenizer.decode(ids[begun:], skip_special_tokens=True)
    return said


def test_questions_are_put_as_in_training_and_the_policy_answers(exported: Path) -> None:
    result = prorl("chat", exported, "--prompt", "1 + 2?", "--prompt", "3 + 4?")
    assert result.exit_code == 0, result.output
    wanted = [
        "It is " + greedy(exported, f"system: be brief\nuser: Q: {question}\nassistant: It is ")
        for question in ("1 + 2?", "3 + 4?")
    ]
    assert result.output == "\n".join([*wanted, ""])


def test_a_run_answers_as_its_export_does(trained: TrainedRun, exported: Path) -> None:
    assert prorl("chat", trained.run.path, "--prompt", "1?").output == prorl("chat", exported, "--prompt", "1?").output


def test_other_ways_of_asking_can_be_chosen(exported: Path) -> None:
    other = prorl("chat", exported, "--prompt", "1?", "--system", "be long", "--max-tokens", "3")
    assert (
        other.output == "It is " + greedy(exported, "system: be long\nuser: Q: 1?\nassistant: It is ", tokens=3) + "\n"
    )
    bare = prorl("chat", exported, "--prompt", "1?", "--source", "bare")
    assert bare.output == greedy(exported, "1?") + "\n"
    unknown = prorl("chat", exported, "--prompt", "1?", "--source", "poems")
    assert unknown.exit_code == 64
    assert "sums, bare" in unknown.output


def test_a_pipe_is_answered_line_by_line(exported: Path) -> None:
    piped = prorl("chat", exported, typed="1?\n\n2?\n")
    assert piped.output == prorl("chat", exported, "--prompt", "1?", "--prompt", "2?").output


def test_sampling_repeats_with_a_seed_and_differs_with_another(exported: Path) -> None:
    def sampled(seed: int) -> str:
        return prorl("chat", exported, "--prompt", "1?", "--temperature", "2", "--seed", seed).output

    assert sampled(1) == sampled(1)
    assert len({sampled(seed) for seed in range(4)}) > 1


def test_any_model_folder_is_asked_through_its_chat_template(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "other")
    result = prorl("chat", folder, "--prompt", "1?", "--max-tokens", "5")
    assert result.output == greedy(folder, "user: 1?\nassistant: ", tokens=5) + "\n"


def test_what_cannot_be_asked_is_said(exported: Path, tmp_path: Path) -> None:
    assert "holds neither a run" in prorl("chat", tmp_path, "--prompt", "1?").output
    assert "and the model reads 512" in prorl("chat", exported, "--prompt", "1" * 600).output
    (tmp_path / "run.json").touch()
    assert "at least one checkpoint" in prorl("chat", tmp_path, "--prompt", "1?").output
