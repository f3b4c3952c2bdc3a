"""PyTorch alone, one process: small, exact, and the reference that the DeepSpeed backend is tested against."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from prorl_api.spec.roles import OptimizerSpec
from prorl_trainer.engines.backend import use_settings
from prorl_trainer.engines.packed_policy import PackedPolicy

_STATE_FILE = "plain.pt"


class PlainBackend:
    """AdamW on a float32 master copy where the weights are in a lower precision, else on the weights themselves."""

    def __init__(self, policy: PackedPolicy, optimizer: OptimizerSpec, device: torch.device) -> None:
        """Take over `policy`, which must be on `device` in its training precision."""
        self.device = device
        self.rank, self.num_ranks = 0, 1
        self._policy = policy
        self._settings = optimizer
        self._parameters = [parameter for parameter in policy.parameters() if parameter.requires_grad]
        self._masters = [
            parameter if parameter.dtype == torch.float32 else parameter.detach().float().clone()
            for parameter in self._parameters
        ]
        self._optimizer = torch.optim.AdamW(
            self._masters,
            lr=optimizer.learning_rate,
            betas=(optimizer.beta1, optimizer.beta2),
            eps=optimizer.epsilon,
            weight_decay=optimizer.weight_decay,
        )

    def forward(self, inputs: dict[str, Tensor], temperature: float) -> tuple[Tensor, Tensor]:
        """See `Backend.forward`."""
        logprobs, entropy = self._policy(**inputs, temperature=temperature)
        return logprobs, entropy

    def backward(self, loss: Tensor) -> None:
        """See `Backend.backward`."""
        loss.backward()  # type: ignore[no-untyped-call]

    def step(self, learning_rate: float) -> float:
        """See `Backend.step`."""
        for master, parameter in zip(self._masters, self._parameters, strict=True):
            if master is not parameter:
                master.grad = None if parameter.grad is None else parameter.grad.float()
        norm = float(torch.nn.utils.clip_grad_norm_(self._masters, self._settings.gradient_clip))
        if math.isfinite(norm):
            for group in self._optimizer.param_groups:
                group["lr"] = learning_rate
            self._optimizer.step()
            with torch.no_grad():
                for master, parameter in zip(self._masters, self._parameters, strict=True):
                    if master is not parameter:
                        parameter.copy_(master)
        for tensor in (*self._masters, *self._parameters):
            tensor.grad = None
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

    def save(self, folder: Path) -> None:
        """See `Backend.save`."""
        state = {
            "policy": self._policy.state_dict(),
            "masters": [master.detach() for master in self._masters],
            "optimizer": self._optimizer.state_dict(),
        }
        torch.save(state, folder / _STATE_FILE)

    def load(self, folder: Path) -> None:
        """See `Backend.load`."""
        state = torch.load(folder / _STATE_FILE, map_location=self.device, weights_only=True)
        self._policy.load_state_dict(state["policy"])
        self._optimizer.load_state_dict(state["optimizer"])
        use_settings(self._optimizer.param_groups, self._settings)
        with torch.no_grad():
            for master, saved in zip(self._masters, state["masters"], strict=True):
                master.copy_(saved)
