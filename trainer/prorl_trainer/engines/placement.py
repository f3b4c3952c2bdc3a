"""What of a learner needs a GPU, and is refused where there is none."""

from __future__ import annotations

import torch

from prorl_api.errors import Fault, SpecError
from prorl_api.spec.roles import LearnerSpec


def place_faults(learner: LearnerSpec, *, has_gpu: bool) -> list[Fault]:
    """Refuse to offload activations from a device whose memory is the host's."""
    if has_gpu or not learner.offload_activations:
        return []
    want = "false (spec.local.learner.offloadActivations): there is no GPU here, and they are in host memory as it is"
    return [Fault(path="spec.learner.offloadActivations", got="true", want=want)]


def raise_if_misplaced(learner: LearnerSpec, device: torch.device) -> None:
    """Raise SpecError if something cannot lie where the manifest wants it."""
    if faults := place_faults(learner, has_gpu=device.type == "cuda"):
        raise SpecError(faults, source="the learner")
