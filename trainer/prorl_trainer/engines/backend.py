"""What a training backend can do, and nothing about reinforcement learning.

`plain` and `deepspeed` implement it; `TrainingEngine` builds the algorithm on top, the same for both, so that the
first is the numerical reference for the second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor

from prorl_api.spec.roles import OptimizerSpec
from prorl_trainer.engines.head_slices import HeadOutput, SlopeOfLoss
from prorl_trainer.engines.packed_policy import PackedPolicy
from prorl_trainer.engines.state_files import Run, StoredState


class Backend(Protocol):
    """Forward, backward and optimizer step of one model, possibly sharded over ranks."""

    device: torch.device
    rank: int
    num_ranks: int

    gradient_scale: int
    """`backward` computes this times the gradient of what it is given, which `step` takes off again."""
    continues_prefixes: bool
    """Whether packs may continue a prefix that another pack of the same optimizer step has begun."""

    def forward(self, inputs: dict[str, Any], temperature: float, slope: SlopeOfLoss | None = None) -> HeadOutput:
        """`PackedPolicy.forward` of the policy, of which `inputs` are all arguments but those named; its loss has a
        gradient if there is a slope.
        """

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of this rank's share of the loss. Shares of all ranks add up to the loss."""

    def step(self, learning_rate: float) -> float:
        """Clip, update, forget the gradient. Returns the global norm before clipping.

        A norm that is not finite is returned; then nothing is updated, and the gradient is forgotten all the same.
        """

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Whole parameters by transformers' names, in a fixed order. Collective: every rank must iterate it."""

    def clear_optimizer(self) -> None:
        """Make the optimizer's state that of a new one."""

    def runs(self) -> Iterator[Run]:
        """Give what this rank writes into a checkpoint; the runs of all ranks together are everything, once."""

    def restore(self, stored: StoredState) -> None:
        """Take over what any number of ranks of any backend has written. Collective."""

    @property
    def policy(self) -> PackedPolicy:
        """The policy itself, for its names, conversions, buffers and hooks: its weights may be sharded."""


def adamw(parameters: Sequence[Tensor], settings: OptimizerSpec) -> torch.optim.AdamW:
    """Return the manifest's optimizer. Fused: one pass over the state instead of eight."""
    return torch.optim.AdamW(
        parameters,
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        weight_decay=settings.weight_decay,
        fused=True,
    )


@torch.no_grad()
def move_weights(
    source: Backend,
    target: PackedPolicy,
    share: float = 1.0,
    whole: Callable[[torch.nn.Parameter], AbstractContextManager[object]] = nullcontext,
) -> None:
    """Move a model's weights toward a backend's: target := target + share x (source - target). Collective.

    Args:
        source: Where they come from.
        target: The model.
        share: Of the way; 1 copies.
        whole: As in `read_weights`.
    """
    parameters = dict(target.model.named_parameters())
    for name, tensor in source.weights():
        with whole(parameters[name]):
            if share == 1:  # whatever the target holds: what is no number would stay one
                parameters[name].copy_(tensor)
            else:
                parameters[name].lerp_(tensor.to(parameters[name]), share)
