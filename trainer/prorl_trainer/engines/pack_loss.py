"""A pack's loss as the head asks for it, and as the backward pass takes it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from prorl_api.spec.algorithm import AlgorithmSpec
from prorl_trainer.algorithm.losses import LossInputs, entropy_slopes, token_losses
from prorl_trainer.engines.head_slices import Slope, SlopeOfLoss


def slope_of(algorithm: AlgorithmSpec, inputs: LossInputs) -> SlopeOfLoss:
    """Return the loss of some of a pack's tokens, with its gradient."""

    def slope(logprobs: Tensor, entropies: Tensor, names: Tensor) -> Slope:
        leaf, chosen = logprobs.detach().requires_grad_(), inputs.of(names)
        with torch.enable_grad():
            loss = token_losses(algorithm, leaf, chosen).sum()
        (gradient,) = torch.autograd.grad(loss, leaf)
        by_entropies = entropy_slopes(algorithm, chosen)
        bonus = 0.0 if by_entropies is None else torch.dot(by_entropies, entropies)
        return Slope(loss.detach() + bonus, gradient, by_entropies)

    return slope


def contagious(loss: Tensor) -> Tensor:
    """Return the loss; one that is not finite has gradients that are no numbers, whatever it depends on.

    So that the optimizer step is skipped on every rank, and nobody has to wait for a pack's loss to know.
    """
    return loss * torch.where(torch.isfinite(loss.detach()), 1.0, math.nan)
