"""GPUs that are there, or were asked for, and that PyTorch cannot use: by mistake, and hours would go by unnoticed.

Who asked for one in a cluster, or has one in the machine, is refused. A pod that asked for none sees those of its node
all the same: that is told (`is_gpu_unused`), and no more.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from prorl_api.errors import Fault, ProRLError, SpecError
from prorl_api.spec.roles import Resources

DRIVER = Path("/proc/driver/nvidia/gpus")
"""Has an entry for each GPU where NVIDIA's driver is loaded."""
_VISIBLE = "CUDA_VISIBLE_DEVICES"


class UnusedGpuError(ProRLError):
    """A pod has GPUs that PyTorch cannot use. Started again it may come to a node where it can."""


def refuse_unused_gpu(
    resources: Resources | None,
    *,
    in_cluster: bool,
    environment: Mapping[str, str] = os.environ,
    driver: Path = DRIVER,
) -> None:
    """Raise unless this process uses the GPUs that it has.

    Args:
        resources: `spec.learner.resources`. In a cluster they were given to this pod; on one machine they say nothing.
        in_cluster: Whether this is a pod.
        environment: Of the process: who hides the GPUs wants the CPU.
        driver: Where the driver lists GPUs.

    Raises:
        UnusedGpuError: In a pod that asked for some.
        SpecError: On a machine that has some.
    """
    if _uses_gpu_or_wants_none(environment):
        return
    if in_cluster and resources and resources.gpus:
        raise UnusedGpuError(
            f"spec.learner.resources asks for {', '.join(resources.gpus)}, and PyTorch sees no GPU: is the learner's "
            "image the CPU variant, its driver older than CUDA wants, or the pod's runtime class not the one that "
            "gives GPUs? Nothing was trained"
        )
    if not in_cluster and (count := _num_listed(driver)):
        raise SpecError(
            [
                Fault(
                    path="spec.learner",
                    got=f"a machine whose driver lists {count} GPU{'s' if count > 1 else ''}, and PyTorch sees none",
                    want="install the CUDA build (make setup GPU=1, or docs/install.md) or a driver as new as its CUDA "
                    f"wants, or set {_VISIBLE}= to train on the CPU",
                )
            ],
            source="the learner",
        )


def is_gpu_unused(*, environment: Mapping[str, str] = os.environ, driver: Path = DRIVER) -> bool:
    """Tell whether this process trains on the CPU beside GPUs that the driver lists."""
    return not _uses_gpu_or_wants_none(environment) and _num_listed(driver) > 0


def _uses_gpu_or_wants_none(environment: Mapping[str, str]) -> bool:
    import torch

    return torch.cuda.is_available() or environment.get(_VISIBLE, "0").strip() in ("", "-1")


def _num_listed(driver: Path) -> int:
    return sum(1 for _ in driver.iterdir()) if driver.is_dir() else 0
