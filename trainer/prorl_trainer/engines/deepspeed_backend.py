"""DeepSpeed's ZeRO engine, stages 1 to 3, behind the `Backend` protocol.

Accumulation boundaries are ours (`managed_gradient_accumulation` off): `backward` accumulates, `step` reduces and
updates. DeepSpeed averages gradients over ranks where we want sums, hence the factor in `backward`.

Checkpoints are not DeepSpeed's own, which one world and one stage can read, and neither its universal ones, which a
second program makes of those: masters and moments are read and written where they lie. `safe_get_full_*` would gather
each parameter on every rank, and `safe_set_full_*` reads beyond the end where ranks do not divide a parameter.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from prorl_api.spec.roles import LearnerSpec
from prorl_api.spec.values import Precision
from prorl_trainer.engines.backend import adamw
from prorl_trainer.engines.head_slices import HeadOutput, SlopeOfLoss
from prorl_trainer.engines.packed_policy import PackedPolicy
from prorl_trainer.engines.state_files import MASTER, MOMENTS, Run, StoredState, adam_state, restore

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
        self.gradient_scale = self.num_ranks
        # ZeRO-3 gathers weights in every pass, and a prefix changes the order of passes: ranks would gather at odds.
        # Below, backward passes alone are collective: each rank makes one a pack, and each gives every parameter its
        # gradient, in the same order.
        self.continues_prefixes = self._stage < 3
        self._policy = policy
        optimizer = adamw([each for each in policy.parameters() if each.requires_grad], learner.optimizer)
        self._engine: Any = deepspeed.initialize(
            model=policy, optimizer=optimizer, config=_config(learner, device), dist_init_required=False
        )[0]
        self._make_moments()

    def forward(self, inputs: dict[str, Any], temperature: float, slope: SlopeOfLoss | None = None) -> HeadOutput:
        """See `Backend.forward`."""
        output: HeadOutput = self._engine(**inputs, temperature=temperature, slope=slope)
        return output

    def backward(self, loss: Tensor) -> None:
        """See `Backend.backward`."""
        self._engine.backward(loss * self.gradient_scale)

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

    def runs(self) -> Iterator[Run]:
        """See `Backend.runs`."""
        held = self._sharded_run if self._stage == 3 else self._linked_run
        step = self._num_steps()
        for name, parameter in self._policy.model.named_parameters():
            if parameter.requires_grad and (run := held(name, parameter, step)) is not None:
                yield run

    def restore(self, stored: StoredState) -> None:
        """See `Backend.restore`. All parameters have seen the same number of optimizer steps."""
        restore(self.runs(), stored)
        step = max(map(stored.step, stored.shapes))
        for state in self._base_optimizer().state.values():
            state["step"].fill_(step)
        self._round_masters()

    def _linked_run(self, name: str, parameter: Any, step: int) -> Run | None:
        """Of stages 1 and 2, which link each parameter to the part of its master that lies on this rank."""
        linked = parameter._hp_mapping
        if linked is None:
            return None
        values = {MASTER: linked.get_hp_fragment(), **{part: linked.get_hp_fragment(part) for part in MOMENTS}}
        start = linked.lp_fragment_address.start
        return Run(name=name, shape=tuple(parameter.shape), start=start, values=values, step=step)

    def _sharded_run(self, name: str, parameter: Any, step: int) -> Run | None:
        """Of stage 3, which cuts each parameter into as many equal parts as there are ranks, the last one padded."""
        master, moments = (self._shard(parameter, None), {part: self._shard(parameter, part) for part in MOMENTS})
        start = master.numel() * self.rank
        length = min(master.numel(), parameter.ds_numel - start)
        if length <= 0:
            return None
        values = {part: value[:length] for part, value in {MASTER: master, **moments}.items()}
        return Run(name=name, shape=tuple(parameter.ds_shape), start=start, values=values, step=step)

    def _shard(self, parameter: Any, moment: str | None) -> Tensor:
        shard: Tensor = self._engine.optimizer._get_fp32_opt_state_partition(
            parameter, release_swap_buffers=False, optim_state_key=moment
        )[0]
        return shard

    def _num_steps(self) -> int:
        return max(int(state["step"]) for state in self._base_optimizer().state.values())

    @torch.no_grad()
    def _round_masters(self) -> None:
        """Make the weights that masters round to the policy's, as an optimizer step ends. Collective."""
        optimizer = self._engine.optimizer
        if self._stage < 3:
            optimizer.update_lp_params()
            return
        for group in range(len(optimizer.fp32_partitioned_groups_flat)):
            optimizer._reassign_or_swap_out_partitioned_parameters(group)
        if kept_whole := optimizer.persistent_parameters:
            kept_whole[0].partition(kept_whole)
            kept_whole[0].all_gather(kept_whole)

    def _make_moments(self) -> None:
        """Begin with moments of zero: DeepSpeed links them to their parameters only once they are there."""
        optimizer, base = self._engine.optimizer, self._base_optimizer()
        if self._stage == 3:
            masters = optimizer.fp32_partitioned_groups_flat
        else:
            masters = [master for group in base.param_groups for master in group["params"]]
        for master in masters:
            base.state[master] = adam_state(master)
        if self._stage < 3:
            optimizer._lazy_init_hp_params_optimizer_state()

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
        is_alone = torch.distributed.get_world_size() == 1
        if is_alone and learner.deepspeed.zero_stage < 3 and learner.precision is Precision.FLOAT32:
            # Nothing is sent, and a buffer of all gradients beside them would gain nothing. (In bfloat16 they are
            # summed up in another one, in float32.)
            zero["contiguous_gradients"] = False
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
