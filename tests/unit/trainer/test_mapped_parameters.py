"""Parameters in a mapped file: values, ties, what is written to them, and whose memory they take."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest
import torch
from torch import nn

from prorl_trainer.engines.mapped_parameters import _folder, map_parameters

BIG = 4096
"""Rows and columns of a matrix of 64 MiB."""


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 3)
        self.head = nn.Linear(3, 7)
        self.head.weight = self.embedding.weight
        self.scale = nn.Parameter(torch.randn(5, dtype=torch.bfloat16))
        self.number = nn.Parameter(torch.tensor(3.0))
        self.nothing = nn.Parameter(torch.empty(0, 4))


def test_names_values_types_shapes_and_ties_stay() -> None:
    module = Tied()
    before = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
    map_parameters(module)
    found = dict(module.named_parameters())
    assert found.keys() == before.keys()
    assert all(torch.equal(found[name], before[name]) and found[name].dtype == before[name].dtype for name in found)
    assert module.head.weight is module.embedding.weight
    assert all(parameter.data_ptr() % 64 == 0 for parameter in found.values() if parameter.numel())
    assert module.head(module.embedding(torch.tensor([1, 2]))).shape == (2, 7)


def test_what_is_written_is_there_when_the_pages_come_back() -> None:
    module = Tied()
    mapped = map_parameters(module)
    with mapped.in_memory(), torch.no_grad():
        module.scale.fill_(2.5)
    assert module.scale.tolist() == [2.5] * 5
    with pytest.raises(RuntimeError, match="shape"), mapped.in_memory(), torch.no_grad():
        module.number.fill_(1.5).add_(torch.zeros(3))
    assert module.number.item() == 1.5


def resident() -> int:
    return int(psutil.Process().memory_info().rss)


def test_between_two_uses_the_pages_take_no_memory_of_the_process() -> None:
    module = nn.Linear(BIG, BIG, bias=False)
    expected = module.weight.sum().item()
    size = module.weight.numel() * 4
    mapped = map_parameters(module)
    away = resident()
    with mapped.in_memory():
        assert module.weight.sum().item() == expected
        assert resident() - away > 0.9 * size
    assert resident() - away < 0.1 * size


def test_no_file_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prorl_trainer.engines.mapped_parameters._ON_DISK", str(tmp_path))
    monkeypatch.delenv("TMPDIR", raising=False)
    module = Tied()
    map_parameters(module)
    assert list(tmp_path.iterdir()) == []
    assert str(tmp_path) in Path("/proc/self/maps").read_text(), "it was there"


@pytest.mark.parametrize("is_writable", [True, False])
def test_the_users_folder_comes_first_and_a_disk_second(
    is_writable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prorl_trainer.engines.mapped_parameters._ON_DISK", str(tmp_path / "disk"))
    if is_writable:
        (tmp_path / "disk").mkdir()
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert _folder() == str(tmp_path / "disk" if is_writable else tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert _folder() == str(tmp_path)


def test_a_disk_without_room_is_told_before_a_page_is_written() -> None:
    program = (
        "import resource, torch\n"
        "from prorl_trainer.engines.mapped_parameters import map_parameters\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))\n"
        "map_parameters(torch.nn.Linear(4096, 64))\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "TMPDIR"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "OSError: [Errno 27] File too large; 1052672 bytes are wanted there, or another folder" in done.stderr
    assert done.stderr.strip().endswith("TMPDIR: '/var/tmp'")
