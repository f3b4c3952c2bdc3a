"""Where the base model is."""

from __future__ import annotations

from pathlib import Path

from prorl_trainer.model_folder import resolve_model


def test_a_relative_path_starts_from_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    assert resolve_model("model", tmp_path) == tmp_path / "model"
