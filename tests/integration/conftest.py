"""The model that most tests train or serve, written once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.tiny_model import write_model


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that tests read alone: one that changes its model writes its own."""
    return write_model(tmp_path_factory.mktemp("model"))
