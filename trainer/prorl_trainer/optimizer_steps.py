"""The optimizer steps of one batch: minibatch after minibatch, but those that are not finite.

One bad minibatch in thousands of steps is skipped and counted: its gradient was never applied, so nothing is lost but
its groups. Several in a row are no accident, and end the run.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from prorl_api.errors import NonFiniteError
from prorl_api.spec.job import ProRLJobSpec
from prorl_trainer.algorithm.learning_rate import learning_rate
from prorl_trainer.algorithm.packing import build_batch
from prorl_trainer.algorithm.types import ScoredGroup
from prorl_trainer.clock import StepClock
from prorl_trainer.parts import LearnerParts
from prorl_trainer.step_metrics import is_taken, training_metrics
from prorl_trainer.storage.checkpoints import LearnerState

_logger = logging.getLogger(__name__)
MAX_NOT_FINITE_IN_A_ROW = 5
"""So many minibatches that are skipped one after the other mean that the run has diverged."""


def take_optimizer_steps(
    spec: ProRLJobSpec,
    groups: list[ScoredGroup],
    state: LearnerState,
    parts: LearnerParts,
    clock: StepClock,
) -> tuple[LearnerState, dict[str, float]]:
    """Train on a batch; return the state with its optimizer steps counted, and metrics.

    Args:
        spec: As it holds at the step.
        groups: The batch.
        state: Before the step.
        parts: The engine among them.
        clock: Told how long the updates took.
    """
    batch = build_batch(
        groups,
        minibatch_prompts=spec.learner.minibatch_prompts,
        microbatch_tokens=spec.learner.microbatch_tokens,
        num_ranks=parts.num_ranks,
        aggregation=spec.algorithm.loss_aggregation,
        temperature=spec.rollout.temperature,
        continue_prefixes=parts.engine.continues_prefixes,
    )
    prepared = parts.engine.prepare(batch, spec.measures_kl)
    updates = []
    rate = 0.0
    with clock.part("updating"):
        for index in range(len(batch.minibatches)):
            rate = learning_rate(spec.learner.optimizer, state.optimizer_steps_since_clear)
            updates.append(parts.engine.update(index, spec.algorithm, rate))
            state = _counted(state, index, taken=is_taken(updates[-1]))
            parts.shared_status.beat(f"optimizer step {index + 1} of {len(batch.minibatches)}")
    return state, {**training_metrics(groups, batch, updates), **prepared, "learning_rate": rate}


def _counted(state: LearnerState, minibatch: int, *, taken: bool) -> LearnerState:
    if taken:
        return replace(state, optimizer_steps_since_clear=state.optimizer_steps_since_clear + 1, not_finite_in_a_row=0)
    _logger.warning("minibatch %d is skipped: its loss or gradient is not finite", minibatch + 1)
    return replace(state, not_finite_in_a_row=state.not_finite_in_a_row + 1)


def divergence(state: LearnerState) -> NonFiniteError | None:
    """Return the error that ends a run which skips minibatch after minibatch; None while it may go on."""
    if state.not_finite_in_a_row < MAX_NOT_FINITE_IN_A_ROW:
        return None
    return NonFiniteError(
        f"the losses or gradients of the last {state.not_finite_in_a_row} minibatches were not finite; none was "
        "applied. Lower spec.learner.optimizer.learningRate or tighten the clip and run the same command again, or "
        "continue an earlier checkpoint with initFrom",
        step=state.step,
    )
