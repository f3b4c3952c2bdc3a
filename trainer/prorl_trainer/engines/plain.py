"""PyTorch alone: small, exact, and the reference that the DeepSpeed backend is tested against.

One process, or several that each hold everything (ZeRO stage 0): then gradients are summed over ranks in float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from prorl_api.spec.roles import OptimizerSpec
from prorl_trainer.engines.backend import adamw
from prorl_trainer.engines.head_slices import HeadOutput, SlopeOfLoss
from prorl_trainer.engines.packed_policy import PackedPolicy
from prorl_trainer.engines.state_files import MASTER, MOMENTS, Run, StoredState, adam_state, restore, shared_out


class PlainBackend:
    """AdamW on a float32 master copy where the weights are in a lower precision, else on the weights themselves.

    Gradients are accumulated over packs in float32 either way: in bfloat16 the 256th of equal gradients changes the
    sum no more.
    """

    gradient_scale = 1
    continues_prefixes = True

    def __init__(
        self, policy: PackedPolicy, optimizer: OptimizerSpec, device: torch.device, *, rank: int = 0, num_ranks: int = 1
    ) -> None:
        """Take over `policy`, which must be on `device` in its training precision, and the same on every rank."""
        self.device = device
        self.rank, self.num_ranks = rank, num_ranks
        self._policy = policy
        self._settings = optimizer
        self._parameters = [parameter for parameter in policy.parameters() if parameter.requires_grad]
        self._masters = [
            parameter if parameter.dtype == torch.float32 else parameter.detach().float().clone()
            for parameter in self._parameters
        ]
        for master, parameter in zip(self._masters, self._parameters, strict=True):
            if master is not parameter:
                parameter.register_post_accumulate_grad_hook(_adder(master))  # type: ignore[no-untyped-call]
        self._optimizer = adamw(self._masters, optimizer)
        self._master_of = dict(zip(self._parameters, self._masters, strict=True))
        policy.sum_gradients(self._gradient_sum)

    def forward(self, inputs: dict[str, Any], temperature: float, slope: SlopeOfLoss | None = None) -> HeadOutput:
        """See `Backend.forward`."""
        output: HeadOutput = self._policy(**inputs, temperature=temperature, slope=slope)
        return output

    def backward(self, loss: Tensor) -> None:
        """See `Backend.backward`."""
        loss.backward()  # type: ignore[no-untyped-call]

    def step(self, learning_rate: float) -> float:
        """See `Backend.step`."""
        if self.num_ranks > 1:
            self._sum_over_ranks()
        norm = float(torch.nn.utils.clip_grad_norm_(self._masters, self._settings.gradient_clip))
        if math.isfinite(norm):
            for group in self._optimizer.param_groups:
                group["lr"] = learning_rate
            self._optimizer.step()
            with torch.no_grad():
                for master, parameter in zip(self._masters, self._parameters, strict=True):
                    if master is not parameter:
                        parameter.copy_(master)
        for master in self._masters:
            master.grad = None
        return norm

    @property
    def policy(self) -> PackedPolicy:
        """See `Backend.policy`."""
        return self._policy

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """See `Backend.weights`."""
        for name, parameter in self._policy.model.named_parameters():
            yield name, parameter.detach()

    def clear_optimizer(self) -> None:
        """See `Backend.clear_optimizer`."""
        self._optimizer.state.clear()

    def runs(self) -> Iterator[Run]:
        """See `Backend.runs`. All ranks hold the same: each gives its share."""
        return shared_out(self._whole_runs(), self.rank, self.num_ranks)

    def restore(self, stored: StoredState) -> None:
        """See `Backend.restore`."""
        self.clear_optimizer()
        for name, master in self._named_masters():
            if step := stored.step(name):
                self._optimizer.state[master] = adam_state(master, step)
        restore(self._whole_runs(), stored)
        with torch.no_grad():
            for master, parameter in zip(self._masters, self._parameters, strict=True):
                if master is not parameter:
                    parameter.copy_(master)

    def _whole_runs(self) -> Iterator[Run]:
        for name, master in self._named_masters():
            state = self._optimizer.state.get(master, {})
            values = {part: state[part] for part in MOMENTS if part in state} | {MASTER: master.detach()}
            yield Run(
                name=name,
                shape=tuple(master.shape),
                start=0,
                values={part: value.view(-1) for part, value in values.items()},
                step=int(state["step"]) if state else 0,
            )

    def _named_masters(self) -> Iterator[tuple[str, Tensor]]:
        named = [(name, tensor) for name, tensor in self._policy.model.named_parameters() if tensor.requires_grad]
        for (name, _), master in zip(named, self._masters, strict=True):
            yield name, master

    def _gradient_sum(self, parameter: torch.nn.Parameter) -> Tensor:
        """Return where a parameter's gradient is accumulated."""
        master = self._master_of[parameter]
        if master.grad is None:
            master.grad = torch.zeros_like(master)
        return master.grad

    def _sum_over_ranks(self) -> None:
        """One collective a parameter, in the same order everywhere, whatever a rank's packs have touched."""
        for master in self._masters:
            if master.grad is None:
                master.grad = torch.zeros_like(master)
            torch.distributed.all_reduce(master.grad)


def _adder(master: Tensor) -> Any:
    """Move a parameter's gradient into its master's, once autograd has it whole."""

    def add(parameter: Tensor) -> None:
        if parameter.grad is None:  # it went where `sum_gradients` was told
            return
        gradient, parameter.grad = parameter.grad.float(), None
        master.grad = gradient if master.grad is None else master.grad.add_(gradient)

    return add
