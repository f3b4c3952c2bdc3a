"""A reference that follows the policy: an exponential moving average over training steps (TR-DPO, arXiv 2404.09656).

No file holds it between two checkpoints. Each checkpoint keeps it beside the other references, by its digest, so that a
run that goes on from there goes on with the same average; and a reset keeps the one that it replaces.
"""

from __future__ import annotations

from dataclasses import replace

from prorl_api.spec.job import ProRLJobSpec
from prorl_api.spec.merge import ever_measures_kl
from prorl_trainer.parts import LearnerParts
from prorl_trainer.storage.checkpoints import LearnerState


def follow_policy(spec: ProRLJobSpec, parts: LearnerParts) -> None:
    """Move the reference toward the policy after a training step, if it is to be an average.

    Args:
        spec: The whole one: the average goes on through stages without a KL term.
        parts: The engine among them.
    """
    decay = spec.algorithm.kl.reference_decay
    if decay is not None and ever_measures_kl(spec):
        parts.engine.average_reference(decay)


def with_kept_average(state: LearnerState, parts: LearnerParts) -> LearnerState:
    """Keep the reference if no file holds it; the state that names what was kept.

    Raises:
        CheckpointError: The file system refuses.
    """
    return replace(state, reference_digest=parts.keep_reference()) if parts.engine.reference_is_unkept else state
