"""Minibatches that are not finite: skipped, counted, and too many in a row."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, cast

import pytest

from prorl_trainer.clock import StepClock
from prorl_trainer.optimizer_steps import MAX_NOT_FINITE_IN_A_ROW, divergence, take_optimizer_steps
from prorl_trainer.parts import LearnerParts
from prorl_trainer.storage.checkpoints import LearnerState
from tests.unit.trainer.test_step_metrics import FIRST
from tests.unit.trainer.trainer_builders import make_group, make_scored, make_shared_status, make_spec, make_state


class Engine:
    """Reports the gradient norms that it was given, and notes the rates it was asked to step with."""

    continues_prefixes = True

    def __init__(self, *norms: float) -> None:
        self._norms = list(norms)
        self.rates: list[float] = []

    def prepare(self, batch: Any, with_reference: bool = True) -> dict[str, float]:
        return {"seconds_reference": 0.5}

    def update(self, minibatch: int, algorithm: Any, learning_rate: float) -> dict[str, float]:
        self.rates.append(learning_rate)
        return {**FIRST, "gradient_norm": self._norms[minibatch]}


def take(state: LearnerState, *norms: float, warmup: int = 0) -> tuple[LearnerState, dict[str, float], Engine]:
    engine = Engine(*norms)
    optimizer = {"learningRate": 0.1, "warmupSteps": warmup}
    spec = make_spec(learner={"promptsPerStep": len(norms), "minibatchPrompts": 1, "optimizer": optimizer})
    groups = [make_scored(make_group(index=index), (1.0, -1.0)) for index in range(len(norms))]
    parts = cast("LearnerParts", SimpleNamespace(engine=engine, num_ranks=1, shared_status=make_shared_status(1, 10)))
    state, metrics = take_optimizer_steps(spec, groups, state, parts, StepClock())
    return state, metrics, engine


def test_a_skipped_minibatch_is_counted_and_is_no_step_of_the_warm_up() -> None:
    begun = make_state(optimizer_steps_since_clear=0)
    state, metrics, engine = take(begun, 1.0, math.nan, 3.0, warmup=4)
    assert (state.optimizer_steps_since_clear, state.not_finite_in_a_row) == (2, 0)
    assert (metrics["minibatches_skipped"], metrics["gradient_norm"]) == (1, 2.0)
    assert engine.rates[1] == engine.rates[2], "the rate of the step that was not taken is used by the next"


def test_skipped_minibatches_in_a_row_are_counted_over_steps() -> None:
    state, _, _ = take(make_state(), 1.0, math.inf, math.nan)
    assert state.not_finite_in_a_row == 2
    state, _, _ = take(state, math.nan, math.nan)
    assert state.not_finite_in_a_row == 4
    assert divergence(state) is None
    assert take(state, 1.0)[0].not_finite_in_a_row == 0


@pytest.mark.parametrize("count", [MAX_NOT_FINITE_IN_A_ROW, MAX_NOT_FINITE_IN_A_ROW + 3])
def test_too_many_in_a_row_end_the_run_with_what_to_do(count: int) -> None:
    state, metrics, _ = take(make_state(), *[math.nan] * count)
    assert metrics["minibatches_skipped"] == count
    assert "gradient_norm" not in metrics
    error = divergence(state)
    assert error is not None
    assert f"step 4: the losses or gradients of the last {count} minibatches were not finite" in str(error)
    assert "spec.learner.optimizer.learningRate" in str(error)
