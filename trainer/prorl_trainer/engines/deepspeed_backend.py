"""DeepSpeed's ZeRO engine, stages 1 to 3, behind the `Backend` protocol.

Accumulation boundaries are ours (`managed_gradient_accumulation` off): `backward` accumulates, `step` reduces and
updates. DeepSpeed averages gradients over ranks where we want sums, hence the factor in `backward`. It also takes one
optimizer step with zero gradients while it starts, which would shift Adam's bias correction: the state is set back.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prorl_api.errors import CheckpointError
from prorl_api.spec.roles import LearnerSpec
from prorl_api.spec.values import Precision
from prorl_trainer.engines.backend import adamw, use_settings
from prorl_trainer.engines.fused_head import HeadOutput, SlopeOfLoss
from prorl_trainer.engines.packed_policy import PackedPolicy

STATE_TAG = "state"
"""Of the one state in a checkpoint; the name of its folder."""
_CPU_BUCKET_ELEMENTS = 20_000_000


class DeepSpeedBackend:
    """One rank of a ZeRO-sharded policy. `torch.distributed` must be initialised."""

    def __init__(self, policy: PackedPolicy, learner: LearnerSpec, device: torch.device) -> None:
        """Shard `policy`, which must be on `device` in its training precision. Collective."""
        deepspeed = import_deepspeed(device)
        self.device = device
        self.rank, self.num_ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
        self._zero = deepspeed.zero
        self._stage = learner.deepspeed.zero_stage
        self._policy = policy
        spec = self._settings = learner.optimizer
        optimizer = adamw([parameter for parameter in policy.parameters() if parameter.requires_grad], spec)
        self._engine: Any = deepspeed.initialize(
            model=policy, optimizer=optimizer, config=_config(learner, device), dist_init_required=False
        )[0]
        self.clear_optimizer()

    def forward(self, inputs: dict[str, Any], temperature: float, slope: SlopeOfLoss | None = None) -> HeadOutput:
        """See `Backend.forward`."""
        output: HeadOutput = self._engine(**inputs, temperature=temperature, slope=slope)
        return output

    def backward(self, loss: Tensor) -> None:
        """See `Backend.backward`."""
        self._engine.backward(loss * self.num_ranks)

    def step(self, learning_rate: float) -> float:
        """See `Backend.step`."""
        for group in self._engine.optimizer.param_groups:
            group["lr"] = learning_rate
        self._engine.step()
        norm = self._engine.get_global_grad_norm()
        # DeepSpeed reports a norm that is not finite as -1 or inf, and has then skipped the update.
        return float(norm) if self._engine.was_step_applied() and norm is not None and norm >= 0 else math.nan

    @property
    def policy(self) -> PackedPolicy:
        """See `Backend.policy`."""
        return self._policy

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """See `Backend.weights`."""
        for name, parameter in self._policy.model.named_parameters():
            with self._zero.GatheredParameters([parameter], enabled=self._stage == 3):
                yield name, parameter.detach()

    def clear_optimizer(self) -> None:
        """See `Backend.clear_optimizer`. In place, because ZeRO keeps references into the state."""
        for state in self._base_optimizer().state.values():
            for value in state.values():
                if isinstance(value, Tensor):
                    value.zero_()

    def save(self, folder: Path) -> None:
        """See `Backend.save`."""
        if not self._engine.save_checkpoint(str(folder), tag=STATE_TAG, save_latest=False):
            raise CheckpointError(f"DeepSpeed did not write its state to {folder}; its log has the reason")

    def load(self, folder: Path) -> None:
        """See `Backend.load`."""
        path, _ = self._engine.load_checkpoint(str(folder), tag=STATE_TAG)
        if path is None:
            raise CheckpointError(f"DeepSpeed found no state in {folder}; the checkpoint is not whole")
        use_settings(self._engine.optimizer.param_groups, self._settings)
        if hasattr(self._engine.optimizer, "clip_grad"):
            self._engine.optimizer.clip_grad = self._settings.gradient_clip

    def _base_optimizer(self) -> Any:
        optimizer = self._engine.optimizer
        while hasattr(optimizer, "optimizer"):
            optimizer = optimizer.optimizer
        return optimizer


def frozen_engine(policy: PackedPolicy, device: torch.device) -> Any:
    """Return a policy that is not trained, its parameters sharded over ranks. Collective."""
    deepspeed = import_deepspeed(device)
    zero: dict[str, Any] = {"stage": 3}
    if device.type == "cpu":
        zero["reduce_bucket_size"] = _CPU_BUCKET_ELEMENTS
    config: dict[str, Any] = {"train_micro_batch_size_per_gpu": 1, "zero_optimization": zero, "steps_per_print": 2**31}
    if next(policy.parameters()).dtype == torch.bfloat16:
        config["bf16"] = {"enabled": True}
    engine = deepspeed.initialize(model=policy, config=config, dist_init_required=False)[0]
    engine.eval()
    return engine


def import_deepspeed(device: torch.device) -> Any:
    """Return DeepSpeed, set up for this device: it must be told before it is imported."""
    if device.type == "cpu":
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    import deepspeed

    # An optional shared-memory collective that DeepSpeed would compile for half a minute at every first start on a
    # CPU; gloo does the same work.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.utils.logger.setLevel("WARNING")
    return deepspeed


def _config(learner: LearnerSpec, device: torch.device) -> dict[str, Any]:
    zero: dict[str, Any] = {"stage": learner.deepspeed.zero_stage, "overlap_comm": False}
    if device.type == "cpu":  # the defaults set 2 GB aside for buffers that speed up a network
        zero |= {"reduce_bucket_size": _CPU_BUCKET_ELEMENTS, "allgather_bucket_size": _CPU_BUCKET_ELEMENTS}
    if learner.deepspeed.offload_optimizer:
        zero["offload_optimizer"] = {"device": "cpu"}
    config: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "managed_gradient_accumulation": False,
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "gradient_clipping": learner.optimizer.gradient_clip,
        "steps_per_print": 2**31,
    }
    if learner.precision is Precision.BFLOAT16:
        config["bf16"] = {"enabled": True, "check_grad_overflow": True}
        # In bfloat16 the 256th of equal gradients changes the sum no more.
        config["data_types"] = {"grad_accum_dtype": "fp32"}
    return config
