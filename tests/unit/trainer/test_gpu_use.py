"""A GPU that is there, or was asked for, and is not used. No GPU is used here: torch is the CPU's, or sees none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from prorl_api import names
from prorl_api.errors import ExitCode, ProRLError, SpecError
from prorl_api.spec.roles import Resources
from prorl_trainer.engines.gpu_use import UnusedGpuError, is_gpu_unused, refuse_unused_gpu
from tests.integration.learner_world import manifest

ASKS = Resources(limits={"nvidia.com/gpu": 1, "memory": "8Gi"})
ASKS_FOR_NONE = Resources(limits={"nvidia.com/gpu": 0})
DOES_NOT = Resources(limits={"memory": "8Gi"})


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a driver lists the one GPU; torch sees none."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (tmp_path / "gpus" / "0000:01:00.0").mkdir(parents=True)
    return tmp_path / "gpus"


@pytest.mark.parametrize(
    ("resources", "in_cluster", "is_there", "error", "says"),
    [
        (ASKS, True, True, UnusedGpuError, "asks for nvidia.com/gpu, and PyTorch sees no GPU"),
        (ASKS, True, False, UnusedGpuError, "runtime class"),
        (None, False, True, SpecError, "lists 1 GPU, and PyTorch sees none"),
        (ASKS, False, True, SpecError, "set CUDA_VISIBLE_DEVICES= to train on the CPU"),
        (DOES_NOT, True, True, None, ""),  # of its node; other pods may have it
        (None, True, True, None, ""),
        (ASKS_FOR_NONE, True, False, None, ""),
        (ASKS, False, False, None, ""),  # the same manifest on one machine
        (None, False, False, None, ""),
    ],
)
def test_a_gpu_that_is_there_or_asked_for_is_used_or_refused(
    driver: Path,
    tmp_path: Path,
    resources: Resources | None,
    in_cluster: bool,
    is_there: bool,
    error: type[ProRLError] | None,
    says: str,
) -> None:
    def refuse(environment: dict[str, str]) -> None:
        listed = driver if is_there else tmp_path / "nowhere"
        refuse_unused_gpu(resources, in_cluster=in_cluster, environment=environment, driver=listed)

    for hidden in ("", "-1", " "):
        refuse({"CUDA_VISIBLE_DEVICES": hidden})
    if error is None:
        refuse({})
        return
    with pytest.raises(error, match=says):
        refuse({})
    with pytest.raises(error, match=says):
        refuse({"CUDA_VISIBLE_DEVICES": "0"})


def test_a_gpu_in_use_is_neither_refused_nor_unused(driver: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    refuse_unused_gpu(ASKS, in_cluster=True, environment={}, driver=driver)
    refuse_unused_gpu(None, in_cluster=False, environment={}, driver=driver)
    assert not is_gpu_unused(environment={}, driver=driver)


def test_a_pod_that_trains_beside_its_nodes_gpus_is_told_of(driver: Path, tmp_path: Path) -> None:
    assert is_gpu_unused(environment={}, driver=driver)
    assert not is_gpu_unused(environment={"CUDA_VISIBLE_DEVICES": ""}, driver=driver)
    assert not is_gpu_unused(environment={}, driver=tmp_path / "nowhere")
    (tmp_path / "driver-without-gpus").mkdir()
    assert not is_gpu_unused(environment={}, driver=tmp_path / "driver-without-gpus")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, and it is used")
@pytest.mark.parametrize("rank", [0, 1])
def test_a_learner_that_asked_for_a_gpu_and_sees_none_ends_before_anything_else(tmp_path: Path, rank: int) -> None:
    path, words = tmp_path / "job.json", tmp_path / "termination-log"
    path.write_text(json.dumps(manifest(Path("/nowhere"), learner={"resources": {"limits": {"nvidia.com/gpu": 1}}})))
    words.touch()
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"} | {
        names.ENV_MANIFEST: str(path),
        names.ENV_RUN_DIR: str(tmp_path / "run"),
        names.ENV_ATTEMPT: "1",
        names.ENV_SANDBOX_URLS: "http://127.0.0.1:1",
        names.ENV_RUN_UID: "uid",
        names.ENV_TERMINATION_LOG: str(words),
        "RANK": str(rank),
    }
    done = subprocess.run([sys.executable, "-m", "prorl_trainer"], env=environment, check=False, capture_output=True)
    assert done.returncode == ExitCode.FAILED
    assert "asks for nvidia.com/gpu, and PyTorch sees no GPU" in words.read_text()
    assert not (tmp_path / "run").exists()
