"""A GPU that is there, or was asked for, and is not used. No GPU is used here: torch is the CPU's, or sees none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from prorl_api.spec.roles import Resources
from prorl_trainer.engines.gpu_use import is_gpu_unused

ASKS = Resources(limits={"nvidia.com/gpu": 1, "memory": "8Gi"})
DOES_NOT = Resources(limits={"memory": "8Gi"})


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a driver would list its GPUs; torch sees none."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return tmp_path / "gpus"


@pytest.mark.parametrize(
    ("resources", "in_cluster", "expected"),
    [(ASKS, True, True), (DOES_NOT, True, False), (None, True, False), (ASKS, False, False)],
)
def test_in_a_cluster_the_spec_says_whether_there_should_be_one(
    machine: Path, resources: Resources | None, in_cluster: bool, expected: bool
) -> None:
    assert is_gpu_unused(resources, in_cluster=in_cluster, environment={}, driver=machine) is expected


def test_a_driver_with_a_gpu_says_that_there_is_one_unless_it_is_hidden(machine: Path) -> None:
    machine.mkdir()
    assert not is_gpu_unused(None, in_cluster=False, environment={}, driver=machine), "a driver without GPUs"
    (machine / "0000:01:00.0").mkdir()
    assert is_gpu_unused(None, in_cluster=False, environment={}, driver=machine)
    for hidden in ("", "-1"):
        environment = {"CUDA_VISIBLE_DEVICES": hidden}
        assert not is_gpu_unused(ASKS, in_cluster=True, environment=environment, driver=machine)


def test_a_gpu_in_use_is_not_unused(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert not is_gpu_unused(ASKS, in_cluster=True, environment={}, driver=machine)
