"""What a run takes of memory and disk, from the size of its model: a forecast for people, of what grows with the model.

With Adam every parameter takes 16 bytes of training state: in float32 4 for the weight, 4 for its gradient and 8 for
the two moments; in bfloat16 2, 2 and 8, and 4 for the float32 master copy (ZeRO, arXiv 1910.02054, section 3.1). A
checkpoint holds weight, moments and, of DeepSpeed, what is sharded; 16 bytes are what it takes at most.
"""

from __future__ import annotations

from dataclasses import dataclass

from prorl_api.spec.job import ProRLJobSpec
from prorl_api.spec.values import Precision

TRAINING_BYTES = 16
"""Of one parameter: weight, gradient, moments, master copy."""
_BYTES = {Precision.FLOAT32: 4, Precision.BFLOAT16: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Bytes."""

    training: int
    """Training state of the policy, over all ranks of engines that share it out."""
    reference: int
    """The frozen copy that the KL is measured to."""
    served: int
    """Weights in all rollout servers, and once more in shared memory while they are handed over."""
    kv_cache: int
    """Key-value caches of the rollout servers where there is no GPU."""
    checkpoint: int
    """One checkpoint on disk."""
    checkpoints: int
    """Those that are kept, and the one that is being written."""
    references: int
    """The first reference and the best policy on disk; each reset adds one."""
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
    trained, served = _BYTES[spec.learner.precision], _BYTES[spec.rollout.dtype]
    checkpoint = TRAINING_BYTES * num_parameters
    return Estimate(
        training=TRAINING_BYTES * num_parameters,
        reference=trained * num_parameters,
        served=served * num_parameters * (spec.rollout.replicas + 1),
        kv_cache=spec.rollout.cpu_kv_cache_bytes * spec.rollout.replicas,
        checkpoint=checkpoint,
        checkpoints=checkpoint * (spec.checkpoint.keep + 1),
        references=2 * 4 * num_parameters,
        one_reference=4 * num_parameters,
    )
