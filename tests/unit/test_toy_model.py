"""The toy world's base model: what it is taught, and that a killed training ends as one that was not."""

from __future__ import annotations

import dataclasses
import json
import types
from pathlib import Path
from typing import Any

import pytest
import torch

from prorl_api.model.digest import weights_digest
from tests.unit.example_scripts import EXAMPLES, load_script

toy = load_script("prepare_toy_model")
MICRO = dataclasses.replace(toy.SIZES["tiny"], hidden_size=32, num_layers=1, num_heads=1, steps=6, batch=4)


def weights(work: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in work.model.state_dict().items()}


def test_a_killed_training_goes_on_as_if_it_had_not_been(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy, "_SECONDS_BETWEEN_STATES", 0.0)
    whole = toy.Pretraining(MICRO, tmp_path / "whole")
    losses = [loss for _, loss in whole.run()]
    killed = toy.Pretraining(MICRO, tmp_path / "killed")
    # Asking for the fourth step writes the state behind the third; the fourth is lost.
    first = [loss for _, (_, loss) in zip(range(4), killed.run(), strict=False)]
    resumed = toy.Pretraining(MICRO, tmp_path / "killed")
    assert resumed.step == 3
    assert first[:3] + [loss for _, loss in resumed.run()] == losses
    assert all(torch.equal(value, weights(whole)[name]) for name, value in weights(resumed).items())


def test_the_state_of_other_settings_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy, "_SECONDS_BETWEEN_STATES", 0.0)
    list(toy.Pretraining(MICRO, tmp_path / "model").run())
    with pytest.raises(SystemExit, match="state of other settings"):
        toy.Pretraining(dataclasses.replace(MICRO, steps=7), tmp_path / "model")


def test_labels_stand_where_a_lesson_has_them() -> None:
    tokenizer = toy.tokenizer_of(MICRO.world())
    vocabulary = tokenizer.get_vocab()
    rows = [[toy.Token("A", None), toy.Token("b", "c")], [toy.Token("a", "a")]]
    ids, labels = toy.batch_of(rows, vocabulary)
    assert ids.tolist() == [[vocabulary["A"], vocabulary["b"]], [vocabulary["a"], vocabulary["<pad>"]]]
    assert labels.tolist() == [[-100, vocabulary["c"]], [vocabulary["a"], -100]]


def test_every_token_of_a_lesson_and_of_a_question_is_known() -> None:
    world, tokenizer = MICRO.world(), toy.tokenizer_of(MICRO.world())
    texts = {token.text for index in range(200) for token in toy.lesson(world, 6, 0.5, index)}
    assert texts <= tokenizer.get_vocab().keys()
    assert tokenizer.unk_token_id not in tokenizer("AB-:abcd<think>")["input_ids"]


def test_a_probe_counts_right_answers_alone() -> None:
    """A model that is right about the first item and writes what it has for the others."""
    world, tokenizer = MICRO.world(), toy.tokenizer_of(MICRO.world())
    first = world.item([2], "probe-2", 0)

    class Known:
        def generate(self, ids: torch.Tensor, **_: Any) -> torch.Tensor:
            written = torch.tensor(tokenizer(f"{first.worked}<end>")["input_ids"])
            return torch.cat([ids, written.repeat(len(ids), 1)], dim=1)

    same = [world.item([2], "probe-2", index).answer == first.answer for index in range(64)]
    assert toy.solved(Known(), tokenizer, world, 2, 3) == 3 * sum(same)
    assert same[0]
    assert sum(same) < 64


def test_the_probability_of_a_solution_is_the_product_over_its_tokens() -> None:
    """A model that gives the token due a tenth, by its own shares of logits, and all others the rest."""
    world, tokenizer = MICRO.world(), toy.tokenizer_of(MICRO.world())
    size = len(tokenizer)

    class Tenth:
        def __call__(self, input_ids: torch.Tensor) -> Any:
            shares = torch.full((*input_ids.shape, size), 0.9 / (size - 1))
            shares[:, :-1].scatter_(-1, input_ids[:, 1:, None], 0.1)
            return types.SimpleNamespace(logits=shares.log() + 3.0)

    # Depth 2 with words of 4: two names and two words, the thought's end, the answer, the end: 16 tokens.
    assert toy.likelihood(Tenth(), tokenizer, world, 2) == pytest.approx(1e-16, rel=1e-3)


def test_thoughts_stay_in_the_text_that_judges_see() -> None:
    tokenizer = toy.tokenizer_of(MICRO.world())
    ids = tokenizer("Aabc</think>abc<end>")["input_ids"]
    assert len(ids) == 9
    assert tokenizer.decode(ids, skip_special_tokens=True) == "Aabc</think>abc"


@pytest.mark.parametrize(("step", "share"), [(0, 0.01), (49, 0.4959), (800, 0.1)])
def test_the_learning_rate_warms_up_and_falls_to_a_tenth(step: int, share: float) -> None:
    # Half a cosine: at step 49 of 800 the cosine has taken 0.45 (1 - cos(49 pi / 800)) = 0.83 %.
    assert toy.learning_rate(step, toy.SIZES["tiny"]) == pytest.approx(
        share * toy.SIZES["tiny"].learning_rate, rel=0.01
    )


@pytest.mark.parametrize(("step", "persistence"), [(0, 0.5), (479, 0.5), (480, 0.05), (799, 0.05)])
def test_teachers_become_lazy_after_three_fifths_of_the_steps(step: int, persistence: float) -> None:
    assert toy.SIZES["tiny"].persistence_at(step) == persistence


def test_the_persistence_of_a_step_is_that_of_its_lessons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[float, int]] = []

    def noted(world: Any, longest: int, persistence: float, index: int) -> list[Any]:
        seen.append((persistence, index))
        taught: list[Any] = lesson(world, longest, persistence, index)
        return taught

    lesson = toy.lesson
    monkeypatch.setattr(toy, "lesson", noted)
    list(toy.Pretraining(MICRO, tmp_path / "model").run())
    assert seen == [(0.5, index) for index in range(16)] + [(0.05, index) for index in range(16, 24)]


def test_the_kept_base_is_the_one_that_the_kept_runs_began_with() -> None:
    folder = EXAMPLES.parent / "docs/results/prolonged"
    stored = json.loads((folder / "base.json").read_text())["base"]
    assert weights_digest(folder / "base") == stored
    assert json.loads((folder / "base/world.json").read_text()) == dataclasses.asdict(toy.SIZES["tiny"])
    assert {json.loads(path.read_text())["base"] for path in folder.glob("*-seed-*.json")} == {stored}
