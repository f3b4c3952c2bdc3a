"""Linear warm-up to a constant rate (ProRL: constant 2e-6)."""

from __future__ import annotations

from prorl_api.spec.roles import OptimizerSpec


def learning_rate(optimizer: OptimizerSpec, steps_done: int) -> float:
    """Return the rate of the next optimizer step.

    Args:
        optimizer: Rate and length of the warm-up.
        steps_done: Optimizer steps since the start, or since a reset cleared the optimizer.

    Returns:
        rate * (steps_done + 1) / warmup_steps during the warm-up, then the rate: the first step is never at 0.
    """
    if steps_done >= optimizer.warmup_steps:
        return optimizer.learning_rate
    return optimizer.learning_rate * (steps_done + 1) / optimizer.warmup_steps
