"""A reference that follows the policy: an exponential moving average over training steps (TR-DPO, arXiv 2404.09656).

No file holds it between two checkpoints. Each checkpoint keeps it beside the other references, by its digest, so that a
run that goes on from there goes on with the same average.
"""

from __future__ import annotations

from dataclasses import replace

from prorl_api.spec.algorithm import KL
from prorl_trainer.parts import LearnerParts
from prorl_trainer.progress import beats_while_writing, with_beats
from prorl_trainer.storage.checkpoints import LearnerState


def follow_policy(kl: KL, parts: LearnerParts) -> None:
    """Move the reference toward the policy after a training step, if it is to be an average."""
    if kl.reference_decay is not None:
        parts.engine.average_reference(kl.reference_decay)


def with_kept_average(state: LearnerState, parts: LearnerParts) -> LearnerState:
    """Keep the reference if it is an average by now; the state that names what was kept.

    Raises:
        CheckpointError: The file system refuses.
    """
    if not parts.engine.reference_has_moved:
        return state
    beat = parts.shared_status.beat
    with beats_while_writing(parts.references.folder, beat):
        weights = with_beats(parts.engine.reference_weights(), beat)
        digest = parts.references.add(weights, attempt=parts.fence.attempt)
    parts.shared_status.update(reference_digest=digest)
    return replace(state, reference_digest=digest)
