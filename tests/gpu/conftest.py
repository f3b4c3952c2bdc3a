"""What needs a GPU. Without one these tests fail, they are not skipped: `make test` leaves them out."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def gpu() -> torch.device:
    if not torch.cuda.is_available():
        pytest.fail("no GPU that PyTorch can use; these tests run on a machine with one: make test-gpu GPU=1")
    return torch.device("cuda", 0)
