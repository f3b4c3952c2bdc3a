"""The toy world's base model: what it is taught, and that a killed training ends as one that was not."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
import torch


def _script() -> Any:
    path = Path(__file__).parents[2] / "examples/prepare_toy_model.py"
    spec = importlib.util.spec_from_file_location("prepare_toy_model", path)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


toy = _script()
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


def test_worked_solutions_alone_are_learnt() -> None:
    world = MICRO.world()
    chains = [world.item([1], "x", 0), world.item([2], "x", 0)]
    tokenizer = toy.tokenizer_of(world)
    ids, mask, labels = toy.batch_of(chains, tokenizer)
    for row, chain in enumerate(chains):
        taught = [token for token in labels[row].tolist() if token != -100]
        assert tokenizer.decode(taught) == f"{chain.worked}<end>"
        assert tokenizer.decode(ids[row][mask[row] == 1]) == f"{chain.question}<think>{chain.worked}<end>"


def test_nothing_but_depths_one_and_two_is_taught() -> None:
    world = MICRO.world()
    assert {len(world.item(toy.DEPTHS, "pre-training", index).names) for index in range(500)} == {1, 2}


def test_thoughts_stay_in_the_text_that_judges_see() -> None:
    tokenizer = toy.tokenizer_of(MICRO.world())
    ids = tokenizer("Aabc</think>abc<end>")["input_ids"]
    assert len(ids) == 9
    assert tokenizer.decode(ids, skip_special_tokens=True) == "Aabc</think>abc"


@pytest.mark.parametrize(("step", "share"), [(0, 0.01), (49, 0.4926), (600, 0.1)])
def test_the_learning_rate_warms_up_and_falls_to_a_tenth(step: int, share: float) -> None:
    # Half a cosine: at step 49 of 600 the cosine has taken 0.45 (1 - cos(49 pi / 600)) = 1.47 %.
    assert toy.learning_rate(step, toy.SIZES["tiny"]) == pytest.approx(
        share * toy.SIZES["tiny"].learning_rate, rel=0.01
    )
