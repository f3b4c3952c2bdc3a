"""Validation: what a repeated one takes from the journal, and what it does not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from prorl_api.spec.run import ValidationSource
from prorl_trainer.validation import ValidationResult, validate
from tests.unit.trainer.test_sampling import Bench, Rewards
from tests.unit.trainer.trainer_builders import WEIGHTS, make_prompt, make_spec

WANTED = ValidationSource(name="sums", size=4)


def odd_ones(index: int) -> list[float | None]:
    return [float(index % 2)]


def run(bench: Bench, *, step: int = 3, digest: str | None = None, **edited: Any) -> ValidationResult | None:
    spec = make_spec(**{"validation": {"samplesPerPrompt": 1}, **edited})
    weights = WEIGHTS if digest is None else WEIGHTS.model_copy(update={"digest": digest})
    held_out = {WANTED: [make_prompt(index) for index in range(4)]}
    return asyncio.run(validate(bench.batch_sampler, bench.journal, spec, held_out, step, weights))


def test_accuracy_is_the_mean_over_all_samples(tmp_path: Path) -> None:
    result = run(Bench(tmp_path, odd_ones))
    assert result is not None
    assert result.accuracy == 0.5
    assert result.by_source == {"sums": 0.5}


def test_a_repeated_validation_of_the_same_weights_is_read_back(tmp_path: Path) -> None:
    first = run(Bench(tmp_path, odd_ones))
    again = Bench(tmp_path, lambda _: [1.0])
    assert run(again) == first
    assert again.asked == []


@pytest.mark.parametrize(("step", "digest"), [(4, None), (3, "f" * 64)])
def test_another_step_and_other_weights_are_validated_anew(tmp_path: Path, step: int, digest: str | None) -> None:
    run(Bench(tmp_path, odd_ones))
    again = Bench(tmp_path, lambda _: [1.0])
    result = run(again, step=step, digest=digest)
    assert result is not None
    assert result.accuracy == 1.0
    assert sorted(again.asked) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "edited",
    [
        {"rollout": {"stop": ["END"]}},
        {"rollout": {"maxCompletionTokens": 12}},
        {"validation": {"samplesPerPrompt": 2}},
        {"validation": {"samplesPerPrompt": 1, "temperature": 0.1}},
        {"validation": {"samplesPerPrompt": 1, "topP": 0.5}},
    ],
)
def test_a_validation_that_is_sampled_otherwise_is_made_anew(tmp_path: Path, edited: dict[str, Any]) -> None:
    run(Bench(tmp_path, lambda _: [0.0, 0.0]))
    again = Bench(tmp_path, lambda _: [1.0, 1.0])
    result = run(again, **edited)
    assert result is not None
    assert (result.accuracy, sorted(again.asked)) == (1.0, [0, 1, 2, 3])


def test_what_the_judge_failed_on_is_asked_for_again(tmp_path: Path) -> None:
    failing: Rewards = lambda index: [None if index == 2 else 1.0]  # noqa: E731
    first = run(Bench(tmp_path, failing))
    assert first is not None
    again = Bench(tmp_path, lambda _: [0.0])
    result = run(again)
    assert result is not None
    assert again.asked == [2]
    assert result.accuracy == 0.75


def test_a_checkpoint_forgets_validations_too(tmp_path: Path) -> None:
    bench = Bench(tmp_path, odd_ones)
    run(bench)
    bench.journal.forget(3)
    run(bench)
    assert len(bench.asked) == 8
