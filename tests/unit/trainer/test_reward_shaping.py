"""Dynamic sampling's filter, length shaping and the learning rate, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from prorl_api.spec.algorithm import Length
from prorl_api.spec.roles import OptimizerSpec
from prorl_api.spec.values import LengthPenalty
from prorl_trainer.algorithm.dynamic_sampling import has_signal, is_scored
from prorl_trainer.algorithm.learning_rate import learning_rate
from prorl_trainer.algorithm.length_shaping import cosine_is_on, earned_rewards, shaped_reward
from prorl_trainer.algorithm.types import RolloutGroup
from tests.unit.trainer.trainer_builders import make_prompt, make_rollout


@pytest.mark.parametrize(
    ("rewards", "signal", "scored"),
    [
        ([1.0, 0.0], True, True),
        ([0.5, 0.5, 0.5], False, True),
        ([1.0, None], False, False),
        ([None, None], False, False),
        ([1.0, None, 0.9], True, True),
        ([0.0, None, 0.0], False, True),
        ([], False, False),
    ],
)
def test_signal_needs_two_scored_rollouts_that_differ(rewards: list[float | None], signal: bool, scored: bool) -> None:
    assert has_signal(rewards) is signal
    assert is_scored(rewards) is scored


@pytest.mark.parametrize(
    ("rewards", "cut", "factor", "signal"),
    [
        ([1.0, 1.0], [True, False], 1.0, False),
        ([1.0, 1.0], [True, False], 0.5, True),  # all right, some cut: it teaches to stop
        ([1.0, 0.0], [True, False], 0.0, False),  # what was right was cut and earns nothing
        ([1.0, 0.0], [True, True], 0.5, True),
        ([0.0, 0.0], [True, False], 0.5, False),
        ([1.0, None], [True, False], 0.5, False),
    ],
)
def test_dynamic_sampling_looks_at_what_was_earned(
    rewards: list[float | None], cut: list[bool], factor: float, signal: bool
) -> None:
    rollouts = tuple(
        make_rollout(reward=reward, truncated=was_cut) for reward, was_cut in zip(rewards, cut, strict=True)
    )
    group = RolloutGroup(prompt=make_prompt(), rollouts=rollouts)
    assert has_signal(earned_rewards(Length(stop_properly=factor), group)) is signal
    overlong_too = Length(stop_properly=factor, penalty=LengthPenalty.OVERLONG, buffer_tokens=20)
    assert has_signal(earned_rewards(overlong_too, group)) is signal, "penalties by length do not count"


def shape(settings: Length, tokens: int, *, reward: float = 1.0, truncated: bool = False, step: int = 1) -> float:
    return shaped_reward(settings, reward, num_tokens=tokens, limit_tokens=100, is_truncated=truncated, step=step)


def overlong(**fields: Any) -> Length:
    return Length(penalty=LengthPenalty.OVERLONG, buffer_tokens=20, **fields)


def cosine(**fields: Any) -> Length:
    return Length(penalty=LengthPenalty.COSINE, **fields)


def test_without_a_penalty_the_reward_stays() -> None:
    assert shape(Length(), 100, reward=0.3) == 0.3


@pytest.mark.parametrize(
    ("tokens", "expected"), [(0, 1.0), (79, 1.0), (80, 1.0), (81, 0.95), (90, 0.5), (99, 0.05), (100, 0.0), (120, 0.0)]
)
def test_overlong_falls_linearly_within_the_buffer(tokens: int, expected: float) -> None:
    assert shape(overlong(), tokens) == pytest.approx(expected, abs=1e-12)


def test_overlong_weight_scales_the_penalty() -> None:
    assert shape(overlong(weight=0.5), 90) == pytest.approx(0.75)
    assert shape(overlong(weight=2.0), 100, reward=0.0) == pytest.approx(-2.0)


@pytest.mark.parametrize(("tokens", "expected"), [(0, 2.0), (25, 1.853553390593274), (50, 1.5), (100, 1.0), (150, 1.0)])
def test_cosine_goes_from_one_at_length_zero_to_zero_at_the_limit(tokens: int, expected: float) -> None:
    # cos(pi/4) = 0.70710678: (1 + 0.70710678) / 2 = 0.85355339
    assert shape(cosine(), tokens) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("tokens", "expected"), [(0, 1.0 + 2 * 0.6), (50, 1.0 + 2 * 0.2), (100, 1.0 - 2 * 0.2)])
def test_cosine_bounds_and_weight(tokens: int, expected: float) -> None:
    assert shape(cosine(eta_min=-0.2, eta_max=0.6, weight=2.0), tokens) == pytest.approx(expected, abs=1e-12)


def test_the_cosine_cycle_begins_with_its_on_part() -> None:
    settings = cosine(on_steps=2, off_steps=3)
    assert [cosine_is_on(settings, step) for step in range(1, 12)] == [
        *(True, True, False, False, False),
        *(True, True, False, False, False),
        True,
    ]
    assert shape(settings, 0, step=2) == 2.0
    assert shape(settings, 0, step=3) == 1.0


def test_without_a_cycle_the_cosine_is_always_on() -> None:
    assert all(cosine_is_on(cosine(), step) for step in (1, 7, 1000))


def test_stop_properly_scales_truncated_completions_before_the_other_terms() -> None:
    assert shape(Length(stop_properly=0.25), 100, truncated=True) == 0.25
    assert shape(Length(stop_properly=0.25), 100, truncated=False) == 1.0
    assert shape(overlong(stop_properly=0.5), 100, truncated=True) == pytest.approx(0.5 - 1.0)
    assert shape(cosine(stop_properly=0.0), 50, truncated=True) == pytest.approx(0.5)


def test_warm_up_is_linear_and_never_at_zero() -> None:
    optimizer = OptimizerSpec(learning_rate=8e-6, warmup_steps=4)
    rates = [learning_rate(optimizer, done) for done in range(6)]
    assert rates == pytest.approx([2e-6, 4e-6, 6e-6, 8e-6, 8e-6, 8e-6], rel=1e-12)


def test_without_warm_up_the_rate_is_constant() -> None:
    optimizer = OptimizerSpec(learning_rate=2e-6)
    assert {learning_rate(optimizer, done) for done in (0, 1, 1000)} == {2e-6}
