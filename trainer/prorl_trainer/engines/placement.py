"""What can lie in host memory beside a GPU, and is refused where there is none."""

from __future__ import annotations

import torch

from prorl_api.errors import Fault, SpecError
from prorl_api.spec.roles import LearnerSpec
from prorl_api.spec.values import ReferencePlace


def place_faults(learner: LearnerSpec, *, has_gpu: bool) -> list[Fault]:
    """Refuse to offload reference and activations from a device whose memory is the host's."""
    faults: list[Fault] = []
    if has_gpu:
        return faults
    if learner.reference is ReferencePlace.OFFLOADED:
        want = (
            "resident (spec.local.learner.reference): there is no GPU here, and a copy lies in host memory either way"
        )
        faults.append(Fault(path="spec.learner.reference", got="offloaded", want=want))
    if learner.offload_activations:
        want = (
            "false (spec.local.learner.offloadActivations): there is no GPU here, and they are in host memory as it is"
        )
        faults.append(Fault(path="spec.learner.offloadActivations", got="true", want=want))
    return faults


def raise_if_misplaced(learner: LearnerSpec, device: torch.device) -> None:
    """Raise SpecError if something cannot lie where the manifest wants it."""
    if faults := place_faults(learner, has_gpu=device.type == "cuda"):
        raise SpecError(faults, source="the learner")
