"""What a run takes of memory and disk, from the size of its model: a forecast for people, of what grows with the model.

What the training state and a checkpoint take of a parameter is `forecast.memory`'s to say. Left out, as activations
are: the copy that is made for a checkpoint, at a time at which there are none.
"""

from __future__ import annotations

from dataclasses import dataclass

from prorl_api.spec.job import ProRLJobSpec
from prorl_control.forecast.memory import BYTES, CHECKPOINT_BYTES, ModelSize, num_ranks, rank_memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Bytes."""

    training: int
    """Training state of the policy, over all ranks."""
    reference: int
    """The frozen copies that the KL is measured to, over all ranks."""
    served: int
    """Weights in all rollout servers, and once more in shared memory while they are handed over."""
    kv_cache: int
    """Key-value caches of the rollout servers where there is no GPU."""
    checkpoint: int
    """One checkpoint on disk."""
    checkpoints: int
    """Those that are kept, and the one that is being written."""
    references: int
    """The first reference and the best policy on disk, each reset adds one; or, if the reference is an average, the
    best policy and one with each checkpoint and with the one that is being written."""
    one_reference: int
    """What a reset adds."""

    @property
    def memory(self) -> int:
        """All of it, without libraries, activations and the sandbox."""
        return self.training + self.reference + self.served + self.kv_cache

    @property
    def disk(self) -> int:
        """All of it, without samples and logs."""
        return self.checkpoints + self.references


def estimate(spec: ProRLJobSpec, num_parameters: int) -> Estimate:
    """Forecast a job whose model has that many parameters."""
    rank = rank_memory(spec, ModelSize(parameters=num_parameters), 0, on_gpu=False)
    served, checkpoint = BYTES[spec.rollout.dtype], CHECKPOINT_BYTES * num_parameters
    references = 2 if spec.algorithm.kl.reference_decay is None else 1 + spec.checkpoint.keep + 1
    return Estimate(
        training=rank.state * num_ranks(spec),
        reference=rank.reference * num_ranks(spec),
        served=served * num_parameters * (spec.rollout.replicas + 1),
        kv_cache=spec.rollout.cpu_kv_cache_bytes * spec.rollout.replicas,
        checkpoint=checkpoint,
        checkpoints=checkpoint * (spec.checkpoint.keep + 1),
        references=references * 4 * num_parameters,
        one_reference=4 * num_parameters,
    )
