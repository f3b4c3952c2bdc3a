"""Reference policies and the best policy, kept by the digest of their bytes."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from torch import Tensor

from prorl_api.errors import CheckpointError
from prorl_api.run_folder import RunFolder
from prorl_trainer.engines.weight_files import file_digest, write_weights
from prorl_trainer.storage.durable import explained, fresh_folder, publish_folder

_FILE = "model.safetensors"


class ReferenceStore:
    """`references/<sha256>/model.safetensors`."""

    def __init__(self, run: RunFolder) -> None:
        """Of one run."""
        self._run = run

    @property
    def folder(self) -> Path:
        """Where all of them lie."""
        return self._run.references

    def file(self, digest: str) -> Path:
        """Return the weights with that digest.

        Raises:
            CheckpointError: They are not there.
        """
        path = self._run.references / digest / _FILE
        if not path.is_file():
            raise CheckpointError(f"reference {digest} is missing: {path} is not there; restore it from a backup")
        return path

    def verified_file(self, digest: str) -> Path:
        """As `file`, after making sure that the bytes have that digest."""
        path = self.file(digest)
        actual = file_digest(path)
        if actual != digest:
            raise CheckpointError(f"reference {path} is damaged: its bytes have sha256 {actual}; restore it")
        return path

    def add(self, weights: Iterable[tuple[str, Tensor]], *, attempt: int) -> str:
        """Keep weights; their digest. Adding the same weights twice keeps one copy."""
        partial = self._run.references / f"attempt-{attempt}.partial"
        with explained(partial):
            fresh_folder(partial)
            try:
                digest = write_weights(partial / _FILE, weights)
            except OSError:
                shutil.rmtree(partial, ignore_errors=True)
                raise
            final = self._run.references / digest
            if final.exists():
                shutil.rmtree(partial)
            else:
                publish_folder(partial, final)
        return digest

    def copy(self, file: Path, digest: str, *, attempt: int) -> str:
        """Keep a copy of weights that lie elsewhere; their digest."""
        final = self._run.references / digest
        if not final.exists():
            partial = self._run.references / f"attempt-{attempt}.partial"
            with explained(partial, file.stat().st_size):
                fresh_folder(partial)
                shutil.copyfile(file, partial / _FILE)
                publish_folder(partial, final)
        return digest

    def prune(self, pinned: set[str]) -> None:
        """Remove all weights but the pinned ones."""
        for folder in self._run.references.glob("*"):
            if folder.name not in pinned:
                shutil.rmtree(folder, ignore_errors=True)
