"""Whether a GPU that is there, or was asked for, is left alone: as a rule by mistake, and hours go by unnoticed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from prorl_api.spec.roles import Resources

DRIVER = Path("/proc/driver/nvidia/gpus")
"""Has an entry for each GPU where NVIDIA's driver is loaded."""
_VISIBLE = "CUDA_VISIBLE_DEVICES"


def is_gpu_unused(
    resources: Resources | None,
    *,
    in_cluster: bool,
    environment: Mapping[str, str] = os.environ,
    driver: Path = DRIVER,
) -> bool:
    """Tell whether this process trains on the CPU though it has GPUs, or should have them.

    Args:
        resources: `spec.learner.resources`. In a cluster they were given to this pod; on one machine they say nothing.
        in_cluster: Whether this is a pod.
        environment: Of the process: who hides the GPUs wants the CPU.
        driver: Where the driver lists GPUs.
    """
    import torch

    if torch.cuda.is_available():
        return False
    if environment.get(_VISIBLE, "0").strip() in ("", "-1"):
        return False
    is_asked = in_cluster and resources is not None and any(name.endswith("/gpu") for name in resources.limits)
    return is_asked or (driver.is_dir() and any(driver.iterdir()))
